"""``sarcast train``: a network trained on cubes, split by date."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from pydantic import Field

from sarcast.config import FLAT, Config, write_record
from sarcast.cube import moment_of, open_cube
from sarcast.errors import SarcastError
from sarcast.files import check_free, full_disk_named
from sarcast.mapping.model import Model, write_model
from sarcast.mapping.scores import residual_scores
from sarcast.mapping.training import TrainOptions, fit, sampled
from sarcast.mapping.unet import UNet, UNetOptions, paper_scaling
from sarcast.progress import say
from sarcast.tfrecord import SampleStore, is_store
from sarcast.windows import WindowSampler, target_dates
from sarcast.windows.without import BlindSampler, Sampler

SCALING_WINDOWS = 64
"""Windows from which the scaling of images and conditions is found."""
FILES = ("model.safetensors", "model.yaml")
"""What a finished model folder holds; the last one is written last."""


class TrainConfig(Config):
    """Options of ``sarcast train``."""

    to: Path = Field(description="Model folder; training that was stopped there goes on.")
    network: Literal["unet"] = Field("unet", description="The network: unet, the paper's.")
    start: str | None = Field(None, description="First target date, ISO 8601; default: the first.")
    end: str | None = Field(
        None, description="Last target date, for training and validation; default: the last."
    )
    without: tuple[str, ...] = Field(
        (), description="Conditions that the network is not told, as in 'sarcast ablate'."
    )
    unet: Annotated[UNetOptions, FLAT] = Field(default_factory=UNetOptions)
    training: Annotated[TrainOptions, FLAT] = Field(default_factory=TrainOptions)
    overwrite: bool = Field(False, description="Replace the folder, and begin anew.")


def train(cubes: tuple[Path, ...], *, config: Annotated[TrainConfig, FLAT]) -> None:
    """Train the mapping transformation function on cubes.

    Parameters
    ----------
    cubes
        Cubes, as ``sarcast cube`` builds them, or one folder of imported samples.
    """
    _make_ready(config)
    samplers = _opened(cubes, config)
    say(f"training on target dates {samplers.trained}, validating on {samplers.validated}")
    options, seed = config.training, config.training.seed
    validation = samplers.validation.draw(
        options.validation_windows, rng=np.random.default_rng([seed, 1])
    )
    scaling = paper_scaling(
        samplers.training.draw(SCALING_WINDOWS, rng=np.random.default_rng([seed, 2]))
    )
    torch.manual_seed(seed)
    network = UNet(config.unet, scaling)
    folder = config.to / "training"
    batches = sampled(samplers.training, batch=options.batch, seed=seed)
    with full_disk_named(config.to):
        state = fit(batches, validation, network, options, folder=folder)
        training = {
            "cubes": [str(path) for path in cubes],
            "without": list(config.without),
            "training_dates": samplers.trained,
            "validation_dates": samplers.validated,
            "steps": state.step,
            "best_step": state.best_step,
            "seconds": round(state.seconds, 1),
            "options": options.model_dump(mode="json"),
        }
        model = Model(network.eval(), config.network, training)
        _finish(config, cubes, _scored(model, validation))
    say(f"model: {config.to} (validation error {state.best_error_db2:.2f} dB² at step {state.best_step})")


def _scored(model: Model, validation: Sequence[Any]) -> Model:
    scores = residual_scores(model, validation)
    return Model(model.network, model.name, model.training, scores)


def _make_ready(config: TrainConfig) -> None:
    """Refuse a finished model, keep what a stopped training left, or clear the folder."""
    if config.overwrite:
        shutil.rmtree(config.to, ignore_errors=True)
    if not (config.to / "training").is_dir() or (config.to / FILES[-1]).exists():
        check_free(config.to, overwrite=config.overwrite)
    config.to.mkdir(parents=True, exist_ok=True)


def _finish(config: TrainConfig, cubes: tuple[Path, ...], model: Model) -> None:
    ready = config.to / "training" / "model"
    ready.mkdir(exist_ok=True)
    write_model(model, ready)
    write_record(config.to, "train", {"cubes": list(cubes)}, config)
    for name in FILES:
        (ready / name).replace(config.to / name)
    ready.rmdir()
    shutil.rmtree(config.to / "training" / "checkpoints", ignore_errors=True)


class _Samplers:
    """Windows for training and for validation, their dates apart."""

    def __init__(
        self,
        training: Sampler,
        validation: Sampler,
        dates: tuple[list[str], list[str]],
    ) -> None:
        self.training = training
        self.validation = validation
        self.trained, self.validated = dates


def _opened(sources: Sequence[Path], config: TrainConfig) -> _Samplers:
    """Samplers of cubes or of imported samples, without the conditions that are kept back."""
    if len(sources) == 1 and is_store(sources[0]):
        early, late = SampleStore(sources[0]).split(config.training.validation_share)
        samplers = _Samplers(early, late, (early.dates(), late.dates()))
    else:
        samplers = _samplers([open_cube(path) for path in sources], config)
    if config.without:
        samplers.training = BlindSampler(samplers.training, config.without)
        samplers.validation = BlindSampler(samplers.validation, config.without)
    return samplers


def _samplers(cubes: Sequence[xr.Dataset], config: TrainConfig) -> _Samplers:
    """Split the target dates of every cube: the last share is for validation."""
    count = config.unet.previous
    start = None if config.start is None else moment_of(config.start)
    end = None if config.end is None else moment_of(config.end, last=True)
    early, late = [], []
    for cube in cubes:
        targets = target_dates(cube, count, start=start, end=end)
        kept = len(targets) - round(len(targets) * config.training.validation_share)
        kept = min(kept, len(targets) - 1)
        if kept < 1:
            raise SarcastError(
                f"training needs at least 2 target dates with {count} previous images each, one to "
                f"train and one to validate, but a cube of {cube.sizes['time']} dates has "
                f"{len(targets)} from {config.start or 'the first'} to {config.end or 'the last'}"
            )
        early.append(targets[:kept])
        late.append(targets[kept:])
    training, validation = (
        WindowSampler(cubes, places, size=config.unet.size, previous=count)
        for places in (early, late)
    )
    return _Samplers(training, validation, (_span(cubes, early), _span(cubes, late)))


def _span(cubes: Sequence[xr.Dataset], places: Sequence[npt.NDArray[np.intp]]) -> list[str]:
    """First and last date of the targets."""
    times = np.concatenate([c["time"].values[p] for c, p in zip(cubes, places, strict=True)])
    return [str(np.datetime_as_string(one, unit="D")) for one in (times.min(), times.max())]
