"""The report of an evaluation of detection: one HTML page that begins with a map."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.arrays import Float
from sarcast.evaluation.metrics.comparison import PairedFalse, PairedRecall
from sarcast.evaluation.metrics.detections import DetectionEvaluation, DetectorResult
from sarcast.evaluation.metrics.events import DetectorRole, Operating
from sarcast.evaluation.report.figures import composite, png_address, stretch, svg
from sarcast.evaluation.report.html import as_text
from sarcast.io.files import new_file
from sarcast.prediction.strategies import STRATEGIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from shapely.geometry.base import BaseGeometry

OUTLINES = {"found": "#16a34a", "missed": "#f97316", "false": "#d946ef", "not counted": "#38bdf8"}
"""Colours of the outlines on a map, by what they are."""
COLOURS: dict[DetectorRole, tuple[str, ...]] = {
    "network": ("#c2410c", "#be185d", "#7c3aed"),
    "strategy": ("#2563eb", "#0d9488", "#65a30d"),
    "rule": ("#64748b", "#a16207", "#1f2937"),
}
NAMES: dict[str, str] = {"area": "area", "magnitude": "magnitude", "kind": "kind of change"}
_MAP_INCHES = 7.0
_LEAST_RATE = 0.5
"""False events of a level that has none are drawn here, since the axis is logarithmic."""


@dataclass(frozen=True)
class ChangeMap:
    """What a detector found in an area.

    Attributes
    ----------
    title
        Detector, and acquisitions watched.
    image
        Dims (band, y, x), dB: the background.
    extent
        Left, right, bottom and top edge of the image, in units of the CRS.
    outlines
        Outlines by what they are, as in ``OUTLINES``.
    """

    title: str
    image: Float
    extent: tuple[float, float, float, float]
    outlines: dict[str, Sequence["BaseGeometry"]]


def write_detection_report(
    evaluation: DetectionEvaluation, maps: Sequence[ChangeMap], path: Path, link: str = ""
) -> None:
    """Write the report as one self-contained HTML file.

    Parameters
    ----------
    evaluation
        The result that is reported.
    maps
        What was found, missed and false; they are the first thing on the page.
    path
        The file, which is written atomically.
    link
        Address of a page with the map, as ``sarcast view --export`` writes it, relative to the
        file; empty: none.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("sarcast.evaluation.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
    )
    page = templates.get_template("detection.html.j2").render(
        title=evaluation.title,
        maps=[(each.title, png_address(map_figure(each))) for each in maps],
        link=link,
        lead=detection_headline(evaluation),
        watches=evaluation.watches,
        km2=evaluation.km2_acquisitions,
        truths=len(evaluation.scores[0].truths),
        asked=evaluation.false_events,
        rows=[_row(result) for result in evaluation.results],
        paired=[_gain(gain) for gain in evaluation.paired],
        fewer=[_fewer(gain) for gain in evaluation.paired_false],
        classes=[
            (name, table)
            for factor, name in NAMES.items()
            if (table := _class_table(evaluation, factor))["columns"]
        ],
        curve=svg(recall_figure(evaluation)),
        provenance=[(key, as_text(value)) for key, value in evaluation.provenance.items()],
    )
    with new_file(path) as partial:
        partial.write_text(page, encoding="utf-8")


def detection_headline(evaluation: DetectionEvaluation) -> list[str]:
    """Summarise what the first detector found, and whether a conventional strategy is ahead."""
    sentences = [_summary(evaluation, evaluation.results[0])]
    ahead = conventional_ahead(evaluation)
    return [*sentences, ahead] if ahead else sentences


def conventional_ahead(evaluation: DetectionEvaluation) -> str | None:
    """Say in a sentence which conventional strategy finds more than the network; None if none does.

    At equally many false events; the one that is ahead by most is named.
    """
    strategies = {each.detector for each in evaluation.results if each.role == "strategy"}
    behind = [gain for gain in evaluation.paired if gain.than in strategies and gain.gain < 0.0]
    if not behind:
        return None
    worst = min(behind, key=lambda gain: gain.gain)
    sure = worst.high is not None and worst.high < 0.0
    chance = "" if sure else ", which may be chance"
    usable = worst.than in STRATEGIES
    hint = f"; 'sarcast detect --model {worst.than}' uses it" if usable else ""
    return (
        f"On this area the conventional strategy {worst.than} is ahead of {worst.detector}: it "
        f"finds {-worst.gain:.2f} more of the changes at equally many false events"
        f"{_bounds(worst, flip=True)}{chance}{hint}."
    )


def map_figure(shown: ChangeMap) -> "Figure":
    """Draw a map: outlines of found, missed and false over the actual image."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    left, right, bottom, top = shown.extent
    height = _MAP_INCHES * min(max((top - bottom) / (right - left), 0.4), 2.0)
    figure = Figure(figsize=(_MAP_INCHES + 2.2, height + 0.4), layout="constrained")
    axes = figure.subplots()
    grey = _mean_of_bands(shown.image)
    low, high = stretch([grey])
    axes.imshow(composite(grey, low, high), extent=shown.extent, interpolation="nearest")
    for name, colour in OUTLINES.items():
        for outline in shown.outlines.get(name, ()):
            _draw(axes, outline, colour, dotted=name == "not counted")
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            label=f"{name} ({len(shown.outlines.get(name, ()))})",
            linestyle=":" if name == "not counted" else "-",
        )
        for name, colour in OUTLINES.items()
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.set(title=shown.title, xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    return figure


def recall_figure(evaluation: DetectionEvaluation) -> "Figure":
    """Draw the recall of each detector against its false events."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.subplots()
    used: dict[DetectorRole, int] = {}
    for result in evaluation.results:
        choice = COLOURS[result.role]
        colour = choice[used.get(result.role, 0) % len(choice)]
        used[result.role] = used.get(result.role, 0) + 1
        known = [each for each in result.curve if each.recall is not None]
        rates = [max(each.false_events or 0.0, _LEAST_RATE) for each in known]
        recalls = [each.recall or 0.0 for each in known]
        width = 2.2 if result.role == "network" else 1.3
        axes.plot(rates, recalls, color=colour, linewidth=width, label=result.detector)
        if result.own is not None and result.own.recall is not None:
            rate = max(result.own.false_events or 0.0, _LEAST_RATE)
            axes.plot([rate], [result.own.recall], "o", color=colour, markersize=6)
    axes.axvline(evaluation.false_events, color="#9ca3af", linestyle="--", linewidth=0.9)
    axes.set_xscale("log")
    axes.set(xlabel="False events per 1 000 km² and acquisition", ylabel="Recall", ylim=(0, 1.02))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _mean_of_bands(image: Float) -> Float:
    """Mean over the bands with data, dims (1, y, x), dB."""
    known = np.isfinite(image)
    total = np.where(known, image, np.float32(0.0)).sum(axis=0, keepdims=True)
    count = known.sum(axis=0, keepdims=True)
    mean = np.full(total.shape, np.nan, dtype=np.float32)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _draw(axes: "Axes", outline: "BaseGeometry", colour: str, *, dotted: bool) -> None:
    for part in getattr(outline, "geoms", [outline]):
        for ring in (part.exterior, *part.interiors):
            x, y = np.asarray(ring.coords).T[:2]
            axes.plot(x, y, color=colour, linewidth=1.6, linestyle=":" if dotted else "-")


def _summary(evaluation: DetectionEvaluation, result: DetectorResult) -> str:
    shown = result.own or result.equal
    if shown is None or shown.recall is None:
        return f"{result.detector}: there is no change to be found, or none at this rate."
    precision = "no event" if shown.precision is None else f"precision {shown.precision:.2f}"
    return (
        f"{result.detector} finds {shown.found} of {shown.truths} changes ({shown.recall:.0%}), "
        f"{precision}; {shown.false_events or 0.0:.1f} false events per 1 000 km² and acquisition "
        f"came where {evaluation.false_events:g} were asked for."
    )


def _row(result: DetectorResult) -> dict[str, Any]:
    cells = [
        *_measures(result.own),
        "–" if result.own is None else _number(result.own.false_events, digits=1),
        _number(result.overlap),
        _number(result.dated),
        *_measures(result.equal),
        _number(result.auc, digits=3),
    ]
    return {"name": result.detector, "role": result.role, "cells": cells}


def _measures(level: Operating | None) -> list[str]:
    """Recall and precision as text."""
    values = (None, None) if level is None else (level.recall, level.precision)
    return [_number(value) for value in values]


def _class_table(evaluation: DetectionEvaluation, factor: str) -> dict[str, Any]:
    """Rows of detectors, columns of classes: recall at equally many false events."""
    known = [c for c in evaluation.results[0].classes if c.factor == factor]
    values = [c.value for c in known]
    rows = []
    for result in evaluation.results:
        cells = {c.value: c for c in result.classes if c.factor == factor}
        texts = [f"{cells[v].recall:.2f} ({cells[v].found} of {cells[v].truths})" for v in values]
        rows.append({"name": result.detector, "role": result.role, "cells": texts})
    return {"columns": values, "rows": rows}


def _gain(gain: PairedRecall) -> str:
    return f"{gain.detector} against {gain.than}: {gain.gain:+.2f}{_bounds(gain)}"


def _fewer(gain: PairedFalse) -> str:
    return (
        f"{gain.than} against {gain.detector}, both at a recall of {gain.recall:.2f}: "
        f"{gain.gain:+.1f}{_bounds(gain, digits=1)}"
    )


def _bounds(gain: PairedRecall | PairedFalse, *, flip: bool = False, digits: int = 2) -> str:
    if gain.low is None or gain.high is None:
        return ""
    low, high = (-gain.high, -gain.low) if flip else (gain.low, gain.high)
    return f" (95 % interval {low:+.{digits}f} to {high:+.{digits}f})"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
