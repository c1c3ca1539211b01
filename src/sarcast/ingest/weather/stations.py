"""Weather of stations: CSV files, and interpolation between stations."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from sarcast.arrays import Double
from sarcast.errors import SarcastError, first_line
from sarcast.ingest.weather.layouts import (
    StationTable,
    WeatherOptions,
    WeatherProfile,
    choose_profile,
)

MAX_STATIONS = 4
"""Number of nearest stations that are used for a cell."""
MAX_DISTANCE_KM = 100.0
"""Distance beyond which a station has no weight, km."""
MIN_DISTANCE_KM = 1e-3
"""Shorter distances are weighted as this one, km."""
MOST_VALUES = 5e7
"""Most values of a condition, at all stations and times: ten years of hours at 570 stations."""
EARTH_RADIUS_KM = 6371.0
"""Radius of the sphere on which distances are measured, km."""

_SEPARATORS = (";", "\t", ",")
_LAT, _LON, _TIME = "station latitude", "station longitude", "time of the row"
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


def read_table(path: Path, options: WeatherOptions) -> tuple[xr.Dataset, WeatherProfile]:
    """Read a CSV file of stations.

    Parameters
    ----------
    path
        The file; its separator is the comma, semicolon or tab, whichever is most frequent in the
        first line.
    options
        May specify the profile and the decimal sign.

    Returns
    -------
    Dataset
        The variables of the profile, dims (time, station), with coordinates ``lat`` and ``lon``.
    WeatherProfile
        The profile that matches the columns.

    Raises
    ------
    SarcastError
        If the file cannot be read, a value is not a number, or a station has no position.
    """
    header = _header(path)
    separator = max(_SEPARATORS, key=header.count)
    names = [name.strip().strip('"') for name in header.split(separator)]
    profile = choose_profile(names, options, str(path), table=True, spacing=None)
    assert profile.table is not None
    decimal = options.weather_decimal or profile.table.decimal
    columns = list(profile.match(names).values())
    frame = _frame(path, separator, profile.table, decimal)
    for name in columns:
        frame[name] = _numbers(frame[name], path, decimal)
    for name, values in zip((_LAT, _LON), _positions(frame, profile.table, path), strict=True):
        frame[name] = values
        frame[name] = _numbers(frame[name], path, decimal)
    _check_positions(frame, path)
    frame[_TIME] = _times(frame[profile.table.time], profile.table, path)
    _check_number(frame, path)
    return _dataset(frame, columns), profile


def _header(path: Path) -> str:
    if not path.is_file():
        raise SarcastError(f"{path} does not exist; give a CSV file of stations")
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.readline().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SarcastError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from error


def _frame(path: Path, separator: str, table: StationTable, decimal: str) -> pd.DataFrame:
    try:
        frame = pd.read_csv(
            path,
            sep=separator,
            decimal=decimal,
            dtype={table.time: str},
            na_values=list(table.missing),
            keep_default_na=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
        )
    except Exception as error:  # pandas raises many kinds
        raise SarcastError(f"{path} cannot be read as a CSV file: {first_line(error)}") from error
    frame.columns = frame.columns.str.strip().str.strip('"')
    if not isinstance(frame.index, pd.RangeIndex):
        raise SarcastError(
            f"{path} has lines with more fields than its first line has names; use decimal "
            f"points, or separate the fields by semicolons and add --weather-decimal ,"
        )
    return frame


def _numbers(column: "pd.Series[float]", path: Path, decimal: str) -> "pd.Series[float]":
    try:
        numbers = pd.to_numeric(column, errors="coerce")
    except OverflowError as error:
        raise SarcastError(
            f"{column.name} in {path} has a number of more than 300 digits; correct it"
        ) from error
    wrong = column[numbers.isna() & column.notna()]
    if wrong.empty:
        return numbers
    text = str(wrong.iloc[0])
    if decimal == "." and _DECIMAL_COMMA.fullmatch(text.strip()):
        raise SarcastError(
            f"{column.name} in {path} has decimal commas, such as {text!r}: add --weather-decimal ,"
        )
    raise SarcastError(
        f"{column.name} in {path} must have numbers, but has {text!r} in line "
        f"{int(wrong.index[0]) + 2}; list the text that marks missing values in its profile"
    )


def _times(column: "pd.Series[str]", table: StationTable, path: Path) -> "pd.Series[pd.Timestamp]":
    try:
        times = pd.to_datetime(column, format=table.time_format or "ISO8601", utc=True)
    except ValueError as error:
        raise SarcastError(
            f"{column.name} in {path} must have times, ISO 8601 or in the time_format of its "
            f"profile: {str(error).splitlines()[0]}"
        ) from error
    if times.isna().any():
        raise SarcastError(
            f"{column.name} in {path} has no time in line {int(np.argmax(times.isna())) + 2}; "
            f"correct or delete it"
        )
    return times.dt.tz_localize(None)


def _positions(frame: pd.DataFrame, table: StationTable, path: Path) -> tuple[Any, Any]:
    """Latitude and longitude of each row."""
    if table.location in frame:
        pairs = frame[table.location].astype(str).str.extract(r"(-?[\d.]+)[ ,;]+(-?[\d.]+)")
        return pairs[0], pairs[1]
    if table.latitude in frame and table.longitude in frame:
        return frame[table.latitude], frame[table.longitude]
    if table.place is None:
        raise SarcastError(
            f"{path} does not specify where its stations are: expected columns of latitude and "
            f"longitude; specify them, or the position of a single station, in a profile "
            f"(table: {{place: [60.2, 24.9]}})"
        )
    return table.place


def _check_positions(frame: pd.DataFrame, path: Path) -> None:
    wrong = frame[~((frame[_LAT].abs() <= 90.0) & (frame[_LON].abs() <= 360.0))]
    if not wrong.empty:
        raise SarcastError(
            f"{path} does not specify where the station of line {int(wrong.index[0]) + 2} is: "
            f"expected its latitude and longitude in degrees"
        )


def _check_number(frame: pd.DataFrame, path: Path) -> None:
    """Raise if a value for each time and station would take much memory: each has its own time."""
    number = frame[_TIME].nunique() * len(frame.drop_duplicates([_LAT, _LON]))
    if number > MOST_VALUES:
        raise SarcastError(
            f"{path} has {frame[_TIME].nunique()} times and "
            f"{len(frame.drop_duplicates([_LAT, _LON]))} stations, expected at most "
            f"{MOST_VALUES:.0g} values of each condition; split it by stations"
        )


def _dataset(frame: pd.DataFrame, names: list[str]) -> xr.Dataset:
    numbers = frame.groupby([_LAT, _LON], sort=False).ngroup().to_numpy()
    stations = frame.drop_duplicates([_LAT, _LON])
    times, rows = np.unique(frame[_TIME].to_numpy("datetime64[s]"), return_inverse=True)
    fields = {}
    for name in names:
        values = np.full((times.size, len(stations)), np.nan)
        values[rows, numbers] = frame[name]
        fields[name] = (("time", "station"), values)
    return xr.Dataset(
        fields,
        coords={
            "time": times.astype("datetime64[ns]"),
            "lat": ("station", stations[_LAT].to_numpy(float)),
            "lon": ("station", stations[_LON].to_numpy(float)),
        },
    )


def interpolate(
    values: Double, stations: tuple[Double, Double], cells: tuple[Double, Double]
) -> Double:
    """Interpolate between stations: mean of the nearest, weighted by one over distance squared.

    Each day uses the ``MAX_STATIONS`` nearest stations that have a value on it, within
    ``MAX_DISTANCE_KM``.

    Parameters
    ----------
    values
        Dims (day, station).
    stations
        Latitude and longitude of the stations, degrees.
    cells
        Latitude and longitude of the cells, dims (cy, cx), degrees.

    Returns
    -------
    ndarray
        Dims (day, cy, cx); NaN where no station is within the limit.
    """
    weights = _weights(stations, cells)
    layers = np.full((values.shape[0], weights.shape[0]), np.nan)
    for day, valid in enumerate(np.isfinite(values)):
        used = np.where(valid, weights, 0.0)
        if used.shape[1] > MAX_STATIONS:
            least = np.partition(used, -MAX_STATIONS, axis=1)[:, -MAX_STATIONS]
            used = np.where(used >= least[:, np.newaxis], used, 0.0)
        total = used.sum(axis=1)
        near = total > 0.0
        sums = used[near] @ np.where(valid, values[day], 0.0)
        layers[day, near] = sums / total[near]
    return layers.reshape(-1, *cells[0].shape)


def _weights(stations: tuple[Double, Double], cells: tuple[Double, Double]) -> Double:
    """One over the great-circle distance squared, dims (cell, station); 0 beyond the limit."""
    from sklearn.neighbors import BallTree

    from_points, to_points = (_radians(*points) for points in (stations, cells))
    weights = np.zeros((len(to_points), len(from_points)))
    columns, rows = (
        np.flatnonzero(np.isfinite(points).all(axis=1)) for points in (from_points, to_points)
    )
    if columns.size and rows.size:
        tree = BallTree(from_points[columns], metric="haversine")
        limit = MAX_DISTANCE_KM / EARTH_RADIUS_KM
        near, angles = tree.query_radius(to_points[rows], limit, return_distance=True)
        for row, indices, angle in zip(rows, near, angles, strict=True):
            distance_km = np.maximum(EARTH_RADIUS_KM * angle, MIN_DISTANCE_KM)
            weights[row, columns[indices]] = 1.0 / distance_km**2
    return weights


def _radians(lat: Double, lon: Double) -> Double:
    """Dims (point, 2), latitude and longitude in radians."""
    points: Double = np.radians(np.column_stack([lat.ravel(), lon.ravel()]))
    return points
