"""``sarcast demo``: all steps on a synthetic area, from scenes to a change map and a report.

The demo runs other verbs in sequence, so it calls their Python functions.
"""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from sarcast.commands.config import FLAT, Config, write_record
from sarcast.commands.cube import CubeConfig, cube
from sarcast.commands.detect import DetectConfig, detect
from sarcast.commands.evaluate import EvaluateConfig, evaluate
from sarcast.commands.train import TrainConfig, train
from sarcast.commands.world import WorldConfig, world
from sarcast.cube import open_cube
from sarcast.io.files import check_target
from sarcast.prediction.training.options import TrainOptions
from sarcast.world.options import WorldOptions

_log = logging.getLogger(__name__)


SOURCES = {"dem": "dem.tif", "weather": "weather.nc", "cover": "cover.tif"}
"""Files of a world besides its scenes, by the option of ``sarcast cube``."""
TEST_SHARE = 0.25
"""Share of the dates, the last ones, that are evaluated and not used for training."""


class DemoConfig(Config):
    """Options of ``sarcast demo``."""

    to: Path = Field(Path("demo"), description="Folder for all results.")
    world: Annotated[WorldOptions, FLAT] = Field(default_factory=WorldOptions)
    seed: int = Field(
        0, ge=0, description="Seed of the world, the training and the simulated changes."
    )
    minutes: float = Field(1.0, gt=0.0, description="Time for adapting the network, minutes.")
    overwrite: bool = Field(False, description="Replace the folder if it exists.")


_DEFAULT = DemoConfig()


def demo(*, config: Annotated[DemoConfig, FLAT] = _DEFAULT) -> None:
    """Run all steps on a synthetic area: world, cube, network, change map, evaluation."""
    started = time.monotonic()
    folder = _new_folder(config)
    area, store, model = folder / "world", folder / "cube.zarr", folder / "model"
    with _step("1 of 5: a synthetic area, written in the layout of real scenes"):
        world(area, config=WorldConfig(world=config.world, seed=config.seed))
    with _step("2 of 5: the cube"):
        sources = {name: (str(area / file),) for name, file in SOURCES.items()}
        cube(str(area), config=CubeConfig(to=store, **sources))
    times = open_cube(store)["time"].values
    end = str(times[int(len(times) * (1.0 - TEST_SHARE)) - 1])
    with _step("3 of 5: the shipped network, adapted to the dates before the last quarter"):
        train((store,), config=_training(config, model, end))
    with _step("4 of 5: what changed at the last date"):
        last = str(np.datetime_as_string(times[-1], unit="s"))
        detect(store, config=DetectConfig(model=model, at=last, to=folder / "detection"))
    with _step("5 of 5: evaluation, with changes simulated at the dates after training"):
        evaluate(store, config=EvaluateConfig(model=model, to=folder / "evaluation"))
    seconds = time.monotonic() - started
    _log.info(f"finished in {seconds:.0f} s; open {folder}/evaluation/report.html")


def _new_folder(config: DemoConfig) -> Path:
    """Make the folder, with the record of the options in it."""
    check_target(config.to, overwrite=config.overwrite)
    shutil.rmtree(config.to, ignore_errors=True)
    config.to.mkdir(parents=True)
    write_record(config.to, "demo", {}, config)
    return config.to


def _training(config: DemoConfig, model: Path, end: str) -> TrainConfig:
    options = TrainOptions(minutes=config.minutes, seed=config.seed)
    return TrainConfig(to=model, start_from=Path("base"), end=end, training=options)


@contextmanager
def _step(title: str) -> Iterator[None]:
    """Log the title of a step before it, and its duration after it."""
    _log.info(f"[{title}]")
    started = time.monotonic()
    yield
    _log.info(f"    {time.monotonic() - started:.0f} s")
