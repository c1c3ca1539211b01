"""What real weather is worth: error of the weights with it and without, on held-out dates.

    python -m benchmarks.weather SERIES [--model base] [--to weather.json]

SERIES is what ``benchmarks.real_series`` packed; the sites of WorldCereal have daily weather. Held
out is the last fifth of each site's dates with enough images before them, as the school of the
shipped weights keeps it.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import xarray as xr

from sarcast.arrays import Float
from sarcast.prediction import load_model
from sarcast.prediction.strategies import mean
from sarcast.sensor.conditions import WEATHER
from sarcast.windows import CubeReader, Window, target_dates
from sarcast.windows.masking import mask_conditions

ENOUGH = 10
"""Images before a target, in the school."""
HELD_SHARE = 0.2
PREVIOUS = (4, 8, 10)


def main() -> None:
    """Print a table, and write what it was made from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--to", type=Path, help="where the errors of each date are written")
    options = parser.parse_args()
    model = load_model(options.model, device="cpu")
    print(
        "| site | held dates | previous | mean | without weather | with weather | with / without |"
    )
    print("|---" * 7 + "|")
    told = []
    for path in sorted(options.series.glob("worldcereal-*.nc")):
        cube = xr.load_dataset(path, engine="h5netcdf")
        for previous in PREVIOUS:
            windows = held_windows(cube, previous)
            blind = [mask_conditions(window, WEATHER) for window in windows]
            errors = {
                "mean": [error(window, mean(window)) for window in windows],
                "without": [
                    error(window, found.mean)
                    for window, found in zip(windows, model.expect(blind), strict=True)
                ],
                "with": [
                    error(window, found.mean)
                    for window, found in zip(windows, model.expect(windows), strict=True)
                ],
            }
            dates = [str(window.times[-1].astype("datetime64[D]")) for window in windows]
            told.append({"site": path.stem, "previous": previous, "dates": dates, **errors})
            middle = {name: float(np.mean(values)) for name, values in errors.items()}
            cells = [path.stem, f"{len(windows)}", f"{previous}",
                     *(f"{value:.3f}" for value in middle.values()),
                     f"{middle['with'] / middle['without']:.3f}"]  # fmt: skip
            print(f"| {' | '.join(cells)} |")
    if options.to:
        options.to.write_text(json.dumps(told, indent=1))


def held_windows(cube: xr.Dataset, previous: int) -> list[Window]:
    """Cut the whole site at each held date."""
    source = CubeReader.from_cube(cube, in_memory=True)
    dates = target_dates(cube, ENOUGH)
    held = dates[round(len(dates) * (1.0 - HELD_SHARE)) :]
    return [
        source.cut(
            int(date),
            (0, 0),
            source.shape,
            source.choose_previous(int(date), (0, 0), source.shape, previous, chooser="recent"),
        )
        for date in held
    ]


def error(window: Window, expected: Float) -> float:
    """Mean squared error of an expected image, dB²."""
    return float(np.nanmean(np.square(window.target - expected)))


if __name__ == "__main__":
    main()
