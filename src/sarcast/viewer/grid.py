"""The grid of what is viewed, as a page needs it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from affine import Affine

from sarcast.io.ground import ground_size_m

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import CRS


@dataclass(frozen=True)
class MapGrid:
    """A grid.

    Attributes
    ----------
    shape
        Rows and columns.
    transform
        From columns and rows to coordinates.
    crs
        Its CRS; None where it has none.
    """

    shape: tuple[int, int]
    transform: Affine
    crs: "CRS | None"

    @classmethod
    def of(cls, box: "GeoBox") -> "MapGrid":
        """The grid of a ``GeoBox``."""
        rows, columns = box.shape
        return cls((rows, columns), box.transform, box.crs and box.crs.proj)

    @cached_property
    def box(self) -> "GeoBox":
        """As ``odc.geo`` has it."""
        from odc.geo.geobox import GeoBox

        return GeoBox(self.shape, self.transform, self.crs)

    @cached_property
    def crs_name(self) -> str:
        """The code of its CRS, as ``EPSG:32635``; WKT where it has none; empty without CRS."""
        if self.crs is None:
            return ""
        code = self.crs.to_epsg()
        return str(self.box.crs) if code is None else f"EPSG:{code}"

    def coordinate(self, column: float, row: float) -> list[float]:
        """X and y of a place."""
        x, y = self.transform * (column, row)
        return [x, y]

    def description(self) -> dict[str, Any]:
        """As JSON."""
        rows, columns = self.shape
        left, top = self.coordinate(0, 0)
        right, bottom = self.coordinate(columns, rows)
        return {
            "crs": self.crs_name,
            "transform": list(self.transform)[:6],
            "width": columns,
            "height": rows,
            "bounds": [left, bottom, right, top],
            "pixel_m": ground_size_m(self.crs, self.transform, self.shape)[0],
        }
