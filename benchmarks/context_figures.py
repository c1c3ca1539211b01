"""Pictures of ``benchmarks.context``: changes of all sizes, and a wet scene."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.context_changes import draws, expect_changed, smoothed_score
from benchmarks.rival_scores import change_name, with_offset
from benchmarks.rival_systems import Baseline
from benchmarks.rivals import window_of
from sarcast.arrays import Float, Times
from sarcast.detection.difference import level, subtract
from sarcast.evaluation.report.figures import composite
from sarcast.prediction.strategies import mean
from sarcast.windows import CubeReader, Predictor, Window

DECIBELS = -2.5
"""The change on the page of all sizes."""
MOST_Z = 6.0
"""Smoothed norm of z that is shown in the brightest colour."""
MOST_DB = 5.0
"""Residual that is shown in the strongest colour, dB."""
STRETCH = (2.0, 98.0)
"""Percentiles that are shown as black and as white."""


def changes_page(window: Window, systems: Mapping[str, Predictor], path: Path) -> None:
    """Draw a row for each kind of discs: the change, and what each system makes of it.

    Parameters
    ----------
    window
        A whole scene.
    systems
        By name: of each, the change of the expected image in VV, and the smoothed norm of z.
    path
        PNG file.
    """
    rng = np.random.default_rng(0)
    shape: tuple[int, int] = window.target.shape[1:]
    masks = {name: draw(shape, rng) for name, draw in draws(shape).items()}
    after = [with_offset(window, changed, DECIBELS) for changed in masks.values()]
    figure, axes = _grid(len(masks), 1 + 2 * len(systems), side=2.2)
    for row, (name, changed) in enumerate(masks.items()):
        _show(axes[row, 0], np.where(changed, DECIBELS, 0.0), -DECIBELS, f"change of {name}")
    for number, (system, predictor) in enumerate(systems.items()):
        before, images = expect_changed(predictor, window, after)
        for row, (changed_window, image) in enumerate(zip(after, images, strict=True)):
            left, right = axes[row, 1 + 2 * number : 3 + 2 * number]
            moved = subtract(image.mean, before.mean)[0]
            _show(left, moved, -DECIBELS, f"{system}: expected, VV")
            right.imshow(smoothed_score(changed_window, image), vmin=0.0, vmax=MOST_Z)
            right.set_title(f"{system}: norm of z", fontsize=7)
    colours = axes[0, 0].images[0], axes[0, -1].images[0]
    for image, label in zip(colours, ("dB", "norm of z, smoothed"), strict=True):
        figure.colorbar(image, ax=axes, shrink=0.15, label=label)
    figure.suptitle(f"{change_name(DECIBELS)} in discs of all sizes", fontsize=10)
    figure.savefig(path, dpi=110)


def wet_scene_page(
    reader: CubeReader, date: int, systems: Mapping[str, Predictor], given: Baseline, path: Path
) -> None:
    """Draw the latest previous image, the expected image of each system, and the actual image.

    Parameters
    ----------
    reader
        A series in the order of time.
    date
        Index of the target.
    systems
        By name.
    given
        Previous images.
    path
        PNG file.
    """
    window = window_of(reader, date, given)
    images = {f"latest previous image, {_day(window.times[-2])}": window.previous[-1]}
    for name, predictor in systems.items():
        images[f"expected {name}"] = predictor.expect([window])[0].mean
    images[f"actual image, {_day(window.times[-1])}"] = window.target
    figure, axes = _grid(2, len(images), side=3.0)
    low, high = _stretch(list(images.values()))
    for column, (name, image) in enumerate(images.items()):
        axes[0, column].imshow(composite(image, low, high), interpolation="nearest")
        axes[0, column].set_title(name, fontsize=9)
        residual = subtract(window.target, image)
        offsets = ", ".join(f"{value:+.1f} dB" for value in level(residual))
        _show(axes[1, column], residual[0], MOST_DB, f"actual minus this, VV; levels {offsets}")
    shown = axes[1, 0].images[0]
    figure.colorbar(shown, ax=axes, label="dB", location="bottom", shrink=0.4, aspect=40)
    figure.savefig(path, dpi=110)


def scene_levels(reader: CubeReader, first: np.datetime64, given: Baseline) -> dict[int, float]:
    """Level in dB, over both bands, of each date since ``first`` against the mean, by its index."""
    dates = [int(date) for date in np.flatnonzero(reader.times >= first)]
    windows = [window_of(reader, date, given) for date in dates]
    levels = [level(subtract(window.target, mean(window))).mean() for window in windows]
    return dict(zip(dates, map(float, levels), strict=True))


def _stretch(images: Sequence[Float]) -> tuple[Float, Float]:
    """Range in dB of the colours VV, VH and VV − VH, common to all images."""
    bands = np.stack(images)
    channels = np.stack([bands[:, 0], bands[:, 1], bands[:, 0] - bands[:, 1]])
    low, high = np.nanpercentile(channels, STRETCH, axis=(1, 2, 3)).astype(np.float32)
    return low, high


def _grid(rows: int, columns: int, *, side: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(side * columns + 1.0, side * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for plot in axes.ravel():
        plot.set(xticks=[], yticks=[])
    return figure, axes


def _show(axes: Any, image: Float, most: float, title: str) -> None:
    axes.imshow(image, vmin=-most, vmax=most, cmap="RdBu_r", interpolation="nearest")
    axes.set_title(title, fontsize=7)


def _day(time: Times) -> str:
    return str(time.astype("datetime64[D]"))
