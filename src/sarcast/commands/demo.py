"""``sarcast demo``: all steps on a synthetic area, from scenes to a change map and a report.

The demo runs other verbs in sequence, so it calls their Python functions.
"""

import datetime as dt
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sarcast.commands.config import FLAT, Config, write_record
from sarcast.commands.cube import CubeConfig, cube
from sarcast.commands.detect import DetectConfig, detect
from sarcast.commands.evaluate import EvaluateConfig, evaluate
from sarcast.commands.view import ViewConfig, view
from sarcast.commands.world import WorldConfig, world
from sarcast.detection.detect import DetectOptions
from sarcast.evaluation.detection.evaluate import DetectionTestOptions
from sarcast.io.files import check_target, exclusive
from sarcast.world.options import ChangeKind, WorldOptions

_log = logging.getLogger(__name__)


SOURCES = {"dem": "dem.tif", "weather": "weather.nc", "cover": "cover.tif"}
"""Files of a world besides its scenes, by the option of ``sarcast cube``."""
CUBE = "cube.zarr"
MAP = "map.html"
FIRST_CHANGE = dt.date(2020, 8, 25)
ACQUISITIONS, WATCHES = 4, 12
"""Watched acquisitions after each change, in the evaluation, and times of it at most."""


class DemoWorldOptions(WorldOptions):
    """The demo's area: a year without changes, then clear-cuts, fires and floods."""

    start: dt.date = Field(dt.date(2019, 7, 1), description="First day of the scenes, UTC.")
    change_kinds: tuple[ChangeKind, ...] = Field(
        ("clear-cut", "fire", "flood"), description="Kinds of change of the ground, each as likely."
    )
    changes_from: dt.date | None = Field(
        FIRST_CHANGE, description="First day of changes of the ground, UTC."
    )
    changes_per_km2: float = Field(
        4.0, ge=0.0, le=10.0, description="Changes of the ground per km2 and year, 0..10."
    )


class DemoConfig(Config):
    """Options of ``sarcast demo``."""

    to: Path = Field(Path("demo"), description="Folder for all results.")
    world: Annotated[DemoWorldOptions, FLAT] = Field(default_factory=DemoWorldOptions)
    seed: int = Field(0, ge=0, description="Seed of the world and of the simulated changes.")
    overwrite: bool = Field(False, description="Replace the folder if it exists.")


_DEFAULT = DemoConfig()


def demo(*, config: Annotated[DemoConfig, FLAT] = _DEFAULT) -> None:
    """Run all steps on a synthetic area: world, cube, detection, and how much of it is true."""
    started = time.monotonic()
    with exclusive(config.to):
        _prepare_folder(config)
        _run_steps(config, config.to)
    seconds = time.monotonic() - started
    report, page = config.to / "evaluation" / "report.html", config.to / MAP
    _log.info(f"finished in {seconds:.0f} s; open {report} and {page}")


def _run_steps(config: DemoConfig, folder: Path) -> None:
    area, store, base = folder / "world", folder / CUBE, Path("base")
    overwrite = config.overwrite
    with _step("1 of 4: a synthetic area, written in the layout of real scenes"):
        world(area, config=WorldConfig(world=config.world, seed=config.seed, overwrite=overwrite))
    with _step("2 of 4: the cube"):
        sources = {name: (str(area / file),) for name, file in SOURCES.items()}
        cube(str(area), config=CubeConfig(to=store, **sources))
    since = config.world.changes_from or config.world.start
    with _step(f"3 of 4: what changed since {since}"):
        options = DetectOptions(since=str(since))
        to = folder / "detection"
        detect(
            store, config=DetectConfig(model=base, detection=options, to=to, overwrite=overwrite)
        )
        view(to, config=ViewConfig(export=folder / MAP, overwrite=overwrite))
    with _step("4 of 4: which changes are found, and how many events are false"):
        evaluate(store, config=_evaluation(config, folder))


def _evaluation(config: DemoConfig, folder: Path) -> EvaluateConfig:
    """Detection with each true change after some acquisitions, beside conventional strategies."""
    return EvaluateConfig(
        model=Path("base"),
        detection=True,
        truth=folder / "world" / "truth" / "changes.gpkg",
        map=folder / MAP,
        testing=DetectionTestOptions(watches=WATCHES),
        detect=DetectOptions(acquisitions=ACQUISITIONS),
        seed=config.seed,
        to=folder / "evaluation",
        overwrite=config.overwrite,
    )


def _prepare_folder(config: DemoConfig) -> None:
    """Make the folder with the record of the options; of an older demo, the cube is deleted."""
    check_target(config.to, overwrite=config.overwrite)
    shutil.rmtree(config.to / CUBE, ignore_errors=True)
    write_record(config.to, "demo", {}, config)


@contextmanager
def _step(title: str) -> Iterator[None]:
    """Log the title of a step before it, and its duration after it."""
    _log.info(f"[{title}]")
    started = time.monotonic()
    yield
    _log.info(f"    {time.monotonic() - started:.0f} s")
