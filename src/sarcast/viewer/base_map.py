"""A base map from elsewhere, which the browser loads only if it is asked for."""

import re
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(?=/)")
"""A server: other characters could add to the content security policy."""


def _checked(url: str) -> str:
    if not (_ORIGIN.match(url) and all(place in url for place in ("{z}", "{x}", "{y}"))):
        raise ValueError(
            "expected an address of tiles such as https://tiles.example.org/{z}/{x}/{y}.png"
        )
    return url


TileUrl = Annotated[str, AfterValidator(_checked)]
"""Address of tiles with ``{z}``, ``{x}`` and ``{y}``, in the projection of the web (EPSG:3857)."""


@dataclass(frozen=True)
class BaseMap:
    """Tiles of a base map.

    Attributes
    ----------
    url
        A ``TileUrl``.
    credit
        Whose they are; empty: the name of the server is shown.
    """

    url: str
    credit: str = ""

    @property
    def origin(self) -> str:
        """Scheme, name and port of the server, as in a content security policy."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def description(self, crs: str) -> dict[str, Any]:
        """As JSON, with the CRS of a grid (a code or WKT) in the notation that pages know."""
        from rasterio.crs import CRS

        return {
            "url": self.url,
            "credit": self.credit or urlsplit(self.url).netloc,
            "proj4": CRS.from_user_input(crs).to_proj4(),
        }
