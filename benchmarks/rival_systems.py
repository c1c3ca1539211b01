"""Systems that ``benchmarks.rivals`` compares: strategies, bounds, our weights, transformers."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from sarcast.arrays import Float
from sarcast.detection.difference import level, levelled, norm, smoothed, subtract, z
from sarcast.prediction import Precision
from sarcast.prediction.strategies import latest, mean, season_mean
from sarcast.windows import Chooser, Expected, Predictor, Window, split_by_date

FIRST_TEST = np.datetime64("2024-01-01")
SMOOTHING_PX = 2.0
ALL = 10_000
"""Number of previous images that stands for all there are."""


class TargetPrediction(Protocol):
    """What a system expects of one target: ``expected``, (band, y, x) in dB, and its scores."""

    expected: Float

    def scores(self, target: Float) -> dict[str, Float]:
        """Compute scores of change of an actual image by name, (y, x), high where it changed."""
        ...


@dataclass(frozen=True)
class Baseline:
    """Which previous images a system is given; ``later``: all other images, later ones too."""

    chooser: Chooser
    previous: int
    later: bool = False

    def __str__(self) -> str:
        if self.later:
            return "all others, later ones too"
        return f"{self.chooser} {'all' if self.previous == ALL else self.previous}"


OURS = (
    Baseline("recent", 4),
    Baseline("recent", 8),
    Baseline("recent", 16),
    Baseline("nearest", 4),
    Baseline("nearest", 8),
    Baseline("both", 4),
    Baseline("both", 8),
    Baseline("both", 16),
)
CONVENTIONAL = (
    *OURS,
    Baseline("same-season", 4),
    Baseline("same-season", 8),
    Baseline("recent", ALL),
)
RIVALS = {
    "transformer_original": (Baseline("recent", 10), Baseline("same-season", 10)),
    "transformer_optimized": (Baseline("recent", 10), Baseline("same-season", 10)),
    "transformer_anniversary_trained": (
        Baseline("recent", 20),
        Baseline("same-season", 20),
        Baseline("same-season", 10),
    ),
}
"""Each with the number of images of its training; DIST-S1 takes 10 around anniversaries."""


@dataclass(frozen=True)
class Task:
    """One kind of system on one series.

    Attributes
    ----------
    kind
        Key of ``SYSTEMS``.
    path
        The series.
    model, precision
        Model folder, and number format of its convolutions.
    threads
        Threads of the task.
    training, crop, baseline
        How weights are adapted: options, side of a window in pixels, previous images.
    site, stride
        As in ``transformers.Transformer``.
    """

    kind: str
    path: Path
    model: str
    precision: Precision
    threads: int
    training: dict[str, Any]
    crop: int
    baseline: Baseline
    site: Path | None
    stride: int


class PlainPrediction:
    """Expected image of a ``windows.Predictor``, and its difference images as scores."""

    def __init__(self, expected: Expected) -> None:
        self.expected = expected.mean
        self._std = expected.std

    def scores(self, target: Float) -> dict[str, Float]:
        """Compute the norm over bands of the difference, and of z where there is a deviation."""
        differences = {"norm": subtract(target, self.expected)}
        if self._std is not None:
            differences["z"] = z(target, self.expected, self._std)
        scores = {}
        for name, image in differences.items():
            scores[name] = norm(image)
            scores[f"{name}, smoothed"] = norm(smoothed(image, SMOOTHING_PX))
            scores[f"{name}, levelled, smoothed"] = norm(smoothed(levelled(image), SMOOTHING_PX))
        return scores


@dataclass(frozen=True)
class System:
    """A system with the images that it is given.

    ``uses_target``: its prediction depends on the target, so that each changed target is predicted
    anew.
    """

    name: str
    baseline: Baseline
    predict: Callable[[Window], TargetPrediction]
    uses_target: bool = False


def strategies(_: Task) -> Iterator[System]:
    """Yield the latest image, and means of all baselines."""
    yield _conventional("latest", latest, Baseline("recent", 1))
    for baseline in CONVENTIONAL:
        yield _conventional("mean", mean, baseline)
    yield _conventional("season-mean", season_mean, Baseline("recent", ALL))


def bounds(_: Task) -> Iterator[System]:
    """Yield what no prediction can reach: means that use later images, and the target's level."""

    def at_level_of_target(window: Window) -> TargetPrediction:
        expected = mean(window)
        shift = level(subtract(window.target, expected))
        return PlainPrediction(Expected(expected + shift[:, np.newaxis, np.newaxis]))

    every = Baseline("recent", ALL, later=True)
    yield _conventional("bound: mean", mean, every)
    yield System("bound: mean at the target's level", every, at_level_of_target)


def _conventional(name: str, rule: Callable[[Window], Float], baseline: Baseline) -> System:
    return System(name, baseline, lambda window: PlainPrediction(Expected(rule(window))))


def shipped(task: Task) -> Iterator[System]:
    """Yield our weights as they are."""
    from sarcast.prediction import load_model

    model = load_model(task.model, device="cpu", precision=task.precision)
    yield from _with_our_baselines(task.model, model)


def adapted(task: Task) -> Iterator[System]:
    """Yield our weights adapted as by ``sarcast train --from`` to the dates before the tests."""
    from sarcast.prediction import load_model
    from sarcast.prediction.training.adapt import adapt, adaptation_options
    from sarcast.prediction.training.options import TrainOptions

    start = load_model(task.model, device="cpu")
    options = adaptation_options(TrainOptions(**task.training), start)
    cube = xr.load_dataset(task.path, engine="h5netcdf")
    early = cube.isel(time=np.flatnonzero(cube["time"].values < FIRST_TEST))
    training, validation = split_by_date(
        [early],
        size=task.crop,
        previous=task.baseline.previous,
        chooser=task.baseline.chooser,
        share=options.validation_share,
    )
    with tempfile.TemporaryDirectory() as folder:
        model = adapt(start, training, validation, options, to=Path(folder))
    yield from _with_our_baselines(f"{task.model} adapted", model)


def _with_our_baselines(name: str, model: Predictor) -> Iterator[System]:
    def predict(window: Window) -> TargetPrediction:
        return PlainPrediction(model.expect([window])[0])

    for baseline in OURS:
        yield System(name, baseline, predict, model.uses_target)


def transformers(task: Task) -> Iterator[System]:
    """Yield one published transformer."""
    from benchmarks.transformers import Transformer

    assert task.site is not None
    rival = Transformer(task.kind, task.site, stride=task.stride)
    for baseline in RIVALS[task.kind]:
        yield System(task.kind, baseline, rival.predict)


SYSTEMS: dict[str, Callable[[Task], Iterator[System]]] = {
    "adapted": adapted,
    **dict.fromkeys(RIVALS, transformers),
    "shipped": shipped,
    "strategies": strategies,
    "bounds": bounds,
}
"""Kinds of systems, those that take longest first."""
