"""Checks, after the site is written, that no page loads anything from another server.

Links to other sites are no matter: scripts, styles, fonts, images and frames are.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from after_build import check_after_build
from sphinx.application import Sphinx

_LOADED = {"src", "srcset", "poster", "data", "xlink:href"}
"""Attributes whose address a browser loads by itself; and ``href`` of what is no ``<a>``."""
_NOT_LOADED = {"canonical", "alternate", "author", "license", "next", "prev", "search"}
"""Relations of a ``<link>`` that load nothing."""
_OUTSIDE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_IN_STYLE = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s;]+)", re.IGNORECASE)


class _Page(HTMLParser):
    """Addresses that a page loads from other servers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: set[str] = set()
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        self.addresses |= set(_in_style(values.get("style", "")))
        loaded = {name for name in _LOADED if name in values}
        relations = set(values.get("rel", "").lower().split())
        if tag in ("link", "image", "use") and not relations & _NOT_LOADED:
            loaded.add("href")
        self.addresses |= {
            values[name] for name in loaded if _OUTSIDE.match(values.get(name, "").strip())
        }

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.addresses |= set(_in_style(data))

    def handle_endtag(self, tag: str) -> None:
        self._in_style = self._in_style and tag != "style"


def _in_style(text: str) -> list[str]:
    return _IN_STYLE.findall(text)


def outside_resources(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield file and address of each resource that a folder of HTML loads from another server."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".html", ".css"):
            text = path.read_text(encoding="utf-8")
            found = _Page(text).addresses if path.suffix == ".html" else set(_in_style(text))
            for address in sorted(found):
                yield path.relative_to(folder).as_posix(), address


def setup(sphinx: Sphinx) -> dict[str, Any]:
    """Check when a build is finished."""
    return check_after_build(sphinx, outside_resources, "%s loads %s from another server")
