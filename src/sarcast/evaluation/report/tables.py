"""Tables of an evaluation: on a terminal, and in Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from sarcast.evaluation.metrics import (
    ClassifierResult,
    Evaluation,
    MethodResult,
    PairedClassifier,
    PairedResult,
)
from sarcast.evaluation.report.html import Beside


def show_table(evaluation: Evaluation) -> None:
    """Print what every method reached, change by change, the best last, to standard output."""
    table = Table(title=evaluation.title, title_justify="left")
    for name in ("expected image", "change", "difference image"):
        table.add_column(name)
    for name in ("AUC", "MSE, dB²"):
        table.add_column(name, justify="right")
    changes = list(dict.fromkeys(result.change for result in evaluation.results))
    for result in sorted(evaluation.results, key=lambda one: (changes.index(one.change), one.auc)):
        error = "" if result.mse_db2 is None else f"{result.mse_db2:.2f}"
        name = f"{result.method} (network)" if result.role == "network" else result.method
        table.add_row(name, result.change, result.difference, f"{result.auc:.3f}", error)
    Console().print(table)


def show_paper(table: Beside) -> None:
    """Print a table of the paper beside ours, to standard output."""
    shown = Table(title=table.title, title_justify="left")
    shown.add_column("")
    for name in ("paper", "here"):
        shown.add_column(name, justify="right")
    for name, known, ours in table.rows:
        shown.add_row(name, f"{known:.2f}", "" if ours is None else f"{ours:.3f}")
    Console().print(shown)


def markdown(evaluation: Evaluation) -> str:
    """Tables of AUCs with their intervals, and of the balanced accuracy of every classifier."""
    lines = ["AUC over all pixels, with its 95 % interval over windows:", ""]
    lines += _auc_lines(evaluation)
    for change in dict.fromkeys(c.change for c in evaluation.classifiers):
        found = [c for c in evaluation.classifiers if c.change == change]
        lines += ["", f"Balanced accuracy, {change}:", "", *_accuracy_lines(found)]
    for one in evaluation.calibration:
        shares = ", ".join(f"{share:.3f} of {nominal}" for nominal, share in one.coverage.items())
        lines += ["", f"Share of values inside sigma's intervals, {one.method}: {shares}."]
    if any(result.role == "network" for result in evaluation.results):
        left = not_beaten(evaluation)
        what = "The networks beat every strategy in every score and classifier"
        but = f"{what} except in (gain and its 95 % interval over windows):"
        lines += ["", but if left else f"{what}.", ""]
        lines += [f"- {line}" for line in left]
    return "\n".join(lines).rstrip() + "\n"


def not_beaten(evaluation: Evaluation) -> list[str]:
    """Where a network is not above every strategy under the same change, one line each.

    Its norm and its z are each compared with the norm of the strategies, and a classifier's
    balanced accuracy with that of the same classifier. A gain whose interval holds 0 may be chance.
    """
    networks = {result.method for result in evaluation.results if result.role == "network"}
    named: list[tuple[str, PairedResult | PairedClassifier]]
    named = [(f"AUC of {one.difference}", one) for one in evaluation.paired]
    named += [(one.classifier, one) for one in evaluation.paired_classifiers]
    return [
        f"{one.change}, {what}: {one.method} against {one.than} {_gain(one)}"
        for what, one in named
        if one.method in networks and one.gain <= 0.0
    ]


def _gain(one: PairedResult | PairedClassifier) -> str:
    known = one.low is not None and one.high is not None
    return f"{one.gain:+.3f}" + (f" ({one.low:+.3f} to {one.high:+.3f})" if known else "")


def _auc_lines(evaluation: Evaluation) -> Iterator[str]:
    yield from _head(["expected image", *evaluation.changes, "MSE, dB²"])
    rows: dict[tuple[str, str], dict[str, MethodResult]] = {}
    for one in evaluation.results:
        rows.setdefault((one.method, one.difference), {})[one.change] = one
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


def _accuracy_lines(found: Sequence[ClassifierResult]) -> Iterator[str]:
    names = list(dict.fromkeys(one.classifier for one in found))
    yield from _head(["expected image", *names])
    for method in dict.fromkeys(one.method for one in found):
        reached = {one.classifier: one.balanced_accuracy for one in found if one.method == method}
        values = (reached.get(name) for name in names)
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
