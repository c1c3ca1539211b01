"""Difference images, change maps, simulated changes and evaluations of xarray objects."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, cast

import numpy as np
import xarray as xr

from sarcast.arrays import Bool, Float
from sarcast.detection import difference as di
from sarcast.detection.classifiers import Classifier, FunctionClassifier, check_classifier
from sarcast.errors import SarcastError
from sarcast.evaluation.experiment import ExperimentOptions, run_experiment
from sarcast.evaluation.metrics.dataset import as_dataset
from sarcast.evaluation.simulation.changes import Change, Offset, simulate
from sarcast.evaluation.simulation.image import LandImage
from sarcast.evaluation.simulation.shapes import ShapeOptions
from sarcast.evaluation.targets import WindowOptions, predictors_by_role, windows_to_evaluate
from sarcast.sensor.units import DB, check_units
from sarcast.windows import Predictor

__all__ = ["Kind", "WindowOptions", "classify", "difference", "evaluate", "simulate_change"]

Kind = Literal["difference", "ratio", "log-ratio", "norm", "z", "loss", "gain"]
IMAGE = ("band", "y", "x")
_UNITLESS = "1"


def difference(
    actual: xr.DataArray, expected: xr.Dataset | xr.DataArray, kind: Kind = "difference"
) -> xr.DataArray:
    """Compute the difference image of an actual and an expected image; lazy if they are lazy.

    Parameters
    ----------
    actual
        Dims band, y, x and any others, dB.
    expected
        Same dims, dB; or the result of ``predict``, with ``expected`` and ``std``. It may lack a
        band of ``actual``, which then is not compared.
    kind
        With d = actual - expected in dB and the standard deviation s:

        ``"difference"``
            d, dB.
        ``"ratio"``, ``"log-ratio"``
            10^(d / 10) and its natural logarithm: of linear power.
        ``"norm"``
            sqrt(sum over bands of d²), dB.
        ``"z"``
            d / s.
        ``"loss"``, ``"gain"``
            Score of a change of known direction: ∓ sum over bands of z / sqrt(bands), or of d where
            there is no standard deviation.

    Returns
    -------
    DataArray
        Float32, without ``band`` for norm, loss and gain; NaN where an input is NaN.

    Raises
    ------
    SarcastError
        If a unit is not dB, the kind is unknown, or z is requested without a standard deviation.

    Examples
    --------
    >>> actual = xr.DataArray([[[-13.0]], [[-20.0]]], dims=IMAGE, attrs={"units": "dB"})
    >>> expected = xr.DataArray([[[-10.0]], [[-16.0]]], dims=IMAGE, attrs={"units": "dB"})
    >>> difference(actual, expected, "norm").values
    array([[5.]], dtype=float32)
    """
    if kind not in _KINDS:
        raise SarcastError(f"a difference image is of kind {', '.join(_KINDS)}, not {kind!r}")
    std = None
    if isinstance(expected, xr.Dataset):
        std = _predicted_std(expected) if kind in ("z", "loss", "gain") else None
        expected = expected["expected"]
    for image in (actual, expected):
        check_units(image, DB)
    if "band" in actual.indexes and "band" in expected.indexes:
        compared = [band for band in actual["band"].values if band in expected["band"].values]
        actual = actual.sel(band=compared) if len(compared) == expected.sizes["band"] else actual
    if kind == "z" and std is None:
        raise SarcastError(
            "z needs a standard deviation, but the expected image has none; take another kind, or "
            "a network that predicts one"
        )
    images = [actual, expected] if std is None else [actual, expected, std]
    result = _map_images(_KINDS[kind], images, keep_band=kind not in ("norm", "loss", "gain"))
    in_db = std is None and kind not in ("ratio", "log-ratio")
    return result.rename(kind).assign_attrs(units=DB if in_db else _UNITLESS)


def classify(
    image: xr.DataArray,
    classifier: Classifier | Callable[[Float], Bool],
    *,
    changed: xr.DataArray | None = None,
    learn: bool = False,
) -> xr.DataArray:
    """Compute the change map of a difference image.

    Parameters
    ----------
    image
        Difference image, dims band, y, x and any others; each image along the other dims is
        classified separately.
    classifier
        One of ``sarcast.detection.classifiers``, or a function from an array (band, y, x) to a
        boolean array (y, x).
    changed
        What changed, dims y, x and the others; if given, a copy of the classifier is first fitted
        to it and to ``image``.
    learn
        First fit a copy of the classifier to ``image`` without masks, as automatic thresholds do.

    Returns
    -------
    DataArray
        Bool, without ``band``; False where a band is NaN.

    Raises
    ------
    SarcastError
        If the classifier is not fitted but has to be, or is neither a classifier nor a function.

    Warns
    -----
    UserWarning
        If the classifier takes z but the image is in dB.

    Examples
    --------
    >>> from sarcast.detection.classifiers import Otsu
    >>> image = xr.DataArray([[[-5.0, 0.1]], [[-4.0, 0.2]]], dims=IMAGE, attrs={"units": "dB"})
    >>> classify(image, Otsu(), learn=True).values
    array([[ True, False]])
    >>> classify(image, lambda d: d.sum(axis=0) < -6.0).values
    array([[ True, False]])
    """
    model = _as_classifier(classifier)
    if model.takes == "z" and image.attrs.get("units") == DB:
        warnings.warn(
            f"the classifier {model.name} takes differences in standard deviations, but these are "
            f"in dB, so that its rate does not hold; give it the difference image of kind z",
            stacklevel=2,
        )
    if changed is not None or learn:
        masks = None if changed is None else list(_arrays(changed.astype(bool), IMAGE[1:], image))
        model = model.fresh().fit(list(_arrays(image, IMAGE, image)), masks)
    result = _map_images(model.predict, (image,), keep_band=False, dtype=bool)
    return result.rename("changed").assign_attrs({})


def simulate_change(
    image: xr.DataArray,
    change: Change | None = None,
    *,
    forest: xr.DataArray | None = None,
    open_land: xr.DataArray | None = None,
    shapes: ShapeOptions | None = None,
    rng: np.random.Generator,
) -> xr.Dataset:
    """Simulate a change in random shapes of an image.

    Parameters
    ----------
    image
        Dims (band, y, x), dB.
    change
        One of ``sarcast.evaluation.simulation.changes``; by default -2.5 dB in both bands.
    forest, open_land
        Dims (y, x): where change is simulated, and whose distribution statistical change takes.
    shapes
        How the shapes are drawn.
    rng
        Generator of the shapes and of the change.

    Returns
    -------
    Dataset
        ``backscatter``, the image with the change, and ``changed``, dims (y, x).

    Raises
    ------
    SarcastError
        If the unit is not dB, or the change does not fit the image.

    Examples
    --------
    A clear-cut of −3 dB in both bands, whatever its shape:

    >>> from sarcast.evaluation.simulation.changes import Offset
    >>> image = sarcast.open_cube("area.zarr")["backscatter"].isel(time=-1).compute()
    >>> rng = np.random.default_rng(1)
    >>> after = sarcast.simulate_change(image, Offset((-3.0, -3.0)), rng=rng)
    >>> change = (after["backscatter"] - image).where(after["changed"]).mean()
    >>> round(float(change), 3)
    -3.0
    """
    check_units(image, DB)
    image = image.transpose(*IMAGE)
    masks = (None if mask is None else mask.values.astype(bool) for mask in (forest, open_land))
    before = LandImage(image.values.astype(np.float32), *masks)
    after = simulate(before, change or Offset(), shapes, rng=rng)
    changed = image.isel(band=0, drop=True).copy(data=after.changed).assign_attrs({})
    return xr.Dataset(
        {"backscatter": image.copy(data=after.backscatter), "changed": changed.rename("changed")}
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
    """Measure with simulated changes how much predictors improve the difference image of a cube.

    The conventional strategies, and the oracle of a synthetic cube, are evaluated as well.

    Parameters
    ----------
    cube
        The cube.
    predictors
        Models, or other objects with the methods of ``windows.Predictor``.
    changes, classifiers, options
        As in ``evaluation.experiment.run_experiment``.
    windows
        Which windows of the cube; by default those of the dates after the training and validation
        of all predictors.
    rng
        Generator of the simulated changes and of the confidence intervals.

    Returns
    -------
    Dataset
        Measures by predictor, change, difference image and classifier, as
        ``evaluation.metrics.dataset.as_dataset`` describes.

    Raises
    ------
    SarcastError
        If the predictors need different windows, one does not know the bands of the cube, or no
        date has enough previous images.

    Examples
    --------
    >>> cube, model = sarcast.open_cube("area.zarr"), sarcast.load_model("base")
    >>> windows = WindowOptions(start="2024-12-20")
    >>> rng = np.random.default_rng(0)
    >>> scores = sarcast.evaluate(cube, [model], windows=windows, rng=rng)
    >>> auc = scores["auc"].sel(difference="norm").isel(change=0).to_series()
    >>> "closest-geometry" in auc
    True
    """
    _, cut = windows_to_evaluate(cube, predictors, windows or WindowOptions())
    by_role = predictors_by_role(predictors, oracle="expected" in cube)
    simulated, resampled = rng.spawn(2)
    result = run_experiment(cut, by_role, changes, options, classifiers, rng=simulated)
    return as_dataset(result.evaluation("", {}, rng=resampled))


def _norm(actual: Float, expected: Float) -> Float:
    return di.norm(di.subtract(actual, expected))


def _signed(direction: str) -> Callable[..., Float]:
    def score(actual: Float, expected: Float, *std: Float) -> Float:
        residual = di.z(actual, expected, *std) if std else di.subtract(actual, expected)
        return di.signed(residual, direction)

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


def _predicted_std(expected: xr.Dataset) -> xr.DataArray | None:
    """Return the standard deviation; None if it is absent or, as without prediction, all NaN."""
    std = expected.get("std")
    return None if std is None or bool(np.isnan(std).all()) else std


def _as_classifier(classifier: Classifier | Callable[[Float], Bool]) -> Classifier:
    if callable(classifier) and not hasattr(classifier, "predict"):
        return FunctionClassifier(getattr(classifier, "__name__", "function"), classifier)
    check_classifier(classifier)
    return cast(Classifier, classifier)


def _map_images(
    function: Callable[..., Any],
    images: Sequence[xr.DataArray],
    *,
    keep_band: bool,
    dtype: Any = np.float32,
) -> xr.DataArray:
    """Call a function of arrays (band, y, x) on each image along the other dims."""
    result: xr.DataArray = xr.apply_ufunc(
        function,
        *images,
        input_core_dims=[IMAGE] * len(images),
        output_core_dims=[IMAGE if keep_band else IMAGE[1:]],
        vectorize=True,
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True},
        output_dtypes=[dtype],
        join="exact",
    )
    order = [dim for dim in images[0].dims if keep_band or dim != "band"]
    return result.transpose(*order)


def _arrays(array: xr.DataArray, core: Sequence[str], like: xr.DataArray) -> Iterator[Any]:
    """Yield the arrays of the core dims, one for each position along the other dims of ``like``."""
    others = [dim for dim in like.dims if dim not in IMAGE]
    stacked = array.transpose(*others, *core).values
    yield from stacked.reshape(-1, *stacked.shape[len(others) :])
