"""Tables of an evaluation, on a terminal and in Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from sarcast.evaluation.metrics import (
    ClassifierResult,
    CloserResult,
    Evaluation,
    MethodResult,
    PairedClassifier,
    PairedResult,
)
from sarcast.evaluation.metrics.detections import DetectionEvaluation, DetectorResult
from sarcast.evaluation.report.html import ComparisonTable
from sarcast.evaluation.report.published import CLOSER_SHARE

CLOSER = (
    "Share of the pixels without change where the expected image is closer to the actual one than "
    "the latest previous image is, and share of the windows whose mean squared error is less; ties "
    f"count half (published for a comparable network: {CLOSER_SHARE:.2f}):"
)
"""Caption of the table of shares."""
DETECTION_COLUMNS = (
    "recall", "precision", "false events", "recall at equal", "overlap", "dated ± 1", "AUC",
)  # fmt: skip
"""At a detector's own level; recall where equally many events are false; and of pixels."""


def show_table(evaluation: Evaluation) -> None:
    """Print the AUC of every method by change, the best last, to standard output."""
    table = Table(title=evaluation.title, title_justify="left")
    for name in ("expected image", "change", "difference image"):
        table.add_column(name)
    for name in ("AUC", "MSE, dB²"):
        table.add_column(name, justify="right")
    changes = list(dict.fromkeys(result.change for result in evaluation.results))
    for result in sorted(evaluation.results, key=lambda r: (changes.index(r.change), r.auc)):
        error = "" if result.mse_db2 is None else f"{result.mse_db2:.2f}"
        name = f"{result.method} (network)" if result.role == "network" else result.method
        table.add_row(name, result.change, result.difference, f"{result.auc:.3f}", error)
    Console().print(table)


def show_comparison(table: ComparisonTable) -> None:
    """Print a table of the paper next to ours, to standard output."""
    shown = Table(title=table.title, title_justify="left")
    shown.add_column("")
    for name in ("paper", "here"):
        shown.add_column(name, justify="right")
    for name, published, reached in table.rows:
        shown.add_row(name, f"{published:.2f}", "" if reached is None else f"{reached:.3f}")
    Console().print(shown)


def show_detection(evaluation: DetectionEvaluation) -> None:
    """Print what each detector found to standard output."""
    table = Table(title=evaluation.title, title_justify="left")
    table.add_column("expected\nimage or\nrule", no_wrap=True)
    for name in DETECTION_COLUMNS:
        table.add_column(name, justify="right", no_wrap=" " not in name)
    for result in evaluation.results:
        name = f"{result.detector}\n(network)" if result.role == "network" else result.detector
        table.add_row(name, *_detection_cells(result))
    Console().print(table)


def detection_markdown(evaluation: DetectionEvaluation) -> str:
    """Tables of what each detector found, and of the network's lead, in Markdown."""
    lines = [*_head(["expected image or rule", *DETECTION_COLUMNS])]
    lines += [_line([r.detector, *_detection_cells(r)]) for r in evaluation.results]
    gains = [
        f"- recall of {gain.detector} minus that of {gain.than}, at equally many false events: "
        f"{_signed(gain.gain, gain.low, gain.high, digits=2)}"
        for gain in evaluation.paired
    ]
    gains += [
        f"- false events of {gain.than} minus those of {gain.detector}, both at a recall of "
        f"{gain.recall:.2f}: {_signed(gain.gain, gain.low, gain.high, digits=1)}"
        for gain in evaluation.paired_false
    ]
    return "\n".join([*lines, "", *gains]).rstrip() + "\n"


def _detection_cells(result: DetectorResult) -> list[str]:
    own, equal = result.own, result.equal
    values = [
        None if own is None else own.recall,
        None if own is None else own.precision,
        None if own is None else own.false_events,
        None if equal is None else equal.recall,
        result.overlap,
        result.dated,
        result.auc,
    ]
    return ["–" if value is None else f"{value:.2f}" for value in values]


def markdown(evaluation: Evaluation) -> str:
    """Tables of AUCs with intervals, of shares closer, and of every classifier's accuracy."""
    lines = ["AUC over all pixels, with its 95 % interval over windows:", ""]
    lines += _auc_lines(evaluation)
    if evaluation.closer:
        lines += ["", CLOSER, "", *_closer_lines(evaluation.closer)]
    for change in dict.fromkeys(c.change for c in evaluation.classifiers):
        results = [c for c in evaluation.classifiers if c.change == change]
        lines += ["", f"Balanced accuracy, {change}:", "", *_accuracy_lines(results)]
    for result in evaluation.calibration:
        shares = ", ".join(
            f"{share:.3f} of {nominal}" for nominal, share in result.coverage.items()
        )
        lines += ["", f"Share of values inside sigma's intervals, {result.method}: {shares}."]
    if any(result.role == "network" for result in evaluation.results):
        unbeaten = unbeaten_strategies(evaluation)
        claim = "The networks beat every strategy in every score and classifier"
        exceptions = f"{claim}, except in (gain and its 95 % interval over windows):"
        lines += ["", exceptions if unbeaten else f"{claim}.", ""]
        lines += [f"- {line}" for line in unbeaten]
    return "\n".join(lines).rstrip() + "\n"


def unbeaten_strategies(evaluation: Evaluation) -> list[str]:
    """List the strategies that a network does not beat under the same change, one line each.

    The AUC of a network's norm and of its z are each compared with that of the strategies' norm,
    balanced accuracies with that of the same classifier. A gain whose interval contains 0 may be
    due to chance.
    """
    networks = {result.method for result in evaluation.results if result.role == "network"}
    named: list[tuple[str, PairedResult | PairedClassifier]]
    named = [(f"AUC of {gain.difference}", gain) for gain in evaluation.paired]
    named += [(gain.classifier, gain) for gain in evaluation.paired_classifiers]
    return [
        f"{gain.change}, {what}: {gain.method} against {gain.than} {_gain(gain)}"
        for what, gain in named
        if gain.method in networks and gain.gain <= 0.0
    ]


def _gain(gain: PairedResult | PairedClassifier) -> str:
    return _signed(gain.gain, gain.low, gain.high)


def _signed(value: float, low: float | None, high: float | None, digits: int = 3) -> str:
    """A difference and, where it is known, its interval."""
    if low is None or high is None:
        return f"{value:+.{digits}f}"
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _auc_lines(evaluation: Evaluation) -> Iterator[str]:
    yield from _head(["expected image", *evaluation.changes, "MSE, dB²"])
    rows: dict[tuple[str, str], dict[str, MethodResult]] = {}
    for result in evaluation.results:
        rows.setdefault((result.method, result.difference), {})[result.change] = result
    for (method, difference), cells in rows.items():
        name = method if difference == "norm" else f"{method}, {difference}"
        error = next(iter(cells.values())).mse_db2
        yield _line(
            [
                name,
                *(_auc(cells.get(change)) for change in evaluation.changes),
                "" if error is None else f"{error:.2f}",
            ]
        )


def _closer_lines(results: Sequence[CloserResult]) -> Iterator[str]:
    names = list(results[0].shares)
    yield from _head(["expected image", *names, "windows"])
    for result in results:
        shares = [*(result.shares[name] for name in names), result.windows]
        yield _line([result.method, *(f"{share:.3f}" for share in shares)])


def _accuracy_lines(results: Sequence[ClassifierResult]) -> Iterator[str]:
    names = list(dict.fromkeys(result.classifier for result in results))
    yield from _head(["expected image", *names])
    for method in dict.fromkeys(result.method for result in results):
        accuracy = {r.classifier: r.balanced_accuracy for r in results if r.method == method}
        values = (accuracy.get(name) for name in names)
        yield _line([method, *("" if value is None else f"{value:.3f}" for value in values)])


def _auc(result: MethodResult | None) -> str:
    if result is None:
        return ""
    bounds = f" ({result.auc_low:.3f}–{result.auc_high:.3f})" if result.auc_low is not None else ""
    return f"{result.auc:.3f}{bounds}"


def _head(names: Sequence[str]) -> Iterator[str]:
    yield _line(names)
    yield "|" + "---|" * len(names)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
