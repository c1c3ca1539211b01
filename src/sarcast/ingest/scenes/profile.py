"""Layouts of Sentinel-1 sources: how a profile finds the metadata of a scene.

Each metadata field is looked up in this order: named groups of the regular expression for the file
name, tags of the file, properties of the STAC item, and the constant values of the profile.
"""

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sarcast.catalogue.unusable import LEVEL_1, NO_TIME, NO_UNIT, UnusableError
from sarcast.ingest.profiles import Profile, find_profile, shipped
from sarcast.sensor import orbits, units
from sarcast.sensor.conditions import PLATFORMS

MetadataField = Literal[
    "time",
    "date",
    "processed",
    "platform",
    "mode",
    "orbit_direction",
    "relative_orbit",
    "absolute_orbit",
    "incidence",
    "heading",
    "unit",
    "quantity",
]
"""Metadata of a scene, as text: ``time`` is that of its acquisition, or ``date`` where the time of
day is unknown, ``processed`` that of its processing; ``orbit_direction`` is ascending or
descending, ``incidence`` in degrees, ``heading`` of the ground track in degrees clockwise from
north."""

METADATA_FIELDS: tuple[MetadataField, ...] = get_args(MetadataField)

STAC_PROPERTIES: Mapping[MetadataField, str] = {
    "platform": "platform",
    "mode": "sar:instrument_mode",
    "orbit_direction": "sat:orbit_state",
    "relative_orbit": "sat:relative_orbit",
    "absolute_orbit": "sat:absolute_orbit",
    "incidence": "view:incidence_angle",
}
"""STAC properties (core, sat and view extensions) that hold metadata fields."""

QUANTITIES = ("gamma0", "sigma0")
"""Backscatter quantities that are accepted."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class AngleLayer(BaseModel):
    """Where a source keeps a raster of angles, degrees."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | None = Field(
        None,
        description="Regular expression for the name of a separate file; {group} is replaced by "
        "that group of the scene's file name.",
    )
    band: str | None = Field(None, description="Regular expression for the name of a band.")

    def file_pattern(self, groups: Mapping[str, str]) -> re.Pattern[str] | None:
        """Expression for the name of the separate file of one scene; None if there is none."""
        if self.file is None:
            return None
        return re.compile(
            _PLACEHOLDER.sub(lambda found: re.escape(groups.get(found[1], "")), self.file)
        )


class IncidenceLayer(AngleLayer):
    """Where a source keeps the ellipsoid incidence angle of each pixel, degrees."""

    asset: str | None = Field(None, description="Asset key in a STAC item.")


class SceneProfile(Profile):
    r"""Layout of a source of Sentinel-1 scenes.

    For example, this profile reads id, platform, time and polarisation from the file name
    ``S1A_20200301T051122_VV.tif``, and states unit and quantity for all scenes::

        files: '(?P<scene>(?P<platform>S1[AB])_(?P<time>\d{8}T\d{6}))_(?P<band>VV|VH)[.]tif'
        facts: {unit: dB, quantity: gamma0}
    """

    folder: ClassVar[str] = "scenes"

    files: str | None = Field(
        None,
        description="Regular expression for the whole file name: group 'scene' is the id of the "
        "scene, 'band' its polarisation, 'variant' how it was processed where files of several "
        "kinds may lie side by side; other groups are named after metadata fields.",
    )
    scene: str | None = Field(
        None,
        description="Id of the scene, if no part of the file name is: {group} is replaced by that "
        "group of the file name.",
    )
    others: str | None = Field(
        None, description="Regular expression for other files of the product, which are ignored."
    )
    snap_header: bool = Field(
        False, description="Whether a TIFF must contain the header of SNAP to match."
    )
    generic: bool = Field(False, description="Whether the profile is tried after all others.")
    series: str | None = Field(
        None, description="Name of the time dimension of a NetCDF with many scenes."
    )
    collections: tuple[str, ...] = Field((), description="STAC collections that the profile reads.")
    assets: dict[Literal["VV", "VH", "HH", "HV"], str] = Field(
        {}, description="Asset key of each band in a STAC item."
    )
    bands: tuple[str, ...] = Field(
        ("(?P<band>(?i:VV|VH|HH|HV))",),
        description="Regular expressions for the names of bands in a file, in order of "
        "preference: group 'band' is the polarisation; other groups are named after metadata "
        "fields.",
    )
    incidence: IncidenceLayer | None = Field(
        None, description="Location of the incidence angle of each pixel."
    )
    heading: AngleLayer | None = Field(
        None, description="Location of a raster of headings; the scene gets its mean."
    )
    nodata: float | None = Field(
        None, description="Value of missing pixels, where the file does not declare one."
    )
    facts: dict[MetadataField, str] = Field(
        {}, description="Metadata that are the same for all scenes."
    )
    tags: dict[MetadataField, str] = Field({}, description="File tags that hold metadata.")
    properties: dict[MetadataField, str] = Field(
        {}, description="STAC properties that hold metadata."
    )
    words: dict[MetadataField, dict[str, str]] = Field(
        {}, description="Translation of the source's values of a metadata field."
    )
    time_format: str | tuple[str, ...] = Field(
        "%Y%m%dT%H%M%S",
        description="Format of times, as for strptime, or several of them; times are UTC.",
    )

    @field_validator("files", "others")
    @classmethod
    def _check_pattern(cls, pattern: str | None) -> str | None:
        return None if pattern is None else _check_expression(pattern)

    @field_validator("bands")
    @classmethod
    def _check_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_check_expression(pattern) for pattern in patterns)

    @cached_property
    def file_pattern(self) -> re.Pattern[str] | None:
        """The compiled expression for file names."""
        return None if self.files is None else re.compile(self.files)

    def groups(self, name: str) -> dict[str, str] | None:
        """Named groups of a file name; None if the file is not one of this source."""
        match = self.file_pattern.fullmatch(name) if self.file_pattern else None
        if match is None:
            return None
        groups = {group: text for group, text in match.groupdict().items() if text is not None}
        if self.scene is not None:
            groups["scene"] = _PLACEHOLDER.sub(lambda found: groups.get(found[1], ""), self.scene)
        return groups

    def is_ancillary(self, name: str) -> bool:
        """Whether a file belongs to a product of this source but holds no backscatter."""
        return self.others is not None and re.fullmatch(self.others, name) is not None

    def read_metadata(
        self,
        groups: Mapping[str, str],
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> dict[MetadataField, str]:
        """Metadata of a scene, translated by ``words``; fields without a value are left out.

        Parameters
        ----------
        groups
            Named groups of file and band names.
        tags
            Tags of the files.
        properties
            Properties of the STAC item.
        """
        keys = {**STAC_PROPERTIES, **self.properties} if properties is not None else {}
        metadata: dict[MetadataField, str] = {}
        for name in METADATA_FIELDS:
            for value in (
                groups.get(name),
                (tags or {}).get(self.tags.get(name, "")),
                (properties or {}).get(keys.get(name, "")),
                self.facts.get(name),
            ):
                if value not in (None, ""):
                    metadata[name] = self.words.get(name, {}).get(str(value), str(value))
                    break
        return metadata

    def parse_time(self, text: str) -> dt.datetime:
        """Time of acquisition, UTC.

        Raises
        ------
        UnusableError
            If the text does not match ``time_format``.
        """
        for time_format in self._time_formats:
            with suppress(ValueError):
                return dt.datetime.strptime(text, time_format).replace(tzinfo=dt.UTC)
        raise UnusableError(
            NO_TIME,
            f"the time {text!r} is not in the format {' or '.join(map(repr, self._time_formats))} "
            f"of the profile {self.name}; correct time_format in the profile",
        )

    @property
    def _time_formats(self) -> tuple[str, ...]:
        return (self.time_format,) if isinstance(self.time_format, str) else self.time_format

    def format_time(self, time: dt.datetime) -> str:
        """Text of a time that ``parse_time`` reads."""
        return time.strftime(self._time_formats[0])

    def parse_range(
        self, metadata: Mapping[MetadataField, str], source: str
    ) -> tuple[dt.datetime, dt.datetime | None]:
        """Time of acquisition, UTC; if only its date is known, the first and last second of it.

        Raises
        ------
        UnusableError
            If there is neither time nor date, or one in another format.
        """
        if "time" in metadata:
            time = self.parse_time(metadata["time"])
            if self.has_time_of_day:
                return time, None
        elif "date" in metadata:
            time = dt.datetime.strptime(metadata["date"], "%Y%m%d").replace(tzinfo=dt.UTC)
        else:
            raise UnusableError(NO_TIME, f"the time of {source} is unknown; add it to its profile")
        return time, time + dt.timedelta(days=1, seconds=-1)

    def parse_processed(self, metadata: Mapping[MetadataField, str]) -> dt.datetime | None:
        """Time of processing, UTC; None if it is unknown or in no format of the profile."""
        text = metadata.get("processed")
        for time_format in self._time_formats if text else ():
            with suppress(ValueError):
                return dt.datetime.strptime(str(text), time_format).replace(tzinfo=dt.UTC)
        return None

    @property
    def has_time_of_day(self) -> bool:
        """Whether times include the time of day, which determines the orbit direction."""
        return any("%H" in time_format for time_format in self._time_formats)


def scene_profiles(user_profiles: Iterable[str] = ()) -> tuple[SceneProfile, ...]:
    """Profiles in the order in which they are tried.

    Parameters
    ----------
    user_profiles
        YAML files of the user, tried first. Generic profiles are tried last.
    """
    known = sorted(
        shipped(SceneProfile), key=lambda profile: (profile.generic, not profile.snap_header)
    )
    return (*(find_profile(SceneProfile, name) for name in user_profiles), *known)


def parse_platform(text: str | None) -> str | None:
    """Platform as ``"sentinel-1a"``, from any usual spelling; None if it is not recognised."""
    match = None if text is None else re.fullmatch(r"(?i)s(?:entinel)?-?_?1_?([a-d])", text.strip())
    name = None if match is None else f"sentinel-1{match[1].lower()}"
    return name if name in PLATFORMS else None


def parse_orbit_direction(text: str | None) -> str | None:
    """``"ascending"`` or ``"descending"``, from any abbreviation; None if not recognised."""
    lowered = (text or "").strip().lower()
    for direction in (orbits.ASCENDING, orbits.DESCENDING):
        if lowered and direction.startswith(lowered):
            return direction
    return None


def relative_orbit(metadata: Mapping[MetadataField, str]) -> int | None:
    """Relative orbit, 1..175, as specified or derived from the absolute orbit; None if unknown."""
    stated = _number(metadata.get("relative_orbit"), 1.0, float(orbits.ORBITS_PER_CYCLE))
    if stated is not None:
        return int(stated)
    satellite = parse_platform(metadata.get("platform"))
    absolute = _number(metadata.get("absolute_orbit"), 1.0, math.inf)
    if satellite is None or absolute is None:
        return None
    return orbits.relative_orbit(satellite, int(absolute))


def parse_mode(text: str | None) -> str | None:
    """Instrument mode: IW, EW, WV, or SM for the beams S1 to S6; None if not recognised."""
    mode = (text or "").strip().upper()
    if re.fullmatch("S[1-6]", mode):
        return "SM"
    return mode if mode in ("IW", "EW", "SM", "WV") else None


def incidence_deg(metadata: Mapping[MetadataField, str]) -> float | None:
    """Incidence angle at the centre, degrees, over 0 to 90; None if it is not such a number."""
    return _number(metadata.get("incidence"), 0.0, 90.0) or None


def heading_deg(metadata: Mapping[MetadataField, str]) -> float | None:
    """Heading of the ground track, degrees clockwise from north; None if it is not a number."""
    return _number(metadata.get("heading"), -360.0, 360.0)


def _number(text: str | None, low: float, high: float) -> float | None:
    """A number within its valid range; fill values such as 99999 give None."""
    try:
        number = math.nan if text is None else float(text)
    except ValueError:
        return None
    return number if low <= number <= high and math.isfinite(number) else None


def check_quantity(quantity: str | None, source: str) -> str:
    """Check that a quantity is gamma0 or sigma0.

    Raises
    ------
    UnusableError
        If it is missing or another one.
    """
    if quantity not in QUANTITIES:
        raise UnusableError(
            NO_UNIT,
            f"{source} is declared as {quantity!r}; expected {' or '.join(QUANTITIES)}: correct "
            f"the facts or words of its profile",
        )
    return quantity


def check_unit(unit: str | None, source: str) -> str:
    """Check that backscatter in this unit can be read.

    Raises
    ------
    UnusableError
        If it is missing, unknown, or that of a level-1 product.
    """
    if unit == units.DIGITAL_NUMBER:
        raise UnusableError(
            LEVEL_1,
            f"{source} is a level-1 product in radar geometry (digital numbers): convert it to "
            f"gamma0 first, with sarcast rtc or another processor",
        )
    if unit not in units.SOURCE_UNITS:
        raise UnusableError(
            NO_UNIT,
            f"{source} is declared in {unit!r}; expected "
            f"{', '.join(map(repr, units.SOURCE_UNITS))}",
        )
    return unit


def _check_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error})") from error
    return pattern
