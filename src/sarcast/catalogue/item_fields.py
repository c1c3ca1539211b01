"""The fields of STAC items that are read: their types, units and ranges.

As the STAC 1.1 core and the extensions projection, sat, view and raster state them, within what
Sentinel-1 can have. Null is the same as absent. Other fields are not looked at.
"""

from typing import Annotated, Any, ClassVar, Literal

from odc.geo.crs import CRS
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pyproj.exceptions import ProjError
from pystac.utils import str_to_datetime

from sarcast.catalogue.scene import QUANTITY
from sarcast.io.footprint import WGS84
from sarcast.sensor.orbits import ORBITS_PER_CYCLE

_YEARS = range(1970, 2200)
_MOST_PIXELS_A_SIDE = 2**31 - 1
_LONGEST_ID = 1000
_SHOWN = 60


def _whole(value: Any) -> Any:
    """JSON does not distinguish 58.0 from 58."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected text on one line without control characters")
    return text


def _number_as_text(value: Any) -> Any:
    """STAC writes the values that JSON lacks as text: nan, inf and -inf."""
    return float(value) if value in ("nan", "inf", "-inf") else value


def _moment(text: str) -> str:
    try:
        moment = str_to_datetime(text)
    except (ValueError, OverflowError) as error:
        raise ValueError("expected a time in RFC 3339, such as 2020-03-01T05:11:22Z") from error
    if moment.year not in _YEARS:
        raise ValueError(f"expected a time from {_YEARS[0]} to {_YEARS[-1]}")
    return text


Line = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
Time = Annotated[str, AfterValidator(_moment)]
Nodata = Annotated[float, Field(allow_inf_nan=True), BeforeValidator(_number_as_text)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
Pixels = Annotated[int, Field(ge=1, le=_MOST_PIXELS_A_SIDE), BeforeValidator(_whole)]
Orbit = Annotated[int, Field(ge=1, le=ORBITS_PER_CYCLE), BeforeValidator(_whole)]


class _Fields(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    @classmethod
    def without_null(cls, content: dict[str, Any]) -> dict[str, Any]:
        """The content without fields of this model that are null."""
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {
            key: value
            for key, value in content.items()
            if value is not None or key not in known or key in cls.kept
        }

    kept: ClassVar[frozenset[str]] = frozenset()
    """Fields in which null has a meaning."""


class _Grid(_Fields):
    """Fields of the projection extension."""

    code: str | None = Field(None, alias="proj:code")
    epsg: Annotated[int, BeforeValidator(_whole)] | None = Field(None, alias="proj:epsg")
    wkt2: str | None = Field(None, alias="proj:wkt2")
    shape: Annotated[list[Pixels], Field(min_length=2, max_length=2)] | None = Field(
        None, alias="proj:shape"
    )
    transform: list[float] | None = Field(None, alias="proj:transform")

    @field_validator("transform")
    @classmethod
    def _check_transform(cls, stated: list[float] | None) -> list[float] | None:
        if stated is None:
            return None
        if len(stated) not in (6, 9):
            raise ValueError(f"expected 6 or 9 numbers, found {len(stated)}")
        if stated[0] * stated[4] == stated[1] * stated[3]:
            raise ValueError("expected pixels with an area")
        return stated

    @model_validator(mode="after")
    def _check_place(self) -> "_Grid":
        stated = self.code or self.wkt2 or self.epsg
        if not stated:
            return self
        crs = _parse_crs(stated)
        if self.shape is not None and self.transform is not None:
            _check_on_earth(crs, self.shape, self.transform)
        return self


def _parse_crs(stated: str | int) -> CRS:
    try:
        crs = CRS(stated)
        known = crs.geographic or crs.projected
    except (ProjError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"proj:code, proj:wkt2 or proj:epsg is no CRS: {_shown(stated)}"
        ) from error
    if not known:
        raise ValueError(f"the CRS {_shown(stated)} is neither geographic nor projected")
    return crs


def _check_on_earth(crs: CRS, shape: list[int], transform: list[float]) -> None:
    """Check that the corners of a grid have a longitude and a latitude."""
    a, b, c, d, e, f = transform[:6]
    corners = [(x, y) for y in (0, shape[0]) for x in (0, shape[1])]
    x, y = zip(*((a * x + b * y + c, d * x + e * y + f) for x, y in corners), strict=True)
    try:
        longitude, latitude = crs.transformer_to_crs(CRS(WGS84))(x, y)
    except (ProjError, ValueError) as error:
        raise ValueError(
            f"the CRS {_shown(crs)} has no longitudes and latitudes on Earth"
        ) from error
    if not all(abs(each) <= 540.0 for each in (*longitude, *(6.0 * each for each in latitude))):
        raise ValueError("proj:transform and proj:shape put the raster outside the Earth")


class _Band(_Fields):
    name: Line | None = None
    unit: Line | None = None
    nodata: Nodata | None = None


class AssetFields(_Grid):
    """Fields of an asset."""

    href: Annotated[str, Field(min_length=1)]
    type: str | None = None
    roles: list[str] | None = None
    bands: list[_Band] = []
    raster_bands: list[_Band] = Field([], alias="raster:bands")
    nodata: Nodata | None = None
    quantity: Literal["gamma0", "sigma0"] | None = Field(None, alias=QUANTITY)


class PropertyFields(_Grid):
    """Properties of an item."""

    kept: ClassVar[frozenset[str]] = frozenset({"datetime"})

    datetime: Time | None = None
    start_datetime: Time | None = None
    end_datetime: Time | None = None
    platform: Line | None = None
    mode: Line | None = Field(None, alias="sar:instrument_mode")
    orbit_state: Line | None = Field(None, alias="sat:orbit_state")
    relative_orbit: Orbit | None = Field(None, alias="sat:relative_orbit")
    absolute_orbit: Count | None = Field(None, alias="sat:absolute_orbit")
    incidence_deg: Annotated[float, Field(ge=0.0, le=90.0)] | None = Field(
        None, alias="view:incidence_angle"
    )
    azimuth_deg: Annotated[float, Field(ge=0.0, le=360.0)] | None = Field(
        None, alias="view:azimuth"
    )


class _Link(_Fields):
    rel: str
    href: str


class ItemFields(_Fields):
    """An item."""

    kind: Literal["Feature"] = Field(alias="type")
    stac_version: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?([-.][0-9A-Za-z.-]+)?$")]
    id: Annotated[str, Field(min_length=1, max_length=_LONGEST_ID), AfterValidator(_one_line)]
    collection: Line | None = None
    geometry: dict[str, Any] | None = None
    bbox: list[float] | None = None
    properties: PropertyFields
    assets: dict[Line, AssetFields]
    links: list[_Link] = []
    stac_extensions: list[str] | None = None

    @field_validator("bbox")
    @classmethod
    def _check_bbox(cls, bbox: list[float] | None) -> list[float] | None:
        if bbox is None:
            return None
        if len(bbox) not in (4, 6):
            raise ValueError(f"expected 4 or 6 numbers, found {len(bbox)}")
        half = len(bbox) // 2
        west, south, east, north = *bbox[:2], *bbox[half : half + 2]
        if not (-90.0 <= south <= north <= 90.0 and max(abs(west), abs(east)) <= 540.0):
            raise ValueError("expected west, south, east and north in degrees")
        return bbox


def fault_of(error: ValidationError) -> str:
    """The first fault of an item in a few words: the field, what was expected, what was found."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[:1].lower() + reason[1:]
    found = "" if first["type"] == "missing" else f", found {_shown(first['input'])}"
    if isinstance(first["input"], dict) and first["type"] == "value_error":
        found = ""  # the reason names the fields
    return f"{place}: {reason}{found}"


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**_SHOWN else "a huge number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
