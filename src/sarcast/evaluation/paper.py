"""The paper's tables: the published figures next to those of an evaluation.

References
----------
Alatalo, Sipola, Rantonen 2023, doi 10.1109/TGRS.2023.3324994, Tables II to V.
"""

from collections.abc import Callable, Mapping, Sequence

from sarcast.evaluation.cases import PREDICTION
from sarcast.evaluation.metrics import Evaluation
from sarcast.evaluation.report.html import ComparisonTable

Measure = Callable[[Evaluation, str | None, str], float | None]
"""Looks up a measure of a method under a change, both by name; None if it was not evaluated."""

SHIFT = "offset -2.5 dB"
STATISTICAL = "statistical"
METHODS = {"closest-geometry": 0.79, "latest-same-pass": 0.75, "latest": 0.71}
"""AUC of the conventional difference image under the shift, Methods 1, 2 and 3."""
CONVENTIONAL = "closest-geometry"
"""The strategy that the paper compares with."""
AUC = {SHIFT: (0.87, 0.79), STATISTICAL: (0.73, 0.67)}
"""AUC of the proposed and of the conventional difference image."""
WITHOUT_WEATHER = 0.83
"""AUC of the proposed difference image under the shift, without weather."""
SVC_ACCURACY = {SHIFT: (0.89, 0.81), STATISTICAL: (0.75, 0.70)}
"""Accuracy of the linear SVC on the proposed and on the conventional difference image."""
ABLATION = {
    "heading": 0.87,
    "precipitation": 0.87,
    "incidence": 0.88,
    "temperature": 0.88,
    "platform": 0.89,
    "snow_depth": 0.89,
}
"""Accuracy of the linear SVC under the shift, without each condition in turn."""


def paper_tables(evaluation: Evaluation) -> list[ComparisonTable]:
    """Tables II, III and IV, and the row without weather.

    Parameters
    ----------
    evaluation
        With the paper's changes, strategies and filter; results that it lacks are None.
    """
    methods = tuple((name, known, _auc(evaluation, name, SHIFT)) for name, known in METHODS.items())
    auc = (*_rows(evaluation, AUC, _auc), _weather_row(evaluation))
    svc = tuple(_rows(evaluation, SVC_ACCURACY, _accuracy))
    return [
        ComparisonTable("Table II: AUC of conventional strategies, threshold, -2.5 dB", methods),
        ComparisonTable("Table III: AUC, threshold", auc),
        ComparisonTable("Table IV: accuracy, linear SVC", svc),
    ]


def ablation_table(evaluation: Evaluation, without: Mapping[str, str]) -> ComparisonTable:
    """Table V: accuracy of the linear SVC without each condition in turn.

    Parameters
    ----------
    evaluation
        Of the networks that were trained without a condition.
    without
        Name of the network by the condition that it was trained without.
    """
    whole = _accuracy(evaluation, network_of(evaluation), SHIFT)
    rows = [("all conditions", SVC_ACCURACY[SHIFT][0], whole)]
    rows += [
        (f"without {name}", known, _accuracy(evaluation, without.get(name), SHIFT))
        for name, known in ABLATION.items()
    ]
    return ComparisonTable("Table V: accuracy, linear SVC, -2.5 dB", tuple(rows))


def network_of(evaluation: Evaluation) -> str | None:
    """Name of the first network that takes all conditions; None if there is none.

    A network that was run takes precedence over predictions that came with samples.
    """
    names = [result.method for result in evaluation.results if result.role == "network"]
    complete = [name for name in names if "without" not in name.split()]
    run_here = [name for name in complete if name != PREDICTION]
    return next(iter([*run_here, *complete]), None)


def _weather_row(evaluation: Evaluation) -> tuple[str, float, float | None]:
    network = network_of(evaluation)
    return (
        f"proposed without weather, {SHIFT}",
        WITHOUT_WEATHER,
        _auc(evaluation, f"{network} without weather", SHIFT),
    )


def _rows(
    evaluation: Evaluation, published: Mapping[str, tuple[float, float]], measure: Measure
) -> Sequence[tuple[str, float, float | None]]:
    """Rows of the proposed and of the conventional difference image under each change."""
    methods = (("proposed", network_of(evaluation)), ("conventional", CONVENTIONAL))
    return [
        (f"{label}, {change}", figure, measure(evaluation, name, change))
        for change, figures in published.items()
        for (label, name), figure in zip(methods, figures, strict=True)
    ]


def _auc(evaluation: Evaluation, method: str | None, change: str) -> float | None:
    """AUC of the norm."""
    wanted = (method, change, "norm")
    found = [r.auc for r in evaluation.results if (r.method, r.change, r.difference) == wanted]
    return found[0] if found else None


def _accuracy(evaluation: Evaluation, method: str | None, change: str) -> float | None:
    """Balanced accuracy of the linear SVC."""
    wanted = (method, change, "linear SVC")
    found = [
        c.balanced_accuracy
        for c in evaluation.classifiers
        if (c.method, c.change, c.classifier) == wanted
    ]
    return found[0] if found else None
