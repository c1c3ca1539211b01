"""Tables of an evaluation: on a terminal, and in Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from sarcast.evaluation import ClassifierResult, Evaluation, MethodResult, Role
from sarcast.report import Beside


def show_table(evaluation: Evaluation) -> None:
    """Print what every method reached, the best last, to standard output."""
    table = Table(title=evaluation.title, title_justify="left")
    for name in ("expected image", "change", "difference image"):
        table.add_column(name)
    for name in ("AUC", "MSE, dB²"):
        table.add_column(name, justify="right")
    for result in sorted(evaluation.results, key=lambda one: one.auc):
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
    for change in dict.fromkeys(one.change for one in evaluation.classifiers):
        found = [one for one in evaluation.classifiers if one.change == change]
        lines += ["", f"Balanced accuracy, {change}:", "", *_accuracy_lines(found)]
    for told in evaluation.calibration:
        shares = (f"{share:.3f} of {nominal}" for nominal, share in told.coverage.items())
        lines += [
            "",
            f"Share of values inside sigma's intervals, {told.method}: {', '.join(shares)}.",
        ]
    if any(result.role == "network" for result in evaluation.results):
        left = not_beaten(evaluation)
        what = "The networks beat every strategy in every score and classifier"
        lines += ["", f"{what} except in:" if left else f"{what}.", ""]
        lines += [f"- {line}" for line in left]
    return "\n".join(lines).rstrip() + "\n"


class _Reached(NamedTuple):
    """What a method reached, and in what it is compared."""

    change: str
    kind: str
    what: str
    method: str
    role: Role
    value: float


def not_beaten(evaluation: Evaluation) -> list[str]:
    """Where a network is not above every strategy under the same change, one line each.

    Its norm and its z are each compared with the norm of the strategies, and a classifier's
    balanced accuracy with that of the same classifier.
    """
    reached = list(_reached(evaluation))
    lines = []
    for one in reached:
        rivals = [r for r in reached if r.role == "strategy" and r[:2] == one[:2]]
        best = max(rivals, key=lambda rival: rival.value, default=one)
        if one.role == "network" and rivals and best.value >= one.value:
            lines.append(
                f"{one.change}, {one.what}: {one.method} {one.value:.3f}, "
                f"{best.method} {best.value:.3f}"
            )
    return lines


def _reached(evaluation: Evaluation) -> Iterator[_Reached]:
    for r in evaluation.results:
        yield _Reached(r.change, "AUC", f"AUC of {r.difference}", r.method, r.role, r.auc)
    for c in evaluation.classifiers:
        if c.balanced_accuracy is not None:
            own = c.classifier
            yield _Reached(c.change, own, own, c.method, c.role, c.balanced_accuracy)


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
