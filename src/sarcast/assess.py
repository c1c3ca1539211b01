"""Assessment: what expected images are worth, proved by simulated change on windows.

Every window is given the same simulated changes for all predictors, and only pixels that every
predictor could tell are counted, so that their figures compare.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sarcast import difference as di
from sarcast.evaluate import Evaluator, Role, count_errors, count_scores
from sarcast.report import Panel
from sarcast.simulate import Change, ShapeOptions, change_mask, where_change_may_be
from sarcast.strategies import counts_in_paper
from sarcast.windows import Bool, Expected, Predictor, Window


class AssessOptions(BaseModel):
    """How windows are assessed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shapes: ShapeOptions = Field(ShapeOptions(), description="how random shapes are drawn")
    paper_filter: bool = Field(
        False, description="count only windows that the paper's tables would count"
    )
    batch: int = Field(8, ge=1, le=1024, description="windows given to a predictor at once")
    panels: int = Field(4, ge=0, le=50, description="example windows kept for the report")


@dataclass(frozen=True)
class Assessed:
    """What an assessment found: the sums, and example windows."""

    evaluator: Evaluator
    panels: tuple[Panel, ...]


def assess(
    windows: Iterable[Window],
    predictors: Mapping[Role, Sequence[Predictor]],
    changes: Sequence[Change],
    options: AssessOptions | None = None,
    *,
    rng: np.random.Generator,
) -> Assessed:
    """Simulate changes in windows and count how well each predictor's difference image tells them.

    Parameters
    ----------
    windows
        Read one batch at a time; never all at once.
    predictors
        Networks, strategies and oracle, under their role.
    changes
        Kinds of simulated change; all are put into the same shapes.
    options
        What is counted.
    rng
        Source of chance of the shapes.

    Returns
    -------
    Assessed
        Its ``evaluator`` gives the evaluation.

    Raises
    ------
    SarcastError
        If there is no window, or none is valid for every predictor.
    """
    options = options or AssessOptions()
    roles = {one.name: role for role, several in predictors.items() for one in several}
    evaluator = Evaluator(roles)
    panels: list[Panel] = []
    kept = (w for w in windows if not options.paper_filter or counts_in_paper(w))
    for batch in _batches(kept, options.batch):
        found = [one.expect(batch) for several in predictors.values() for one in several]
        for window, *expected in zip(batch, *found, strict=True):
            by_name = dict(zip(roles, expected, strict=True))
            trial = _Trial(window, by_name, _seen(window, expected))
            changed = change_mask(where_change_may_be(window), options.shapes, rng=rng)
            _count(trial, changed, changes, evaluator)
            if len(panels) < options.panels and (changed & trial.seen).any():
                panels.extend(_panel(trial, changed, changes[0], roles))
    return Assessed(evaluator, tuple(panels))


@dataclass(frozen=True)
class _Trial:
    window: Window
    expected: Mapping[str, Expected]
    seen: Bool


def _count(trial: _Trial, changed: Bool, changes: Sequence[Change], evaluator: Evaluator) -> None:
    if not trial.seen.any():
        return
    for name, expected in trial.expected.items():
        evaluator.add_errors(name, count_errors(trial.window.target, expected.mean, trial.seen))
    for change in changes:
        actual = change.apply(trial.window, changed)
        for name, expected in trial.expected.items():
            for kind, image in score_images(actual, expected).items():
                evaluator.add_scores(
                    name, change.name, kind, count_scores(image, changed, trial.seen)
                )


def score_images(actual: di.Float, expected: Expected) -> dict[str, di.Float]:
    """Difference images that are scored, by name: the norm, and that of z where sigma is told.

    Parameters
    ----------
    actual
        Dims (band, y, x), dB.
    expected
        Mean and, where it is told, standard deviation.

    Returns
    -------
    dict
        Images of dims (y, x).
    """
    images = {"norm": di.norm(di.subtract(actual, expected.mean))}
    if expected.std is not None:
        images["z"] = di.norm(di.z(actual, expected.mean, expected.std))
    return images


def _seen(window: Window, expected: Sequence[Expected]) -> Bool:
    images = [window.target, *(one.mean for one in expected)]
    images += [one.std for one in expected if one.std is not None]
    return np.asarray(np.isfinite(np.stack(images)).all(axis=(0, 1)))


def _panel(
    trial: _Trial, changed: Bool, change: Change, roles: Mapping[str, Role]
) -> Iterator[Panel]:
    """Example of the window: the first network beside the first strategy, if there are both."""
    first = {role: name for name, role in reversed(roles.items())}
    if not {"network", "strategy"} <= first.keys():
        return
    actual = change.apply(trial.window, changed)
    improved, conventional = (trial.expected[first[r]].mean for r in ("network", "strategy"))
    date = np.datetime_as_string(trial.window.times[-1], unit="D")
    row, column = trial.window.place
    yield Panel(
        title=f"{date}, row {row}, column {column}: {change.name}",
        actual=actual,
        expected=improved,
        changed=changed,
        conventional=di.subtract(actual, conventional),
        improved=di.subtract(actual, improved),
        conventional_name=first["strategy"],
        improved_name=first["network"],
    )


def _batches(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    source = iter(windows)
    while batch := list(islice(source, size)):
        yield batch
