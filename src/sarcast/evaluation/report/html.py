"""The report: one self-contained HTML page from an evaluation and example images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcast.evaluation.metrics import (
    Evaluation,
    MethodResult,
    PairedClassifier,
    PairedResult,
    Role,
)
from sarcast.evaluation.report.figures import (
    Panel,
    Scenario,
    groups_figure,
    label,
    panel_figure,
    png_address,
    roc_figure,
    save_panel_png,
    scenarios_figure,
    svg,
)
from sarcast.evaluation.report.published import CLOSER_SHARE
from sarcast.io.files import new_file

__all__ = [
    "ComparisonTable",
    "Panel",
    "Scenario",
    "best_by_role",
    "headline",
    "save_panel_png",
    "write_report",
]


@dataclass(frozen=True)
class ComparisonTable:
    """A published table next to ours: rows of name, published figure, and our figure or None."""

    title: str
    rows: tuple[tuple[str, float, float | None], ...]


def write_report(
    evaluation: Evaluation,
    panels: Sequence[Panel],
    path: Path,
    *,
    scenarios: Sequence[Scenario] = (),
    comparisons: Sequence[ComparisonTable] = (),
) -> None:
    """Write the report as one self-contained HTML file.

    Parameters
    ----------
    evaluation
        The result that is reported.
    panels
        Example windows; may be empty.
    path
        The file, which is written atomically.
    scenarios
        Expected images of one window under set conditions, its actual ones first; may be empty.
    comparisons
        Tables of the paper next to ours; may be empty.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("sarcast.evaluation.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
    )
    page = templates.get_template("template.html.j2").render(
        title=evaluation.title,
        lead=headline(evaluation),
        table=_table(evaluation),
        curves=[(change, svg(roc_figure(evaluation, change))) for change in evaluation.changes],
        gains=[_gain(gain) for gain in evaluation.paired],
        groups=[
            (change, svg(figure))
            for change in evaluation.changes
            if (figure := groups_figure(evaluation, change))
        ],
        classifiers=_classifiers(evaluation),
        classifier_gains=[_classifier_gain(gain) for gain in evaluation.paired_classifiers],
        calibration=evaluation.calibration,
        closer=evaluation.closer,
        published_closer_share=CLOSER_SHARE,
        panels=[(panel.title, png_address(panel_figure(panel))) for panel in panels],
        scenarios=png_address(scenarios_figure(scenarios)) if scenarios else None,
        comparisons=comparisons,
        provenance=[(key, as_text(value)) for key, value in evaluation.provenance.items()],
    )
    with new_file(path) as partial:
        partial.write_text(page, encoding="utf-8")


def headline(evaluation: Evaluation) -> list[str]:
    """Summarise each kind of change in a sentence: best network, best strategy, oracle."""
    return [_sentence(change, best_by_role(evaluation, change)) for change in evaluation.changes]


def best_by_role(evaluation: Evaluation, change: str) -> dict[Role, MethodResult]:
    """Result of the highest AUC under a kind of change, by role."""
    ascending = sorted(evaluation.results, key=lambda result: result.auc)
    return {result.role: result for result in ascending if result.change == change}


def _sentence(change: str, best: dict[Role, MethodResult]) -> str:
    parts = []
    if "network" in best:
        parts.append(f"the improved difference image reaches an AUC of {best['network'].auc:.3f}")
    if "strategy" in best:
        strategy = best["strategy"]
        parts.append(f"the best conventional one ({strategy.method}) {strategy.auc:.3f}")
    if "oracle" in best:
        parts.append(f"the oracle {best['oracle'].auc:.3f}")
    return f"{change}: {', '.join(parts)}.{_ahead(best)}"


def _ahead(best: dict[Role, MethodResult]) -> str:
    """Say that a conventional strategy is ahead of the network, if it is."""
    if not {"network", "strategy"} <= set(best) or best["network"].auc >= best["strategy"].auc:
        return ""
    return f" Here the conventional {best['strategy'].method} is ahead of the network."


def _table(evaluation: Evaluation) -> dict[str, Any]:
    """Main table: a row per method and difference image, a column per kind of change."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for result in evaluation.results:
        row = rows.setdefault((result.method, result.difference), _row(result))
        row["results"][result.change] = result
    ordered = sorted(rows.values(), key=lambda row: -max(r.auc for r in row["results"].values()))
    best = {
        change: max((r.auc for r in evaluation.results if _is_candidate(r, change)), default=None)
        for change in evaluation.changes
    }
    return {"changes": evaluation.changes, "rows": ordered, "best": best}


def _gain(gain: PairedResult) -> str:
    name = gain.method if gain.difference == "norm" else f"{gain.method}, {gain.difference}"
    return f"{gain.change}: {name} against {gain.than} {_with_interval(gain)}"


def _classifier_gain(gain: PairedClassifier) -> str:
    pair = f"{gain.method} against {gain.than}"
    return f"{gain.change}, {gain.classifier}: {pair} {_with_interval(gain)}"


def _with_interval(gain: PairedResult | PairedClassifier) -> str:
    known = gain.low is not None and gain.high is not None
    bounds = f" (95 % interval {gain.low:+.3f} to {gain.high:+.3f})" if known else ""
    return f"{gain.gain:+.3f}{bounds}"


def _classifiers(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Tables of classifiers, one per kind of change: rows are methods, columns classifiers."""
    tables = []
    for change in dict.fromkeys(result.change for result in evaluation.classifiers):
        results = [result for result in evaluation.classifiers if result.change == change]
        names = list(dict.fromkeys(result.classifier for result in results))
        rows: dict[str, dict[str, Any]] = {}
        for result in results:
            row = rows.setdefault(result.method, {"role": result.role, "cells": {}})
            row["cells"][result.classifier] = result
        tables.append({"change": change, "names": names, "rows": rows})
    return tables


def _is_candidate(result: MethodResult, change: str) -> bool:
    """Whether a result may be the best one under a change: the oracle is not a method."""
    return result.change == change and result.role != "oracle"


def _row(result: MethodResult) -> dict[str, Any]:
    return {
        "label": label(result),
        "role": result.role,
        "mse": result.mse_db2,
        "windows": result.windows,
        "pixels": result.pixels,
        "results": {},
    }


def as_text(value: Any) -> str:
    """Text of a value of the provenance."""
    return value if isinstance(value, str) else json.dumps(value, indent=1, default=str)
