"""A result as a page that needs no server: one file, or a folder with the page and its data."""

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sarcast.arrays import Float
from sarcast.errors import SarcastError
from sarcast.viewer.layers import Layer
from sarcast.viewer.pyramid import TILE, padded
from sarcast.viewer.requests import as_bytes
from sarcast.viewer.server import STATIC
from sarcast.viewer.view import View

MOST_BYTES = 10 * 2**20
"""Size of the data in a page, about; the finest levels that it leaves room for are in it."""
STEPS = 256
"""Steps of the range of a layer to which its values are rounded, at least."""
_STYLE = '<link rel="stylesheet" href="static/viewer.css">'
_SCRIPT = '<script defer src="static/viewer.js"></script>'
_PRELOAD = '<link rel="preload" href="api/view" as="fetch" crossorigin>\n'
_ICON = '<link rel="icon" href="data:,">'
_EVENTS_SHARE = 0.25


def write_page(view: View, path: Path, most_bytes: int = MOST_BYTES) -> None:
    """Write a page as one file, which opens from disk and asks nothing of any server.

    Parameters
    ----------
    view
        A detection or alerts.
    path
        The file; its folder exists.
    most_bytes
        Size of the data, about.
    """
    content = _as_script(export_of(view, most_bytes))
    script = _bundled("viewer.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data: blob:"
    )
    page = _page(
        {
            _PRELOAD: "",
            _ICON: f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            _STYLE: f"<style>{_bundled('viewer.css')}</style>",
            _SCRIPT: f'<script type="application/json" id="sarcast-data">{content}</script>\n'
            f"<script>{script}</script>",
        }
    )
    path.write_text(page, encoding="utf-8")


def write_folder(view: View, folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Write a page into a folder that exists: ``index.html``, its bundle and ``data.js``."""
    content = _as_script(export_of(view, most_bytes))
    (folder / "data.js").write_text(f"window.sarcastData = {content};\n", encoding="utf-8")
    static = folder / "static"
    static.mkdir()
    for path in STATIC.iterdir():
        (static / path.name).write_bytes(path.read_bytes())
    scripts = f'<script src="data.js"></script>\n{_SCRIPT.replace("defer ", "")}'
    page = _page({_PRELOAD: "", _SCRIPT: scripts})
    (folder / "index.html").write_text(page, encoding="utf-8")


def export_of(view: View, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return all that a page needs instead of a server, as JSON.

    Raises
    ------
    SarcastError
        If it is a cube.
    """
    if view.result is None:
        raise SarcastError(
            "a page without a server shows a detection or alerts, not a cube; name the folder of "
            "one, or leave out --export"
        )
    layers = [layer for layer in view.layers.values() if not layer.dated]
    about_events = _about_events(view, int(most_bytes * _EVENTS_SHARE))
    finest, tiles = _tiles(view, layers, most_bytes - len(json.dumps(about_events)))
    description = {
        **view.description(),
        "export": True,
        "finest": finest,
        "layers": [layer.description() for layer in layers],
        "acquisitions": [],
        "what_if": [],
        "verdicts": False,
    }
    return {"view": description, "tiles": tiles, **about_events}


def _tiles(view: View, layers: list[Layer], most_bytes: int) -> tuple[int, dict[str, str]]:
    """Finest level, and the tiles of it and all coarser ones that leave room for it."""
    kept: dict[str, str] = {}
    size = 0
    for level in reversed(range(view.pyramid.levels)):
        added: dict[str, str] = {}
        for key, text in _encoded(view, layers, level):
            added[key] = text
            size += len(key) + len(text)
            if size > most_bytes and kept:
                return level + 1, kept
        kept |= added
    return 0, kept


def _encoded(view: View, layers: list[Layer], level: int) -> Iterator[tuple[str, str]]:
    """Tiles of a level that hold data, by their addresses."""
    rows, columns = (range(-(-side // TILE)) for side in view.pyramid.shape(level))
    for row in rows:
        for column in columns:
            box = view.pyramid.box(level, row, column)
            for layer in layers:
                image = rounded(padded(layer.read(0, level, box)), layer)
                if np.isfinite(image).any():
                    packed = gzip.compress(as_bytes(image), compresslevel=9, mtime=0)
                    key = f"{layer.name}/0/{level}/{row}/{column}"
                    yield key, base64.b64encode(packed).decode()


def rounded(image: Float, layer: Layer) -> Float:
    """Values rounded to a power of two, ``STEPS`` or more in the range of a layer.

    Their last bits are zero then, so that they are compressed well. Classes and days stay.
    """
    if layer.classes or layer.form == "date" or not layer.ranges:
        return image
    span = max(high - low for low, high in layer.ranges)
    step = np.float32(2.0 ** math.floor(math.log2(span / STEPS)))
    values: Float = np.rint(image / step) * step
    return values


def _about_events(view: View, most_bytes: int) -> dict[str, Any]:
    """Events with series and history, as many of the latter as there is room for."""
    if view.events is None:
        return {"events": None, "series": {}, "history": {}}
    found: dict[str, Any] = {"events": view.events.collection(), "series": {}, "history": {}}
    size = 0
    for feature in found["events"]["features"]:
        number = feature["id"]
        series = view.series(*view.events.pixel(number)) if view.images is not None else None
        history = view.events.history(number)
        size += len(json.dumps([series, history]))
        if size > most_bytes:
            break
        found["series"] |= {} if series is None else {str(number): {**series, "has_model": False}}
        found["history"] |= {str(number): history} if history else {}
    return found


def _as_script(content: dict[str, Any]) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _page(parts: dict[str, str]) -> str:
    """The page with some of its lines replaced."""
    page = _bundled("index.html")
    for line, part in parts.items():
        before, found, after = page.partition(line)
        if not found:
            raise SarcastError(f"the bundle of the page lacks {line}; build or install it again")
        page = before + part + after
    return page


def _bundled(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
