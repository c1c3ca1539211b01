"""Difference images, change maps and evaluations of xarray objects: what notebooks call."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, cast

import numpy as np
import xarray as xr
from pydantic import Field

from sarcast.arrays import Bool, Float
from sarcast.cube import moment_of
from sarcast.detection import difference as di
from sarcast.detection.classifiers import Classifier, FromCallable, check_able
from sarcast.errors import SarcastError
from sarcast.evaluation.experiment import ExperimentOptions, run_experiment
from sarcast.evaluation.metrics import Role
from sarcast.evaluation.metrics.dataset import as_dataset
from sarcast.evaluation.simulation.changes import Change, Offset, simulate
from sarcast.evaluation.simulation.shapes import ShapeOptions
from sarcast.io.progress import track
from sarcast.prediction.strategies import STRATEGIES, Oracle, Strategy
from sarcast.sensor.units import DB, check_units
from sarcast.windows import Chooser, Predictor, PreviousOptions, Window, grid, target_dates

Kind = Literal["difference", "ratio", "log-ratio", "norm", "z", "loss", "gain"]
IMAGE = ("band", "y", "x")
_UNITLESS = "1"


class WindowOptions(PreviousOptions):
    """Which windows of a cube are evaluated."""

    start: str | None = Field(
        None,
        description="First target date, ISO 8601; default: the one after all dates that the model "
        "was trained and validated on.",
    )
    end: str | None = Field(None, description="Last target date, ISO 8601; default: the last.")
    window: int = Field(
        256, ge=16, description="Pixels a side of a window, for networks that take any."
    )


def difference(
    actual: xr.DataArray, expected: xr.Dataset | xr.DataArray, kind: Kind = "difference"
) -> xr.DataArray:
    """Difference image of an actual and an expected image; lazy where they are.

    Parameters
    ----------
    actual
        Dims band, y, x and any others, dB.
    expected
        Same dims, dB; or what ``predict`` gave, with ``expected`` and ``std``.
    kind
        ``"difference"`` is the actual less the expected image, dB; ``"ratio"`` and ``"log-ratio"``
        are those of linear power; ``"norm"`` is the length of the difference over the bands;
        ``"z"`` the difference over the standard deviation; ``"loss"`` and ``"gain"`` the scores of
        a change whose direction is known, of z where it is told and else of the difference.

    Returns
    -------
    DataArray
        Float32, without ``band`` for norm, loss and gain; NaN where an input is.

    Raises
    ------
    SarcastError
        If a unit is not dB, the kind is unknown, or z is asked of what tells no deviation.
    """
    if kind not in _KINDS:
        raise SarcastError(f"a difference image is of kind {', '.join(_KINDS)}, not {kind!r}")
    std = None
    if isinstance(expected, xr.Dataset):
        std = _told(expected) if kind in ("z", "loss", "gain") else None
        expected = expected["expected"]
    for image in (actual, expected):
        check_units(image, DB)
    if kind == "z" and std is None:
        raise SarcastError("z needs a standard deviation, but the expected image comes without")
    images = [actual, expected] if std is None else [actual, expected, std]
    found = _over_images(_KINDS[kind], images, bands=kind not in ("norm", "loss", "gain"))
    in_db = std is None and kind not in ("ratio", "log-ratio")
    return found.rename(kind).assign_attrs(units=DB if in_db else _UNITLESS)


def classify(
    image: xr.DataArray,
    classifier: Classifier | Callable[[Float], Bool],
    *,
    changed: xr.DataArray | None = None,
    learn: bool = False,
) -> xr.DataArray:
    """Change map of a difference image.

    Parameters
    ----------
    image
        Difference image, dims band, y, x and any others: each image of the others on its own.
    classifier
        As in ``sarcast.detection.classifiers`` and ``sarcast.detection.spatial``, or a function
        from an array (band, y, x) to a boolean one (y, x).
    changed
        What changed, dims y, x and the others; the classifier then learns from it and from
        ``image`` first.
    learn
        Learn from ``image`` first without knowing what changed, as automatic thresholds do.

    Returns
    -------
    DataArray
        Bool, without ``band``; False where a band is NaN.

    Raises
    ------
    SarcastError
        If the classifier has not learnt what it needs, or is neither one nor a function.
    """
    able = _able(classifier)
    if able.takes == "z" and image.attrs.get("units") == DB:
        warnings.warn(
            f"the classifier {able.name} takes differences in standard deviations, but these are "
            f"in dB, so that its rate does not hold; give it the difference image of kind z",
            stacklevel=2,
        )
    if changed is not None or learn:
        masks = None if changed is None else list(_each(changed.astype(bool), IMAGE[1:], image))
        able = able.fresh().fit(list(_each(image, IMAGE, image)), masks)
    found = _over_images(able.predict, (image,), bands=False, dtype=bool)
    return found.rename("changed").assign_attrs({})


def _able(classifier: Classifier | Callable[[Float], Bool]) -> Classifier:
    if callable(classifier) and not hasattr(classifier, "predict"):
        return FromCallable(getattr(classifier, "__name__", "function"), classifier)
    check_able(classifier)
    return cast(Classifier, classifier)


def simulate_change(
    image: xr.DataArray,
    change: Change | None = None,
    *,
    forest: xr.DataArray | None = None,
    open_land: xr.DataArray | None = None,
    shapes: ShapeOptions | None = None,
    rng: np.random.Generator,
) -> xr.Dataset:
    """Put a change of known place into an image.

    Parameters
    ----------
    image
        Dims (band, y, x), dB.
    change
        As in ``sarcast.evaluation.simulation.changes``; by default −2.5 dB in both bands.
    forest, open_land
        Dims (y, x): where change is put, and whose distribution statistical change takes.
    shapes
        How shapes are drawn.
    rng
        Source of chance.

    Returns
    -------
    Dataset
        ``backscatter``, the image with the change, and ``changed``, dims (y, x).
    """
    check_units(image, DB)
    image = image.transpose(*IMAGE)
    target = image.values.astype(np.float32)
    masks = [None if one is None else one.values.astype(bool) for one in (forest, open_land)]
    window = Window(
        previous=target[None, :0].repeat(0, axis=0),
        target=target,
        conditions=np.zeros((1, 0), dtype=np.float32),
        times=np.zeros(1, dtype="datetime64[ns]"),
        elevation=np.full(target.shape[1:], np.nan, dtype=np.float32),
        forest=masks[0],
        open_land=masks[1],
    )
    found = simulate(window, change or Offset(), shapes, rng=rng)
    mask = image.isel(band=0, drop=True).copy(data=found.changed).assign_attrs({})
    return xr.Dataset(
        {"backscatter": image.copy(data=found.window.target), "changed": mask.rename("changed")}
    )


def evaluate(
    cube: xr.Dataset,
    predictors: Sequence[Predictor] = (),
    *,
    changes: Sequence[Change] = (Offset(),),
    classifiers: Sequence[Classifier] = (),
    windows: WindowOptions | None = None,
    options: ExperimentOptions | None = None,
    rng: np.random.Generator,
) -> xr.Dataset:
    """Prove by simulated change how much predictors improve the difference image on a cube.

    The conventional strategies, and the oracle where the cube knows it, are evaluated beside them.

    Parameters
    ----------
    cube
        The cube.
    predictors
        Models, or anything else with ``expect``.
    changes, classifiers, options
        As in ``assess.assess``.
    windows
        Which ones of the cube; by default those of the dates after all that a model has seen.
    rng
        Source of chance of the simulated changes and of the intervals.

    Returns
    -------
    Dataset
        As ``evaluation.dataset.as_dataset`` tells.

    Raises
    ------
    SarcastError
        If predictors need windows that differ, or no date has enough previous images.
    """
    _, cut = windows_to_evaluate(cube, predictors, windows or WindowOptions())
    told = roles(predictors, oracle="expected" in cube)
    changed, resampled = rng.spawn(2)
    found = run_experiment(cut, told, changes, options, classifiers, rng=changed)
    return as_dataset(found.evaluation("", {}, rng=resampled))


def windows_to_evaluate(
    cube: xr.Dataset, predictors: Sequence[Predictor], options: WindowOptions
) -> tuple[list[int], Iterator[Window]]:
    """Windows side by side of each target date, that all of some predictors take.

    Parameters
    ----------
    cube
        The cube.
    predictors
        What they need goes before the options, and dates up to the last that they have seen are
        left out, unless the options ask for a start; then there is a warning.
    options
        Which windows.

    Returns
    -------
    tuple
        Places of the target dates on ``time``, and their windows.

    Raises
    ------
    SarcastError
        If predictors need windows that differ, or no date has enough previous images.
    """
    count = _one(predictors, "previous", options.previous)
    largest = max(cube.sizes["y"], cube.sizes["x"])
    size = _one(predictors, "size", min(options.window, largest))
    seen = max(_of_training(predictors, "seen_until"), default=None)
    trained = max((dates[-1] for dates in _of_training(predictors, "training_dates")), default=None)
    if options.start and trained and moment_of(options.start) <= moment_of(trained, last=True):
        warnings.warn(
            f"dates from {options.start} on are evaluated, but a network was trained on those up "
            f"to {trained}: its figures there are too good",
            stacklevel=3,
        )
    dates = dates_to_evaluate(cube, count, start=options.start, after=seen, end=options.end)
    return dates, _windows_of(cube, dates, size, count, options.chooser)


def dates_to_evaluate(
    cube: xr.Dataset,
    count: int,
    *,
    start: str | None = None,
    after: str | None = None,
    end: str | None = None,
) -> list[int]:
    """Places on ``time`` of the dates that can be targets, all bounds ISO 8601.

    Parameters
    ----------
    cube
        The cube.
    count
        Number of images that must precede a target.
    start, end
        First and last day.
    after
        Last day that is not taken, where no start is given.

    Raises
    ------
    SarcastError
        If there is no such date.
    """
    first = None if start is None else moment_of(start)
    if start is None and after is not None:
        first = moment_of(after, last=True)
    last = None if end is None else moment_of(end, last=True)
    targets = target_dates(cube, count, start=first, end=last)
    if len(targets) == 0:
        since = start or (f"after {after}" if after else "the first")
        raise SarcastError(
            f"no date of the cube from {since} to {end or 'the last'} has {count} previous images; "
            f"give another start or end, or a cube with later dates"
        )
    return [int(place) for place in targets]


def _windows_of(
    cube: xr.Dataset, dates: Sequence[int], size: int, count: int, chooser: Chooser
) -> Iterator[Window]:
    for target in track(dates, "evaluating", len(dates)):
        yield from grid(cube, target, size, count, chooser=chooser)


def roles(predictors: Sequence[Predictor], *, oracle: bool) -> dict[Role, list[Predictor]]:
    """Networks beside the conventional strategies and, where it is known, the oracle."""
    networks = [one for one in predictors if not isinstance(one, Strategy)]
    told: dict[Role, list[Predictor]] = {"network": networks} if networks else {}
    own = [one for one in predictors if isinstance(one, Strategy) and not isinstance(one, Oracle)]
    told["strategy"] = list({one.name: one for one in (*STRATEGIES.values(), *own)}.values())
    return {**told, "oracle": [Oracle()]} if oracle else told


def _norm(actual: Float, expected: Float) -> Float:
    return di.norm(di.subtract(actual, expected))


def _signed(direction: str) -> Callable[..., Float]:
    def score(actual: Float, expected: Float, *std: Float) -> Float:
        plain = di.z(actual, expected, *std) if std else di.subtract(actual, expected)
        return di.signed(plain, direction)

    return score


_KINDS: dict[str, Callable[..., Float]] = {
    "difference": di.subtract,
    "ratio": di.ratio,
    "log-ratio": di.log_ratio,
    "norm": _norm,
    "z": di.z,
    "loss": _signed("loss"),
    "gain": _signed("gain"),
}


def _told(expected: xr.Dataset) -> xr.DataArray | None:
    """The standard deviation, unless there is none: predictors that tell none give NaN."""
    std = expected.get("std")
    return None if std is None or bool(np.isnan(std).all()) else std


def _over_images(
    function: Callable[..., Any],
    images: Sequence[xr.DataArray],
    *,
    bands: bool,
    dtype: Any = np.float32,
) -> xr.DataArray:
    """Call a function of arrays (band, y, x) on each image of arrays with more dims."""
    found: xr.DataArray = xr.apply_ufunc(
        function,
        *images,
        input_core_dims=[IMAGE] * len(images),
        output_core_dims=[IMAGE if bands else IMAGE[1:]],
        vectorize=True,
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True},
        output_dtypes=[dtype],
        join="exact",
    )
    order = [dim for dim in images[0].dims if bands or dim != "band"]
    return found.transpose(*order)


def _each(array: xr.DataArray, core: Sequence[str], like: xr.DataArray) -> Iterator[Any]:
    """Arrays of the core dims, one by one over the other dims of ``like``."""
    others = [dim for dim in like.dims if dim not in IMAGE]
    stacked = array.transpose(*others, *core).values
    yield from stacked.reshape(-1, *stacked.shape[len(others) :])


def _one(predictors: Sequence[Predictor], name: str, default: int) -> int:
    """The one number of previous images, or size of windows, that all predictors take."""
    needed = {value for one in predictors if (value := getattr(one, name)) is not None}
    if len(needed) > 1:
        raise SarcastError(
            f"predictors that are compared must take the same windows, but their {name} is "
            f"{' and '.join(map(str, sorted(needed)))}; evaluate them apart"
        )
    return int(needed.pop()) if needed else default


def _of_training(predictors: Sequence[Predictor], name: str) -> list[Any]:
    """What the predictors tell of their training under a name, of those that tell it."""
    told = [getattr(one, "training", {}).get(name) for one in predictors]
    return [one for one in told if one]
