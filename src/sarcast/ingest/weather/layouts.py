"""Layouts of weather sources: names, units, and what a day is, declared in profiles."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarcast.errors import UsageError
from sarcast.ingest.profiles import Profile, find_profile, shipped

Condition = Literal["temperature", "precipitation", "snow_depth"]


class WeatherVariable(BaseModel):
    """How a source tells one condition."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = Field(description="Names it may have, whatever their case.")
    units: str | None = Field(None, description="CF unit, where the file does not tell it.")
    density: tuple[str, ...] = Field(
        (), description="Names of the snow density by which an amount of water becomes a depth."
    )
    day: Literal["mean", "sum", "last"] = Field(
        "mean",
        description="What the steps of a day become: their mean, their sum, or the value at the "
        "end of the day, for totals that run from its start.",
    )
    stamp: Literal["start", "end"] = Field(
        "start", description="Whether a step's time is its start or its end."
    )
    day_starts: float = Field(
        0.0, ge=-12.0, le=12.0, description="Hour of the source's clock at which its day starts."
    )
    replace: dict[float, float] = Field({}, description="Values that stand for others.")
    most: float | None = Field(
        None,
        description="Largest value that is one, in the condition's unit; more counts as missing.",
    )

    @model_validator(mode="after")
    def _totals_end(self) -> "WeatherVariable":
        if self.day == "last" and self.stamp != "end":
            raise ValueError("totals that run to the end of the day (day: last) need stamp: end")
        return self


class Table(BaseModel):
    """Columns of a CSV file of stations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: str = Field(description="Column of the time, ISO 8601 unless time_format is given.")
    time_format: str | None = Field(None, description="Format of the time, as of strptime.")
    station: str | None = Field(None, description="Column of the station's name.")
    latitude: str | None = Field(None, description="Column of the latitude, degrees.")
    longitude: str | None = Field(None, description="Column of the longitude, degrees.")
    location: str | None = Field(None, description="Column with latitude and longitude together.")
    place: tuple[float, float] | None = Field(
        None, description="Latitude and longitude of the one station, where no column tells them."
    )
    missing: tuple[str, ...] = Field(("NA", "-", ""), description="Words for a missing value.")
    decimal: Literal[".", ","] = Field(".", description="Decimal sign.")


class WeatherProfile(Profile):
    """Where a source of weather keeps what."""

    folder: ClassVar[str] = "weather"

    variables: dict[Condition, WeatherVariable] = Field(description="The conditions it tells.")
    time: tuple[str, ...] = Field(
        ("time", "valid_time", "timestamp"), description="Names of the dimension of time."
    )
    x: tuple[str, ...] = Field(
        ("x", "lon", "longitude"), description="Names of the coordinate to the east."
    )
    y: tuple[str, ...] = Field(
        ("y", "lat", "latitude"), description="Names of the coordinate to the north."
    )
    crs: str | None = Field(None, description="CRS of x and y, where the file does not tell it.")
    spacing: float | None = Field(
        None, description="Spacing of its grid, by which it is told from others of the same names."
    )
    clock: Literal["utc", "local"] = Field(
        "utc", description="Whether its times are UTC or the mean solar time of the place."
    )
    utc_offset: float = Field(
        0.0, ge=-14.0, le=14.0, description="Hours by which its clock is ahead of the one named."
    )
    unit_words: dict[str, str] = Field({}, description="CF units for the file's own words.")
    table: Table | None = Field(None, description="Columns, where the source is a CSV file.")

    def found(self, names: Iterable[str]) -> dict[Condition, str]:
        """Which of some names tells which condition.

        An amount of snow water tells nothing without the density that makes it a depth.
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
    """How weather is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weather_profile: tuple[str, ...] = Field(
        (),
        description="Layouts of weather files, tried before the others: YAML files of your own, or "
        "shipped ones by name, as era5-land; default: told by the names of the variables.",
    )
    weather_decimal: Literal[".", ","] | None = Field(
        None, description="Decimal sign of weather CSV files; default: that of their profile."
    )


def choose(
    names: Sequence[str], options: WeatherOptions, place: str, *, table: bool, spacing: float | None
) -> WeatherProfile:
    """Choose the profile of a file by the names that it holds.

    Parameters
    ----------
    names
        Of its variables or columns.
    options
        May name the profile.
    place
        The file, for messages.
    table
        Whether it is a table of stations.
    spacing
        Spacing of its grid; None if it has none.

    Raises
    ------
    UsageError
        If no profile, or more than one, knows the names.
    """
    for own in (
        [find_profile(WeatherProfile, word) for word in options.weather_profile],
        shipped(WeatherProfile),
    ):
        best = _fitting(own, names, table=table, spacing=spacing)
        if len(best) == 1:
            return best[0]
        if best:
            raise UsageError(
                f"{place} fits more than one profile ({', '.join(p.name for p in best)}); "
                f"name one with --weather-profile"
            )
    raise UsageError(
        f"{place} holds no weather that is known: expected the names of one of the profiles "
        f"{', '.join(profile.name for profile in shipped(WeatherProfile))}, found "
        f"{', '.join(names) or 'nothing'}; declare them with --weather-profile"
    )


def _fitting(
    profiles: Sequence[WeatherProfile], names: Sequence[str], *, table: bool, spacing: float | None
) -> list[WeatherProfile]:
    """The profiles that know the most of the names.

    Sources that share names are told apart by the spacing of their grids alone: where it fits none
    of them, all are given.
    """
    usable = [p for p in profiles if (p.table is not None) == table and _complete(p, names)]
    told = {profile.name: len(profile.found(names)) for profile in usable}
    known = [profile for profile in usable if told[profile.name]]
    spaced = [profile for profile in known if profile.spacing is not None]
    alike = [profile for profile in spaced if _same(profile.spacing, spacing)] or spaced
    known = [profile for profile in known if profile.spacing is None or profile in alike]
    most = max((told[profile.name] for profile in known), default=0)
    best = [profile for profile in known if told[profile.name] == most]
    return alike if any(profile in alike for profile in best) else best


def _complete(profile: WeatherProfile, names: Iterable[str]) -> bool:
    """Whether a table has the profile's column of time."""
    return profile.table is None or profile.table.time in names


def _same(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) < 0.1 * one
