"""The result of an evaluation as an xarray dataset."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sarcast.evaluation.metrics.records import ClassifierResult, Evaluation, MethodResult

_SCORED = ("predictor", "change", "difference")
_CLASSIFIED = ("predictor", "change", "classifier")


def as_dataset(evaluation: Evaluation) -> xr.Dataset:
    """Convert an evaluation to measures by predictor, change, difference image and classifier.

    Returns
    -------
    Dataset
        ``auc`` with ``auc_low``, ``auc_high``, ``average_precision`` and ``windows``, dims
        (predictor, change, difference); ``mse`` in dB², ``closer`` (share of the pixels where the
        norm of the residual is less than that of the latest previous image) and ``role``, dims
        (predictor); ``accuracy`` (over as many unchanged pixels as changed ones), ``f1`` and
        ``kappa``, dims (predictor, change, classifier), which are absent if no classifier was
        evaluated.
        Combinations that were not evaluated are NaN.
    """
    rows = [_row(result) for result in evaluation.results]
    scored = ("auc", "auc_low", "auc_high", "average_precision", "windows")
    parts = [_table(rows, _SCORED, scored)]
    if evaluation.classifiers:
        classified = [_row(result) for result in evaluation.classifiers]
        names = {"balanced_accuracy": "accuracy"}
        parts.append(_table(classified, _CLASSIFIED, (*names, "f1", "kappa")).rename(names))
    methods = {result.method: result for result in evaluation.results}
    closer = {result.method: result.shares["norm"] for result in evaluation.closer}
    parts.append(
        xr.Dataset(
            {
                "mse": ("predictor", [_number(result.mse_db2) for result in methods.values()]),
                "closer": ("predictor", [_number(closer.get(name)) for name in methods]),
                "role": ("predictor", [result.role for result in methods.values()]),
            },
            coords={"predictor": list(methods)},
        )
    )
    return xr.merge(parts, join="outer", compat="override").reindex({"predictor": list(methods)})


def _row(result: MethodResult | ClassifierResult) -> dict[str, Any]:
    return {"predictor": result.method, **result.model_dump()}


def _table(
    rows: Sequence[Mapping[str, Any]], dims: Sequence[str], names: Sequence[str]
) -> xr.Dataset:
    coords = {dim: list(dict.fromkeys(row[dim] for row in rows)) for dim in dims}
    shape = tuple(len(values) for values in coords.values())
    table = {name: np.full(shape, np.nan) for name in names}
    for row in rows:
        index = tuple(coords[dim].index(row[dim]) for dim in dims)
        for name in names:
            table[name][index] = _number(row[name])
    return xr.Dataset({name: (dims, values) for name, values in table.items()}, coords=coords)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
