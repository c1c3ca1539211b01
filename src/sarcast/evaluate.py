"""Evaluation as algebra: statistics per pixel that add up, and the measures computed from the sum.

A state of one window plus the state of another is the state of both, so that a loop, a process
pool or one call over everything give the same figures. The rooms that make expected images and
change maps are not known here: arrays come in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sarcast.errors import SarcastError
from sarcast.files import new_file

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Column = npt.NDArray[np.float64]

BIN_BITS = 20
"""Leading bits of a float32 score that make its bin: sign, exponent and 11 of the mantissa."""
PAGE_BITS = 11
"""Bins of one sign and exponent make a page; only pages that were met take memory."""
_PAGE = 1 << PAGE_BITS
_SIGN = np.uint32(1 << 31)

CURVE_POINTS = 400
"""Points that are kept of a ROC curve for the report."""


@dataclass(frozen=True)
class Scores:
    """Counts of unchanged and changed pixels over fine bins of their score.

    The bins are the leading bits of the score as float32, in the order of the numbers, so that no
    range needs to be known. Scores of one bin differ by less than 0.05 % and count as equal.

    Attributes
    ----------
    pages
        Page number -> counts, dims (unchanged or changed, bin of the page).
    """

    pages: Mapping[int, Counts] = field(default_factory=dict)

    def __add__(self, other: "Scores") -> "Scores":
        summed = dict(self.pages)
        for page, counts in other.pages.items():
            summed[page] = summed[page] + counts if page in summed else counts
        return Scores(summed)

    @property
    def unchanged(self) -> int:
        """Number of unchanged pixels."""
        return sum(int(counts[0].sum()) for counts in self.pages.values())

    @property
    def changed(self) -> int:
        """Number of changed pixels."""
        return sum(int(counts[1].sum()) for counts in self.pages.values())


def count_scores(scores: Float, changed: Bool, seen: Bool | None = None) -> Scores:
    """Count the scores of changed and of unchanged pixels.

    Parameters
    ----------
    scores
        Any dims: higher is more likely changed.
    changed
        The same dims.
    seen
        The same dims: which pixels count; by default those whose score is not NaN.

    Returns
    -------
    Scores
        A state to add to others.

    Raises
    ------
    SarcastError
        If the shapes differ, or a pixel that counts has no score.
    """
    _check_shapes(scores, changed, seen)
    seen = ~np.isnan(scores) if seen is None else seen
    values = scores[seen].astype(np.float32, copy=False)
    if values.size == 0:
        return Scores()
    if np.isnan(values).any():
        raise SarcastError(
            f"{int(np.isnan(values).sum())} pixels that are to count have no score; "
            f"take them out of the mask of what was seen"
        )
    return _paged(_bins(values), changed[seen])


def add_up(states: Sequence[Scores]) -> Scores:
    """Sum of states; that of none is empty."""
    return reduce(Scores.__add__, states, Scores())


@dataclass(frozen=True)
class Roc:
    """Receiver operating characteristic: one point a threshold, from none to all called changed.

    Attributes
    ----------
    threshold
        Lowest score that is called changed at the point, falling; the first is infinite.
    false_alarm_rate, detection_rate
        Share of the unchanged and of the changed pixels called changed, rising 0..1.
    """

    threshold: Column
    false_alarm_rate: Column
    detection_rate: Column

    @property
    def auc(self) -> float:
        """Area under the curve, 0..1; pixels of one bin count half, as ties do."""
        steps = np.diff(self.false_alarm_rate)
        return float(steps @ (self.detection_rate[1:] + self.detection_rate[:-1]) / 2.0)

    def reduced(self, points: int = CURVE_POINTS) -> "Roc":
        """Curve with about so many points, evenly spread along it."""
        along = self.false_alarm_rate + self.detection_rate
        kept = np.unique(np.searchsorted(along, np.linspace(0.0, 2.0, points)))
        kept = np.unique(np.concatenate([[0], kept[kept < along.size], [along.size - 1]]))
        return Roc(self.threshold[kept], self.false_alarm_rate[kept], self.detection_rate[kept])


def roc(scores: Scores) -> Roc:
    """ROC curve of a state.

    Parameters
    ----------
    scores
        With at least one changed and one unchanged pixel.

    Raises
    ------
    SarcastError
        If all pixels are of one class.
    """
    threshold, counts = _falling(scores)
    total = counts.sum(axis=1)
    if (total == 0).any():
        raise SarcastError(
            f"a ROC curve needs changed and unchanged pixels, but there are {total[1]} changed "
            f"and {total[0]} unchanged ones; simulate change in more windows"
        )
    rates = np.cumsum(counts, axis=1) / total[:, np.newaxis]
    rates = np.concatenate([np.zeros((2, 1)), rates], axis=1)
    return Roc(np.concatenate([[np.inf], threshold]), rates[0], rates[1])


def auc_exact(scores: Float, changed: Bool) -> float:
    """Area under the ROC curve by sorting all scores: memory grows with the number of pixels.

    Parameters
    ----------
    scores, changed
        Any dims; NaN scores do not count.

    Returns
    -------
    float
        0..1.

    Raises
    ------
    SarcastError
        If all pixels are of one class.
    """
    seen = ~np.isnan(scores)
    values, truth = scores[seen], changed[seen]
    positive = int(truth.sum())
    negative = truth.size - positive
    if not positive or not negative:
        raise SarcastError(
            f"an AUC needs changed and unchanged pixels, but there are {positive} changed "
            f"and {negative} unchanged ones; simulate change in more windows"
        )
    distinct, place = np.unique(values, return_inverse=True)
    counts = np.bincount(place[truth], minlength=distinct.size)
    everywhere = np.bincount(place, minlength=distinct.size)
    below = np.cumsum(everywhere - counts) - (everywhere - counts) / 2.0
    return float((counts * below).sum() / positive / negative)


@dataclass(frozen=True)
class Errors:
    """Squared errors of expected images, as sums that add up, one value a band.

    Attributes
    ----------
    squares
        Sum of squared errors, dB², dims (band,).
    pixels
        Number of pixels summed.
    """

    squares: Column
    pixels: int

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(self.squares + other.squares, self.pixels + other.pixels)

    @property
    def mse(self) -> float:
        """Mean squared error over bands and pixels, dB²; NaN of no pixel."""
        return float(self.squares.mean() / self.pixels) if self.pixels else float("nan")


def count_errors(actual: Float, expected: Float, seen: Bool | None = None) -> Errors:
    """Sum the squared errors of an expected image.

    Parameters
    ----------
    actual, expected
        Dims (band, y, x), dB.
    seen
        Dims (y, x): which pixels count; by default those where no band of the two is NaN.
    """
    difference = np.subtract(actual, expected, dtype=np.float64)
    seen = np.asarray(np.isfinite(difference).all(axis=0)) if seen is None else seen
    inside = difference[:, seen]
    return Errors(np.square(inside).sum(axis=1), int(inside.shape[1]))


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Role = Literal["strategy", "network", "oracle"]
"""What a method is: a conventional strategy, a network, or the limit that a world knows."""


class Curve(_Record):
    """Points of a ROC curve."""

    false_alarm_rate: tuple[float, ...]
    detection_rate: tuple[float, ...]


class MethodResult(_Record):
    """What one expected image reached under one kind of change, with one difference image."""

    method: str = Field(description="name of the predictor")
    role: Role = Field(description="what the predictor is")
    change: str = Field(description="name of the simulated change")
    difference: str = Field(description="difference image that was scored, as 'norm' or 'z'")
    auc: float = Field(ge=0, le=1, description="area under the ROC curve over all pixels")
    auc_windows: tuple[float | None, ...] = Field(
        default=(), description="the same for each window; null where nothing changed"
    )
    mse_db2: float | None = Field(description="mean squared error of the expected image, dB²")
    windows: int = Field(ge=0, description="windows evaluated")
    pixels: int = Field(ge=0, description="pixels counted")
    changed_pixels: int = Field(ge=0, description="pixels counted in which change was simulated")
    curve: Curve


class Evaluation(_Record):
    """Result of an evaluation, as it is kept in ``evaluation.json``."""

    schema_version: Literal[1] = 1
    title: str
    results: tuple[MethodResult, ...]
    provenance: dict[str, Any] = Field(
        default_factory=dict, description="command, versions and data that it comes from"
    )

    @property
    def changes(self) -> tuple[str, ...]:
        """Names of the kinds of change, in the order in which they were evaluated."""
        return tuple(dict.fromkeys(result.change for result in self.results))

    def write(self, path: Path) -> None:
        """Write as JSON; the file is whole or absent."""
        with new_file(path) as partial:
            partial.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote.

        Raises
        ------
        SarcastError
            If the file is absent, or is not an evaluation of this version.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SarcastError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise SarcastError(
                f"{path} is no evaluation of schema version 1 ({where}: {first['msg']}); "
                f"write it again with 'sarcast evaluate'"
            ) from error


class Evaluator:
    """Adds up what the methods reach, window by window, in bounded memory.

    Parameters
    ----------
    roles
        What each method is, by its name.
    """

    def __init__(self, roles: Mapping[str, Role]) -> None:
        self._roles = dict(roles)
        self._scores: dict[tuple[str, str, str], Scores] = {}
        self._areas: dict[tuple[str, str, str], list[float | None]] = {}
        self._errors: dict[str, Errors] = {}

    def add_errors(self, method: str, errors: Errors) -> None:
        """Add the squared errors of a method's expected image, before change was simulated."""
        before = self._errors.get(method)
        self._errors[method] = errors if before is None else before + errors

    def add_scores(self, method: str, change: str, difference: str, scores: Scores) -> None:
        """Add the scores of one window's pixels.

        Parameters
        ----------
        method, change, difference
            Names of the predictor, of the simulated change and of the difference image.
        scores
            Of one window; for a fair comparison count the same pixels for every method.
        """
        key = (method, change, difference)
        self._scores[key] = self._scores.get(key, Scores()) + scores
        both = scores.changed > 0 and scores.unchanged > 0
        self._areas.setdefault(key, []).append(roc(scores).auc if both else None)

    def result(self, title: str, provenance: dict[str, Any]) -> Evaluation:
        """Compute the measures from what was added.

        Raises
        ------
        SarcastError
            If nothing was added, or all pixels are of one class.
        """
        if not self._scores:
            raise SarcastError("nothing was evaluated; no window was valid for every method")
        results = tuple(self._method(*key) for key in self._scores)
        return Evaluation(title=title, results=results, provenance=provenance)

    def _method(self, method: str, change: str, difference: str) -> MethodResult:
        key = (method, change, difference)
        scores, areas = self._scores[key], self._areas[key]
        curve = roc(scores)
        errors = self._errors.get(method)
        return MethodResult(
            method=method,
            role=self._roles[method],
            change=change,
            difference=difference,
            auc=curve.auc,
            auc_windows=tuple(areas),
            mse_db2=errors.mse if errors and errors.pixels else None,
            windows=len(areas),
            pixels=scores.changed + scores.unchanged,
            changed_pixels=scores.changed,
            curve=_kept(curve.reduced()),
        )


def _kept(curve: Roc) -> Curve:
    return Curve(
        false_alarm_rate=tuple(np.round(curve.false_alarm_rate, 6).tolist()),
        detection_rate=tuple(np.round(curve.detection_rate, 6).tolist()),
    )


def _check_shapes(scores: Float, changed: Bool, seen: Bool | None) -> None:
    for what, mask in (("changed", changed), ("seen", seen)):
        if mask is not None and mask.shape != scores.shape:
            raise SarcastError(
                f"the mask of what was {what} must have the scores' shape {scores.shape}, "
                f"but has {mask.shape}"
            )


def _bins(values: Float) -> npt.NDArray[np.uint32]:
    """Leading bits of each score, in the order of the numbers; −0 and 0 are one."""
    bits = (values + np.float32(0.0)).view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return ordered >> np.uint32(32 - BIN_BITS)


def _bin_starts(page: int) -> Column:
    """Lowest score of each bin of a page."""
    ordered = (np.uint32(page << PAGE_BITS) + np.arange(_PAGE, dtype=np.uint32)) << np.uint32(
        32 - BIN_BITS
    )
    negative = ordered < _SIGN
    bits = np.where(negative, ~ordered, ordered & ~_SIGN).astype(np.uint32)
    return bits.view(np.float32).astype(np.float64)


def _paged(bins: npt.NDArray[np.uint32], changed: Bool) -> Scores:
    page = bins >> np.uint32(PAGE_BITS)
    met = np.bincount(page, minlength=1 << (BIN_BITS - PAGE_BITS)) > 0
    pages = np.flatnonzero(met)
    place = np.cumsum(met) - 1
    flat = place[page] * _PAGE + (bins & np.uint32(_PAGE - 1))
    flat += changed * (pages.size * _PAGE)
    counts = np.bincount(flat, minlength=2 * pages.size * _PAGE)
    counts = counts.reshape(2, pages.size, _PAGE)
    return Scores({int(number): counts[:, row] for row, number in enumerate(pages)})


def _falling(scores: Scores) -> tuple[Column, Counts]:
    """Lowest score and counts of each bin that is not empty, from the highest score down."""
    pages = sorted(scores.pages, reverse=True)
    if not pages:
        return np.zeros(0), np.zeros((2, 0), dtype=np.int64)
    starts = np.concatenate([_bin_starts(page)[::-1] for page in pages])
    counts = np.concatenate([scores.pages[page][:, ::-1] for page in pages], axis=1)
    met = counts.any(axis=0)
    return starts[met], counts[:, met]
