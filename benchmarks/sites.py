"""Sites worldwide: error of a model beside conventional strategies, on 3 x 3 pixels.

    python -m benchmarks.sites DATA/opera-dist-sites/sites.parquet [--model base] [--to sites.json]

The sites are those that ``benchmarks.real_series`` excludes from training: every third. Targets are
every third acquisition (``EVERY``) of 2022 before the change of a site; a series is one track of a
site, or all of its tracks. There is no weather and no terrain.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from sarcast.arrays import Float
from sarcast.prediction import load_model
from sarcast.prediction.strategies import STRATEGIES
from sarcast.sensor.orbits import heading_deg
from sarcast.sensor.units import to_db
from sarcast.windows import Chooser, CubeReader, Predictor, Window

SIDE = 3
FIRST_TEST = np.datetime64("2022-01-01")
EVERY = 3
KINDS = {"one track": False, "all tracks": True}
"""Series, and whether they are mixed: of all tracks of a site."""
WINDOWS_PER_BATCH = 32
"""Windows of nine pixels each, which a network pads to 16 x 16."""
BASELINES: tuple[tuple[Chooser, int], ...] = (
    ("recent", 4),
    ("recent", 8),
    ("recent", 16),
    ("nearest", 4),
    ("nearest", 8),
    ("both", 8),
)
RULES = ("latest-same-pass", "mean")


def main() -> None:
    """Print a table, and write the error of each site."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sites", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--to", type=Path, help="where the errors of each site are written")
    options = parser.parse_args()
    _, table = split_sites(pd.read_parquet(options.sites))
    predictors: dict[str, Predictor] = {
        **{name: STRATEGIES[name] for name in RULES},
        "model": load_model(options.model),
    }
    names = list(predictors)
    print(f"| series | previous | sites | {' | '.join(f'{n}, dB²' for n in names)} "
          "| of the mean's, average | median | sites with less |")  # fmt: skip
    print("|---" * (6 + len(names)) + "|")
    rows = []
    for kind, mixed in KINDS.items():
        cubes = dict(series(table, mixed=mixed))
        for chooser, previous in BASELINES:
            errors = {}
            for site, cube in cubes.items():
                windows = list(windows_of(cube, chooser, previous))
                if windows:
                    errors[site] = [error(windows, predictors[name]) for name in names]
            values = np.array(list(errors.values()))
            share = values[:, -1] / values[:, names.index("mean")]
            rows.append({"series": kind, "given": [chooser, previous], "errors": errors})
            cells = [kind, f"{chooser} {previous}", f"{len(values)}",
                     *(f"{mse:.3f}" for mse in values.mean(axis=0)), f"{share.mean():.3f}",
                     f"{np.median(share):.3f}", f"{np.mean(share < 1.0):.2f}"]  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)
    if options.to:
        options.to.write_text(json.dumps({"names": names, "rows": rows}, indent=1))


def split_sites(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the table into the sites for training and those for tests, every third."""
    for_tests = table["site"].isin(sorted(table["site"].unique())[::3])
    return table[~for_tests], table[for_tests]


def series(
    table: pd.DataFrame, *, mixed: bool, whole: bool = False
) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield a cube of each burst of a site, or with ``mixed`` of all of them.

    It ends before the change of the site, unless it is to be ``whole``.
    """
    known = table[table["vv0"].notna() & (table["vv0"] > 0)]
    known = known.assign(time=pd.to_datetime(known["datetime"]))
    changed = pd.to_datetime(known["change_time"])
    kept = known[changed.isna() | (known["time"] < changed) | whole]
    for key, rows in kept.groupby(["site"] if mixed else ["site", "burst"]):
        yield " ".join(map(str, key)), _cube(rows)


def _cube(rows: pd.DataFrame) -> xr.Dataset:
    bands = [rows[[f"{band}{k}" for k in range(SIDE**2)]].to_numpy() for band in ("vv", "vh")]
    power = np.stack(bands, axis=1).reshape(-1, 2, SIDE, SIDE).astype(np.float32)
    latitude = float(rows["lat"].iloc[0])
    headings = [heading_deg(latitude, direction) for direction in rows["orbit"]]
    image = to_db(np.where(power > 0, power, np.float32(np.nan)))
    cube = xr.Dataset(
        {"backscatter": (("time", "band", "y", "x"), image)},
        coords={
            "time": rows["time"].to_numpy().astype("datetime64[ns]"),
            "band": ["VV", "VH"],
            "y": np.arange(SIDE, 0, -1.0),
            "x": np.arange(float(SIDE)),
            "heading": ("time", np.array(headings, dtype=np.float32)),
        },
    )
    return cube.sortby("time").drop_duplicates("time")


def windows_of(cube: xr.Dataset, chooser: Chooser, previous: int) -> Iterator[Window]:
    """Cut the targets that have at least sixteen images before them."""
    reader = CubeReader.from_cube(cube, in_memory=True)
    largest = max(count for _, count in BASELINES)
    part = (0, 0), reader.shape
    for date in np.flatnonzero(reader.times >= FIRST_TEST)[::EVERY].tolist():
        if date >= largest and reader.valid_share(date, *part) == 1.0:
            chosen = reader.choose_previous(date, *part, previous, chooser=chooser)
            if len(chosen) == previous:
                yield reader.cut(date, *part, chosen)


def error(windows: list[Window], predictor: Predictor) -> float:
    """Mean squared error over all windows of a site, dB²."""
    squares: list[Float] = []
    for first in range(0, len(windows), WINDOWS_PER_BATCH):
        batch = windows[first : first + WINDOWS_PER_BATCH]
        expected = predictor.expect(batch)
        squares += [np.square(w.target - e.mean) for w, e in zip(batch, expected, strict=True)]
    return float(np.nanmean(squares))


if __name__ == "__main__":
    main()
