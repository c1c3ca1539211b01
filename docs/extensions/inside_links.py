"""Checks, after the site is written, that every link inside it leads to a page and an anchor of it.

Sphinx checks links of its own markup; this also finds those in raw HTML, in notebooks and of the
theme.
"""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from after_build import check_after_build
from sphinx.application import Sphinx


class _Page(HTMLParser):
    """Anchors and links of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {values[name] or "" for name in ("id", "name") if name in values}
        link = values.get("href" if tag in ("a", "link") else "src")
        if link:
            self.links.add(link)


def broken_links(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield page and link of each link inside a folder of HTML that leads nowhere."""
    written = (path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts)
    pages = {path.resolve(): _Page(path) for path in written}
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (
                anchor and target in pages and anchor not in pages[target].anchors
            ):
                yield str(path.relative_to(folder.resolve())), link


def setup(sphinx: Sphinx) -> dict[str, Any]:
    """Check when a build is finished."""
    return check_after_build(sphinx, broken_links, "%s: the link %s leads nowhere")
