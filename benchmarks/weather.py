"""What real weather is worth: error of the weights with and without it, on validation dates.

    python -m benchmarks.weather SERIES [--model base] [--to weather.json]

SERIES was packed by ``benchmarks.real_series``; the sites of WorldCereal have daily weather. The
validation dates are the last fifth of each site's dates with enough previous images, as in the
recipe of the shipped weights.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from sarcast.arrays import Float
from sarcast.prediction import load_model
from sarcast.prediction.strategies import mean
from sarcast.sensor.conditions import WEATHER
from sarcast.windows import CubeReader, Predictor, Window, target_dates
from sarcast.windows.masking import mask_conditions

LEAST_PREVIOUS = 10
"""Number of images before a target that the recipe requires."""
VALIDATION_SHARE = 0.2
PREVIOUS = (4, 8, 10)


def main() -> None:
    """Print a table, and write the errors of each date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--to", type=Path, help="file for the errors of each date")
    options = parser.parse_args()
    model = load_model(options.model, device="cpu")
    columns = ("site", "validation dates", "previous", "mean", "without weather", "with weather",
               "with / without")  # fmt: skip
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    records = []
    for path in sorted(options.series.glob("worldcereal-*.nc")):
        cube = xr.load_dataset(path, engine="h5netcdf")
        for previous in PREVIOUS:
            windows = validation_windows(cube, previous)
            errors = errors_of(model, windows)
            dates = [str(window.times[-1].astype("datetime64[D]")) for window in windows]
            records.append({"site": path.stem, "previous": previous, "dates": dates, **errors})
            means = {name: float(np.mean(values)) for name, values in errors.items()}
            cells = [path.stem, f"{len(windows)}", f"{previous}",
                     *(f"{value:.3f}" for value in means.values()),
                     f"{means['with'] / means['without']:.3f}"]  # fmt: skip
            print(f"| {' | '.join(cells)} |")
    if options.to:
        options.to.write_text(json.dumps(records, indent=1))


def errors_of(model: Predictor, windows: Sequence[Window]) -> dict[str, list[float]]:
    """Errors of the mean, and of the model without and with weather, by window."""
    masked = [mask_conditions(window, WEATHER) for window in windows]
    errors = {"mean": [error(window, mean(window)) for window in windows]}
    for name, inputs in (("without", masked), ("with", windows)):
        images = model.expect(inputs)
        errors[name] = [
            error(window, image.mean) for window, image in zip(windows, images, strict=True)
        ]
    return errors


def validation_windows(cube: xr.Dataset, previous: int) -> list[Window]:
    """Windows of the whole site at each validation date."""
    source = CubeReader.from_cube(cube, in_memory=True)
    dates = target_dates(cube, LEAST_PREVIOUS)
    validation = dates[round(len(dates) * (1.0 - VALIDATION_SHARE)) :]
    return [
        source.cut(
            int(date),
            (0, 0),
            source.shape,
            source.choose_previous(int(date), (0, 0), source.shape, previous, chooser="recent"),
        )
        for date in validation
    ]


def error(window: Window, expected: Float) -> float:
    """Mean squared error of an expected image, dB²."""
    return float(np.nanmean(np.square(window.target - expected)))


if __name__ == "__main__":
    main()
