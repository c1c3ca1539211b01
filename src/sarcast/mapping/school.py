"""From cubes to a model folder: split by date, scale, train, score, write."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from sarcast.errors import SarcastError
from sarcast.files import check_free, new_folder
from sarcast.mapping.checkpoint import State
from sarcast.mapping.model import Model, residual_scores, write_model
from sarcast.mapping.training import TrainOptions, fit, sampled
from sarcast.mapping.unet import UNet, UNetOptions, paper_scaling
from sarcast.windows import WindowSampler, target_dates

SCALING_WINDOWS = 64
"""Windows from which the scaling of images and conditions is found."""

Dates = list[npt.NDArray[np.intp]]


@dataclass(frozen=True)
class Split:
    """Targets for training and for validation: for each cube, places on ``time``."""

    training: Dates
    validation: Dates


def split_dates(
    cubes: Sequence[xr.Dataset],
    previous: int,
    *,
    share: float,
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
) -> Split:
    """Split the dates that may be targets: the last ones of each cube are for validation.

    Parameters
    ----------
    cubes
        The cubes.
    previous
        Number of images that must precede a target.
    share
        Share of the dates for validation, 0..1; at least one date.
    start, end
        First and last acquisition time that may be a target; None for no bound.

    Raises
    ------
    SarcastError
        If there are not at least two dates that may be targets.
    """
    dates = [target_dates(cube, previous, start=start, end=end) for cube in cubes]
    kept = [max(1, round(len(places) * share)) if len(places) > 1 else 0 for places in dates]
    if sum(kept) == 0:
        came = ", ".join(str(cube.sizes["time"]) for cube in cubes)
        bounds = "" if start is None and end is None else " and lie within the chosen dates"
        raise SarcastError(
            f"training data with no valid window: at least 2 targets that {previous} previous "
            f"images precede{bounds} are needed, but of {came} dates only "
            f"{sum(map(len, dates))} can be one; add dates, or train a network that needs fewer"
        )
    return Split(
        training=[places[: len(places) - n] for places, n in zip(dates, kept, strict=True)],
        validation=[places[len(places) - n :] for places, n in zip(dates, kept, strict=True)],
    )


def train(
    cubes: Sequence[xr.Dataset],
    network: UNetOptions,
    options: TrainOptions,
    *,
    to: Path,
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
    ignored: Sequence[str] = (),
    overwrite: bool = False,
) -> Model:
    """Train a network on cubes and write its model folder.

    Training that was stopped goes on from its last checkpoint, kept beside the model folder until
    that is written.

    Parameters
    ----------
    cubes
        The cubes.
    network
        Size and layers of the network.
    options
        How it is trained.
    to
        The model folder; TensorBoard logs are kept in its ``logs``.
    start, end
        First and last acquisition time that may be a target, of training or validation.
    ignored
        Names of conditions that the network is not told, for ablation.
    overwrite
        Replace a model folder that is there.

    Raises
    ------
    SarcastError
        If the cubes hold no valid window, or the folder may not be replaced.
    """
    check_free(to, overwrite=overwrite)
    split = split_dates(
        cubes, network.previous, share=options.validation_share, start=start, end=end
    )
    shape = {"size": network.size, "previous": network.previous}
    training = WindowSampler(cubes, split.training, **shape)
    validation = training.of_targets(split.validation).draw(
        options.validation_windows, rng=np.random.default_rng([options.seed, 1])
    )
    scaling = paper_scaling(
        training.draw(SCALING_WINDOWS, rng=np.random.default_rng([options.seed, 2]))
    )
    torch.manual_seed(options.seed)
    module = UNet(network, scaling, ignored=ignored)
    work = to.with_name(f"{to.name}.training")
    batches = sampled(training, batch=options.batch, seed=options.seed)
    state = fit(batches, validation, module, options, folder=work)
    model = Model(module.eval(), "U-Net", _described(cubes, split, options, state))
    model = Model(model.network, model.name, model.training, residual_scores(model, validation))
    with new_folder(to, overwrite=overwrite) as partial:
        write_model(model, partial)
        shutil.copytree(work / "logs", partial / "logs")
    shutil.rmtree(work)
    return model


def _described(
    cubes: Sequence[xr.Dataset], split: Split, options: TrainOptions, state: State
) -> dict[str, Any]:
    """Tell in plain values what a model was trained on and how."""
    data = [
        {
            "shape": [cube.sizes["y"], cube.sizes["x"]],
            "training_targets": _days(cube, training),
            "validation_targets": _days(cube, validation),
        }
        for cube, training, validation in zip(cubes, split.training, split.validation, strict=True)
    ]
    return {
        "data": data,
        "options": options.model_dump(mode="json"),
        "steps": state.step,
        "best_step": state.best_step,
        "history": state.history,
    }


def _days(cube: xr.Dataset, places: npt.NDArray[np.intp]) -> list[str]:
    days = cube["time"].values[places].astype("datetime64[D]")
    return [str(days[0]), str(days[-1])] if len(days) else []
