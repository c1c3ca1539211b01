"""Mutated CSV files of stations' weather."""

import csv
import io
from pathlib import Path

import numpy as np

from sarcast.ingest.weather import read_weather

from .fuzz_netcdf import AT, DATES, DAYS
from .harness import Call, Kind
from .mutate import NASTY_NUMBERS, NASTY_TEXT, Rng, mutate_bytes


class Csv(Kind):
    """A table of two stations and eight days; its cells, columns or bytes are mutated."""

    name = "csv"

    def case(self, folder: Path, rng: Rng) -> Call:
        rows = _rows()
        for _ in range(int(rng.integers(1, 4))):
            _mutate(rows, rng)
        text = io.StringIO()
        separator = (",", ";", "\t")[rng.integers(3)]
        csv.writer(text, delimiter=separator).writerows(rows)
        data = text.getvalue().encode("utf-16" if rng.integers(20) == 0 else "utf-8", "replace")
        if rng.integers(3) == 0:
            data = mutate_bytes(data, rng)
        (folder / "weather.csv").write_bytes(data)
        return lambda: read_weather("weather.csv", AT, DATES)


def _rows() -> list[list[object]]:
    rows: list[list[object]] = [
        ["station", "latitude", "longitude", "time", "temperature", "precipitation", "snow_depth"]
    ]
    for number, (latitude, longitude) in enumerate([(62.2, 27.0), (62.25, 27.1)]):
        for day in DAYS:
            rows.append([f"s{number}", latitude, longitude, str(day), 5.0, 1.0, 12.0])
    return rows


def _mutate(rows: list[list[object]], rng: Rng) -> None:
    row = int(rng.integers(len(rows)))
    column, kind = int(rng.integers(max(1, len(rows[row])))), int(rng.integers(8))
    if kind == 0:
        del rows[row]
    elif kind == 1:
        rows.insert(row, list(rows[int(rng.integers(len(rows)))]))
    elif kind == 2:
        rows[row] = rows[row][:column]
    elif kind == 3:
        for each in rows:
            del each[column : column + 1]
    elif kind == 4:
        value = NASTY_NUMBERS[rng.integers(len(NASTY_NUMBERS))]
        for each in rows[1:]:
            each[column : column + 1] = [value]
    elif rows[row]:
        texts = [*NASTY_TEXT, "nan", *np.array(NASTY_NUMBERS, dtype=object)]
        rows[row][min(column, len(rows[row]) - 1)] = texts[rng.integers(len(texts))]
    if not rows:
        rows.append([])
