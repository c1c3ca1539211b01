"""``sarcast detect``: expected image, difference image, change map and polygons of a date."""

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from sarcast.arrays import Float
from sarcast.commands.config import FLAT, write_record
from sarcast.commands.predict import DateConfig, baseline, described, expected_image
from sarcast.cube import open_cube, time_index_of
from sarcast.detection import difference as di
from sarcast.detection.classifiers import Threshold
from sarcast.detection.output import Detection, without_specks, write_detection
from sarcast.errors import SarcastError
from sarcast.io.files import new_folder
from sarcast.prediction import Model, load_model
from sarcast.windows import BANDS, ranked_previous

_log = logging.getLogger(__name__)


_OFF = (
    "the whole scene lies {:+.1f} dB (VV) and {:+.1f} dB (VH) off the expected image, "
    "beyond its standard deviation: weather that the cube does not tell? --level takes it off first"
)


class DetectConfig(DateConfig):
    """Options of ``sarcast detect``."""

    threshold: float | None = Field(
        None, ge=0.0, description="Norm of the difference above which a pixel is changed, dB."
    )
    false_alarm_rate: float = Field(
        0.001,
        gt=0.0,
        lt=1.0,
        description="Share of unchanged pixels called changed, by the model's validation residuals;"
        " used where no threshold is given.",
    )
    min_pixels: int = Field(
        8, ge=1, description="Smallest change kept, in connected pixels (8 neighbours)."
    )
    level: bool = Field(
        False,
        description="First shift the expected image by the median difference of each band: what "
        "moves a whole scene is weather that nobody told of, if less than half of it changed.",
    )


def detect(cube: Path, *, config: Annotated[DetectConfig, FLAT]) -> None:
    """Write what changed on the ground at a date: rasters, polygons and their STAC item.

    Parameters
    ----------
    cube
        A cube, as ``sarcast cube`` builds it.
    """
    with new_folder(config.to, overwrite=config.overwrite, inputs=(cube, config.model)) as folder:
        opened, model = open_cube(cube), load_model(config.model, precision=config.precision)
        place = time_index_of(opened, config.at)
        threshold = _threshold(config, model)
        found = expected_image(opened, model, place, config)
        actual = opened["backscatter"].isel(time=place).values
        expected, std = found["expected"].values, found["std"].values
        level = _level(actual, expected, f"{cube} at {config.at}")
        if config.level:
            expected = expected + level[:, np.newaxis, np.newaxis]
        elif (np.abs(di.level(di.z(actual, expected, std))) > 1.0).any():
            _log.warning(_OFF.format(*level))
        changed = Threshold(threshold).predict(di.subtract(actual, expected))
        latest = ranked_previous(opened["time"].values, place, before=baseline(config))[0]
        detection = Detection(
            grid=opened["backscatter"].odc.geobox,
            actual=actual,
            expected=expected,
            std=std,
            changed=without_specks(changed, config.min_pixels),
            date=opened["time"].values[place],
            previous_date=opened["time"].values[latest],
        )
        provenance = {**described(opened, model, place), "sarcast:threshold_db": threshold}
        if config.level:
            provenance["sarcast:level_db"] = [round(float(each), 3) for each in level]
        write_detection(detection, folder, f"change-{config.at}", provenance)
        write_record(folder, "detect", {"cube": cube}, config)
    _log.info(
        f"norm above {threshold:.2f} dB: {100.0 * detection.share:.2f} % of what was seen changed; "
        f"{config.to / 'change.gpkg'}"
    )


def _level(actual: Float, expected: Float, what: str) -> Float:
    """Level of the difference, dims (band); raise if a band has none."""
    level = di.level(di.subtract(actual, expected))
    blind = [band for band, one in zip(BANDS, level, strict=True) if np.isnan(one)]
    if blind:
        raise SarcastError(
            f"{what}: no pixel of {', '.join(blind)} was seen by the target and by its "
            f"previous images; choose another date, or a cube with both bands"
        )
    return level


def _threshold(config: DetectConfig, model: Model) -> float:
    if config.threshold is not None:
        return config.threshold
    if model.scores is None:
        raise SarcastError(f"{config.model} has no validation scores; give a --threshold in dB")
    shares, quantiles = zip(*sorted(model.scores.norm_quantiles_db.items()), strict=True)
    wanted = 1.0 - config.false_alarm_rate
    if not shares[0] <= wanted <= shares[-1] + 1e-9:
        raise SarcastError(
            f"{config.model} tells thresholds for false-alarm rates of {1.0 - shares[-1]:g} to "
            f"{1.0 - shares[0]:g}, not for {config.false_alarm_rate:g}; give a --threshold in dB"
        )
    return float(np.interp(wanted, shares, quantiles))
