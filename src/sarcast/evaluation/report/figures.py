"""Figures of the report: ROC curves, AUC by condition, example windows and scenarios."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.errors import SarcastError
from sarcast.evaluation.metrics import Evaluation, MethodResult, Role
from sarcast.io.files import new_file
from sarcast.windows import BANDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS: dict[Role, tuple[str, ...]] = {
    "network": ("#c2410c", "#be185d", "#7c3aed"),
    "strategy": ("#2563eb", "#0d9488", "#65a30d", "#64748b", "#0ea5e9", "#a16207"),
    "oracle": ("#1f2937",),
}
"""Colours of the methods of each role, in their order."""

STRETCH = (2.0, 98.0)
"""Percentiles of the images that are shown as black and as white."""
BRIGHTEST = 99.5
"""Percentile of the difference images that is shown in the brightest colour."""

SVG_SETTINGS: Any = {"svg.hashsalt": "sarcast", "svg.fonttype": "path", "font.size": 10.0}
"""Settings that make SVG files reproducible, with text drawn as paths."""


@dataclass(frozen=True)
class Panel:
    """One example window of a report.

    Attributes
    ----------
    title
        Date, position and simulated change.
    actual
        Dims (band, y, x), dB: the actual image, with its simulated change.
    changed
        Dims (y, x): where change was simulated; None if unknown.
    conventional, improved
        Dims (band, y, x), dB: the expected images of a strategy and of a network.
    conventional_name, improved_name
        Names of the strategy and of the network.
    """

    title: str
    actual: Float
    changed: Bool | None
    conventional: Float
    improved: Float
    conventional_name: str = "conventional"
    improved_name: str = "improved"


@dataclass(frozen=True)
class Scenario:
    """The expected image of a window under some conditions.

    Attributes
    ----------
    name
        Name of the scenario, as ``"frost"``.
    conditions
        The conditions as text, with units.
    expected
        Dims (band, y, x), dB.
    bands
        Names of the bands.
    """

    name: str
    conditions: str
    expected: Float
    bands: tuple[str, ...] = BANDS


def scenarios_figure(scenarios: Sequence[Scenario]) -> "Figure":
    """Expected images of scenarios, and the change of each band from the first scenario, dB."""
    bands = scenarios[0].bands
    figure, axes = _grid(1 + len(bands), len(scenarios), width=2.7 * len(scenarios), height=8.6)
    low, high = stretch([scenario.expected for scenario in scenarios])
    gains = np.stack([scenario.expected - scenarios[0].expected for scenario in scenarios])
    largest = max(_percentile(np.abs(gains), BRIGHTEST), 0.1)
    for column, scenario in enumerate(scenarios):
        axes[0, column].imshow(composite(scenario.expected, low, high), interpolation="nearest")
        title = "\n".join([scenario.name, *scenario.conditions.split(", ")])
        axes[0, column].set_title(title, fontsize=11)
        for row in range(len(bands)):
            shown = axes[row + 1, column].imshow(
                gains[column, row], vmin=-largest, vmax=largest, cmap="RdBu_r"
            )
    for row, band in enumerate(bands, start=1):
        axes[row, 0].set_ylabel(f"change of {band}, dB", fontsize=11)
    figure.colorbar(
        shown, ax=axes[1:], label="change from the actual conditions, dB", fraction=0.02, pad=0.01
    )
    for plot in axes.ravel():
        plot.set(xticks=[], yticks=[])
    return figure


def save_panel_png(panel: Panel, path: Path, *, dpi: int = 150) -> None:
    """Write one example window as a PNG image."""
    with new_file(path) as partial:
        panel_figure(panel).savefig(partial, format="png", dpi=dpi)


def roc_figure(evaluation: Evaluation, change: str) -> "Figure":
    """ROC curves of all methods under one kind of change.

    Raises
    ------
    SarcastError
        If no method was evaluated under it.
    """
    results = [result for result in evaluation.results if result.change == change]
    if not results:
        raise SarcastError(
            f"there is no result for the change {change!r}; known are "
            f"{', '.join(evaluation.changes)}"
        )
    figure, (axes,) = _canvas(1, width=5.2, height=4.6)
    axes.plot([0, 1], [0, 1], color="#9ca3af", linewidth=0.8, linestyle=":")
    colours = _colours(evaluation)
    for result in sorted(results, key=lambda result: -result.auc):
        _plot_curve(axes, result, colours[result.method])
    axes.set(xlabel="False alarm rate", ylabel="Detection rate", xlim=(0, 1), ylim=(0, 1.005))
    axes.set_aspect("equal")
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def groups_figure(evaluation: Evaluation, change: str) -> "Figure | None":
    """AUC of each group, one point per method; None if there are no groups.

    Parameters
    ----------
    evaluation
        With results by group.
    change
        Name of the simulated change.
    """
    groups = [g for g in evaluation.groups if g.change == change and g.difference == "norm"]
    if not groups:
        return None
    rows = sorted({(group.factor, group.value) for group in groups}, reverse=True)
    figure, (axes,) = _canvas(1, width=7.5, height=0.9 + 0.28 * len(rows))
    for method, colour in _colours(evaluation).items():
        of_method = [group for group in groups if group.method == method]
        heights = [rows.index((group.factor, group.value)) for group in of_method]
        axes.scatter([group.auc for group in of_method], heights, color=colour, s=26, label=method)
    axes.set_yticks(range(len(rows)), [f"{factor}: {value}" for factor, value in rows])
    axes.set(xlabel="AUC", ylim=(-0.6, len(rows) - 0.4))
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def panel_figure(panel: Panel) -> "Figure":
    """Actual image and mask, both expected images, both difference images on one scale."""
    figure, axes = _canvas(6, width=17.5, height=3.5)
    names = (panel.conventional_name, panel.improved_name)
    images = (panel.actual, panel.conventional, panel.improved)
    low, high = stretch(images)
    titles = ("Actual", *(f"Expected: {name}" for name in names))
    for column, image, title in zip((0, 2, 3), images, titles, strict=True):
        axes[column].imshow(composite(image, low, high), interpolation="nearest")
        axes[column].set_title(title)
    _show_mask(axes[1], panel)
    norms = [_norm(panel.actual - expected) for expected in images[1:]]
    brightest = _percentile(np.stack(norms), BRIGHTEST)
    for column, values, name in zip((4, 5), norms, names, strict=True):
        shown = axes[column].imshow(
            values, vmin=0.0, vmax=brightest, cmap="magma", interpolation="nearest"
        )
        axes[column].set_title(f"Difference: {name}")
    figure.colorbar(shown, ax=axes[4:], label="norm, dB", fraction=0.025, pad=0.02)
    for plot in axes:
        plot.set(xticks=[], yticks=[])
    return figure


def composite(image: Float, low: Float, high: Float) -> Float:
    """Colour composite: VV red, VH green, VV − VH blue (dB); light grey where a band is NaN.

    Parameters
    ----------
    image
        Dims (band, y, x), dB, bands VV then VH; a single band is shown in grey.
    low, high
        Dims (colour,): dB shown as 0 and as 1.

    Returns
    -------
    ndarray
        Dims (y, x, colour), 0..1.
    """
    channels = _channels(image)
    scaled = (channels - low[:, None, None]) / (high - low)[:, None, None]
    valid = np.isfinite(channels).all(axis=0)
    colours: Float = np.where(valid, np.clip(scaled, 0.0, 1.0), 0.92).astype(np.float32)
    return np.moveaxis(colours, 0, -1)


def _channels(image: Float) -> Float:
    if image.shape[0] == 1:
        return np.repeat(image, 3, axis=0)
    return np.stack([image[0], image[1], image[0] - image[1]])


def stretch(images: Sequence[Float]) -> tuple[Float, Float]:
    """Range in dB of each colour, common to all images."""
    both = np.concatenate([_channels(image).reshape(3, -1) for image in images], axis=1)
    low = np.array([_percentile(channel, STRETCH[0]) for channel in both], dtype=np.float32)
    high = np.array([_percentile(channel, STRETCH[1]) for channel in both], dtype=np.float32)
    return low, np.maximum(high, low + np.float32(0.1))


def _percentile(values: Float, percent: float) -> float:
    """Percentile of the finite values; 1 if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if finite.size else 1.0


def _norm(difference: Float) -> Float:
    norm: Float = np.sqrt(np.square(difference).sum(axis=0))
    return norm


def _show_mask(axes: "Axes", panel: Panel) -> None:
    empty = np.zeros(panel.actual.shape[1:], dtype=bool)
    mask = empty if panel.changed is None else panel.changed
    axes.imshow(mask, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title("Change unknown" if panel.changed is None else "Simulated change")


def _plot_curve(axes: "Axes", result: MethodResult, colour: str) -> None:
    plain = result.difference == "norm"
    axes.plot(
        result.curve.false_alarm_rate,
        result.curve.detection_rate,
        color=colour,
        linewidth=2.2 if result.role == "network" else 1.4,
        linestyle="--" if result.role == "oracle" else "-" if plain else "-.",
        label=f"{label(result)}  {result.auc:.3f}",
    )


def label(result: MethodResult) -> str:
    """Name of a method and, unless it is the norm, of its difference image."""
    return result.method if result.difference == "norm" else f"{result.method}, {result.difference}"


def _colours(evaluation: Evaluation) -> dict[str, str]:
    """Colour of each method, the same in all figures."""
    colours: dict[str, str] = {}
    used: dict[Role, int] = {}
    for result in evaluation.results:
        if result.method not in colours:
            choice = COLOURS[result.role]
            colours[result.method] = choice[used.get(result.role, 0) % len(choice)]
            used[result.role] = used.get(result.role, 0) + 1
    return colours


def _canvas(count: int, *, width: float, height: float) -> tuple["Figure", Any]:
    figure, axes = _grid(1, count, width=width, height=height)
    return figure, axes[0]


def _grid(rows: int, columns: int, *, width: float, height: float) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def svg(figure: "Figure") -> str:
    """Figure as an SVG element, reproducible to the byte."""
    import matplotlib as mpl

    buffer = BytesIO()
    with mpl.rc_context(SVG_SETTINGS):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue().decode("utf-8")
    return text[text.index("<svg") :]


def png_address(figure: "Figure") -> str:
    """Figure as a PNG image in a data URI."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
