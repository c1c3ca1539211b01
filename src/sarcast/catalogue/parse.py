"""The door of the catalogues: every STAC item, whoever wrote it, becomes an item here.

An item passes with its footprint in the canonical form and with hrefs that may be opened, or it is
left out with one line that names the item, the field and what was expected.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pystac
from pydantic import ValidationError

from sarcast.catalogue.hrefs import OTHER_ASSET, Places, base_of
from sarcast.catalogue.item_fields import AssetFields, ItemFields, PropertyFields, fault_of
from sarcast.catalogue.location import MALFORMED, sort_items, with_location
from sarcast.catalogue.unusable import NO_ITEM, LeftOut, UnusableError
from sarcast.errors import SarcastError
from sarcast.io.documents import MOST_DEPTH, parse_json

_INTEGERS = range(-(2**63), 2**63)
_LONGEST_NAME = 80
_ITEM_FIELDS = frozenset(
    (
        *("type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets"),
        *("collection", "properties"),
    )
)


def parse_items(
    contents: Iterable[Any],
    places: Places,
    base: Callable[[Any], str],
    left_out: LeftOut | None = None,
) -> list[pystac.Item]:
    """Parse items as ``parse_item``, oldest first; those that are malformed are left out.

    Parameters
    ----------
    contents
        JSON of each item.
    places
        As for ``parse_item``.
    base
        Gives what the relative hrefs of an item are relative to.
    left_out
        Collects what is left out; None to report it at once.

    Raises
    ------
    SarcastError
        If ``left_out`` is None and no item can be used, but some were malformed.
    """
    collected = LeftOut() if left_out is None else left_out
    items = []
    for number, content in enumerate(contents):
        with collected.unusable(name_of(content, number)):
            items.append(parse_item(content, places, base(content), collected))
    found = sort_items(items)
    if left_out is None:
        collected.report(bool(found), strict=False)
    return found


def name_of(content: Any, number: int = 0) -> str:
    """Id of an item in a message; its number where it has none."""
    stated = content.get("id") if isinstance(content, dict) else None
    if isinstance(stated, str) and stated.isprintable() and stated:
        return stated[:_LONGEST_NAME]
    return f"item {number + 1} without an id"


def parse_item(content: Any, places: Places, base: str, left_out: LeftOut) -> pystac.Item:
    """Make an item from its JSON.

    Parameters
    ----------
    content
        As ``json.loads`` gives it; it is not changed.
    places
        Where assets may lie.
    base
        File, folder with a final ``/``, or URL that relative hrefs are relative to.
    left_out
        Collects assets that are no image of the scene and may not be opened: the item is used
        without them.

    Raises
    ------
    UnusableError
        If a field that is read has another type, unit or range than the specifications state, if
        the item has no time or footprint, or the href of an image may not be opened.
    """
    located = validate(content)
    _place_assets(located, places, base, left_out)
    return located


def validate(content: Any) -> pystac.Item:
    """Make an item from its JSON as ``parse_item``, but leave its hrefs as they are."""
    return _make(content, lambda plain: with_location(_from_dict(plain)))


def _make(content: Any, make: Callable[[dict[str, Any]], pystac.Item]) -> pystac.Item:
    name = name_of(content)
    try:
        plain = _plain(content, MOST_DEPTH)
        ItemFields.model_validate(plain)
        return make(_without_collisions(plain))
    except ValidationError as error:
        raise _malformed(name, fault_of(error)) from error
    except (SarcastError, *MALFORMED) as error:
        raise _malformed(name, " ".join(str(error).split()) or type(error).__name__) from error


def _without_collisions(plain: dict[str, Any]) -> dict[str, Any]:
    """Leave out properties with the name of a field of the item: a table has one column for both.

    STAC gives them no meaning.
    """
    properties = {k: v for k, v in plain["properties"].items() if k not in _ITEM_FIELDS}
    return {**plain, "properties": properties}


def _place_assets(
    item: pystac.Item, places: Places, base: str, left_out: LeftOut | None = None
) -> None:
    for key, asset in list(item.assets.items()):
        name = f"{name_of({'id': item.id})}, asset {key}"
        try:
            asset.href = places.check(asset.href, base, name)
        except UnusableError as error:
            if left_out is None or not asset.roles or "data" in asset.roles:
                raise
            left_out.add(OTHER_ASSET, name, str(error), refused=False)
            del item.assets[key]


def _malformed(name: str, reason: str) -> UnusableError:
    return UnusableError(NO_ITEM, f"{name} is not a valid STAC item: {reason}")


def _from_dict(content: dict[str, Any]) -> pystac.Item:
    content["properties"] = PropertyFields.without_null(content["properties"])
    content["properties"].setdefault("datetime", None)
    content["assets"] = {
        key: AssetFields.without_null(asset) for key, asset in content["assets"].items()
    }
    is_older = content["stac_version"] != pystac.get_stac_version()
    # links are neither followed nor stored, and a wrong one must not matter
    return pystac.Item.from_dict({**content, "links": []}, migrate=is_older, preserve_dict=False)


def _plain(value: Any, depth: int) -> Any:
    """A copy of JSON that every catalogue can store; numbers that JSON lacks become null.

    Raises
    ------
    ValueError
        If it is nested too deeply, or contains text or an integer that no catalogue can store.
    """
    if depth < 0:
        raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
    if isinstance(value, dict):
        return {_plain(key, depth): _plain(part, depth - 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, depth - 1) for part in value]
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int) and value not in _INTEGERS:
        raise ValueError("it contains an integer of more than 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _check_text(text: str) -> None:
    if "\0" in text or (not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text)):
        raise ValueError("it contains text that is not valid Unicode, or a null character")


# --- files of JSON ------------------------------------------------------------------------------


def read_items(path: Path) -> list[pystac.Item]:
    """Items of a JSON file that the user names, with or without footprints.

    Parameters
    ----------
    path
        One item or a FeatureCollection; hrefs are relative to the file, and assets may be any
        files of this machine.

    Raises
    ------
    SarcastError
        If it cannot be read, or contains anything else.
    """
    try:
        content = parse_json(path.read_bytes().decode("utf-8-sig"))
        features = content["features"] if content["type"] == "FeatureCollection" else [content]
        items = [_make(feature, _from_dict) for feature in features]
        for item in items:
            _place_assets(item, Places(any_place=True), base_of(path))
    except (OSError, SarcastError, *MALFORMED) as error:
        reason = str(error) if isinstance(error, SarcastError) else repr(error)
        raise SarcastError(f"{path} is not a STAC item: {' '.join(reason.split())}") from error
    return items
