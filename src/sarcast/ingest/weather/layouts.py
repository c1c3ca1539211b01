"""Layouts of weather sources, declared in profiles: names, units, and the length of a day."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarcast.errors import UsageError
from sarcast.ingest.profiles import Profile, find_profile, shipped

Condition = Literal["temperature", "precipitation", "snow_depth"]


class WeatherVariable(BaseModel):
    """How a source encodes one condition."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = Field(description="Names of the variable or column; case is ignored.")
    units: str | None = Field(None, description="CF unit, if the file does not specify it.")
    density: tuple[str, ...] = Field(
        (), description="Names of the snow density that converts an amount of water to a depth."
    )
    day: Literal["mean", "sum", "last"] = Field(
        "mean",
        description="How the steps of a day are aggregated: mean, sum, or last (the value at the "
        "end of the day, for running totals).",
    )
    stamp: Literal["start", "end"] = Field(
        "start", description="Whether the time of a step is its start or its end."
    )
    day_starts: float = Field(
        0.0, ge=-12.0, le=12.0, description="Hour of the source's clock at which the day starts."
    )
    replace: dict[float, float] = Field(
        {}, description="Values to be replaced by others, such as -1: 0."
    )
    most: float | None = Field(
        None,
        description="Largest valid value, in the condition's unit; larger ones count as missing.",
    )

    @model_validator(mode="after")
    def _totals_end(self) -> "WeatherVariable":
        if self.day == "last" and self.stamp != "end":
            raise ValueError("totals that run to the end of the day (day: last) need stamp: end")
        return self


class StationTable(BaseModel):
    """Columns of a CSV file of stations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: str = Field(description="Column with the time, in ISO 8601 unless time_format is given.")
    time_format: str | None = Field(None, description="Format of the time, as in strptime.")
    station: str | None = Field(None, description="Column with the name of the station.")
    latitude: str | None = Field(None, description="Column with the latitude, degrees.")
    longitude: str | None = Field(None, description="Column with the longitude, degrees.")
    location: str | None = Field(None, description="Column with both latitude and longitude.")
    place: tuple[float, float] | None = Field(
        None, description="Latitude and longitude of a single station, if no column has them."
    )
    missing: tuple[str, ...] = Field(("NA", "-", ""), description="Marks of a missing value.")
    decimal: Literal[".", ","] = Field(".", description="Decimal sign.")


class WeatherProfile(Profile):
    """Layout of a source of weather."""

    folder: ClassVar[str] = "weather"

    variables: dict[Condition, WeatherVariable] = Field(
        description="The conditions that the source contains."
    )
    time: tuple[str, ...] = Field(
        ("time", "valid_time", "timestamp"), description="Names of the time dimension."
    )
    x: tuple[str, ...] = Field(
        ("x", "lon", "longitude"), description="Names of the coordinate in x or longitude."
    )
    y: tuple[str, ...] = Field(
        ("y", "lat", "latitude"), description="Names of the coordinate in y or latitude."
    )
    crs: str | None = Field(None, description="CRS of x and y, if the file does not specify it.")
    spacing: float | None = Field(
        None,
        description="Spacing of its grid, to distinguish it from sources of the same names.",
    )
    clock: Literal["utc", "local"] = Field(
        "utc", description="Whether its times are UTC or local mean solar time."
    )
    utc_offset: float = Field(
        0.0, ge=-14.0, le=14.0, description="Hours by which its clock is ahead of that time."
    )
    unit_words: dict[str, str] = Field({}, description="CF units of unit names that are not CF.")
    table: StationTable | None = Field(None, description="Columns, if the source is a CSV file.")

    @property
    def densities(self) -> set[str]:
        """Names of the variables that convert an amount of water to a depth of snow."""
        return {name for variable in self.variables.values() for name in variable.density}

    def match(self, names: Iterable[str]) -> dict[Condition, str]:
        """Match names of variables or columns to conditions: ``{"temperature": "t2m"}``.

        An amount of snow water is matched only with the density that converts it to a depth.
        """
        known = {name.lower(): name for name in names}
        return {
            condition: known[name.lower()]
            for condition, variable in self.variables.items()
            if not variable.density or set(variable.density) & set(known.values())
            for name in reversed(variable.names)
            if name.lower() in known
        }


class WeatherOptions(BaseModel):
    """How weather files are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weather_profile: tuple[str, ...] = Field(
        (),
        description="Profiles of weather files that are tried first: YAML files, or shipped ones "
        "by name, such as era5-land; default: chosen by the names of the variables.",
    )
    weather_decimal: Literal[".", ","] | None = Field(
        None, description="Decimal sign of weather CSV files; default: that of their profile."
    )


def is_weather(names: Sequence[str], options: WeatherOptions) -> bool:
    """Whether a grid with variables of these names contains a condition, by any profile."""
    named = [find_profile(WeatherProfile, name) for name in options.weather_profile]
    profiles = [profile for profile in (*named, *shipped(WeatherProfile)) if not profile.table]
    return any(profile.match(names) for profile in profiles)


def choose_profile(
    names: Sequence[str],
    options: WeatherOptions,
    source: str,
    *,
    table: bool,
    spacing: float | None,
) -> WeatherProfile:
    """Choose the profile of a file by the names in it.

    Parameters
    ----------
    names
        Of its variables or columns.
    options
        May specify the profile.
    source
        Name of the file, for error messages.
    table
        Whether it is a table of stations.
    spacing
        Spacing of its grid; None if it has none.

    Raises
    ------
    UsageError
        If no profile, or more than one, matches the names.
    """
    for profiles in (
        [find_profile(WeatherProfile, name) for name in options.weather_profile],
        shipped(WeatherProfile),
    ):
        best = _best_matches(profiles, names, table=table, spacing=spacing)
        if len(best) == 1:
            return best[0]
        if best:
            raise UsageError(
                f"{source} fits more than one profile ({', '.join(p.name for p in best)}); "
                f"choose one with --weather-profile"
            )
    raise UsageError(
        f"{source} has no known weather variable: expected the names of one of the profiles "
        f"{', '.join(profile.name for profile in shipped(WeatherProfile))}, found "
        f"{', '.join(names) or 'nothing'}; declare them with --weather-profile"
    )


def _best_matches(
    profiles: Sequence[WeatherProfile], names: Sequence[str], *, table: bool, spacing: float | None
) -> list[WeatherProfile]:
    """The profiles that match the most names.

    Profiles with the same names are distinguished by their grid spacing alone: if it fits none of
    them, all are returned.
    """
    usable = [p for p in profiles if (p.table is not None) == table and _has_time_column(p, names)]
    matches = {profile.name: len(profile.match(names)) for profile in usable}
    matching = [profile for profile in usable if matches[profile.name]]
    spaced = [profile for profile in matching if profile.spacing is not None]
    same = [profile for profile in spaced if _same_spacing(profile.spacing, spacing)] or spaced
    matching = [profile for profile in matching if profile.spacing is None or profile in same]
    most = max((matches[profile.name] for profile in matching), default=0)
    best = [profile for profile in matching if matches[profile.name] == most]
    return same if any(profile in same for profile in best) else best


def _has_time_column(profile: WeatherProfile, names: Iterable[str]) -> bool:
    """Whether a table has the time column of the profile."""
    return profile.table is None or profile.table.time in names


def _same_spacing(declared: float | None, actual: float | None) -> bool:
    """Whether the spacing of a grid is that of a profile, within 10 %."""
    if declared is None or actual is None:
        return False
    return abs(declared - actual) < 0.1 * declared
