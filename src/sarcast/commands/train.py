"""``sarcast train``: a network trained on cubes, split by date."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import xarray as xr
from cyclopts import Parameter
from pydantic import Field

from sarcast.commands.config import FLAT, Config, differing_options, non_default_flags, write_record
from sarcast.cube import moment_of, open_cube
from sarcast.errors import SarcastError
from sarcast.io.files import RECORD, check_target, explain_full_disk
from sarcast.prediction.calibration import calibrated, check_bands, residual_scores
from sarcast.prediction.model import Model, load_model, write_model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.networks.unet import UNet, UNetOptions, paper_scaling
from sarcast.prediction.training.adapt import adapt, suited
from sarcast.prediction.training.batches import sampled
from sarcast.prediction.training.fit import fit, is_first_process
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training_range import condition_ranges
from sarcast.tfrecord import SampleStore, is_store
from sarcast.windows import CHOOSER_HELP, Chooser, Sampler, Window, collate, split_by_date
from sarcast.windows.masking import MaskedSampler

_log = logging.getLogger(__name__)


SCALING_WINDOWS = 64
"""Windows from which the scaling of images and conditions is found."""
ADAPTING_CROP = 64
"""Pixels a side of a window, to adapt a network within minutes."""
FILES = ("model.safetensors", RECORD, "model.yaml")
"""What a finished model folder holds; the last one is written last."""


class TrainConfig(Config):
    """Options of ``sarcast train``."""

    to: Path = Field(
        description="Model folder; training that was stopped there goes on, if it is asked for the "
        "same again."
    )
    network: Literal["temporal", "unet"] = Field(
        "temporal",
        description="The network: temporal, which takes any number of previous images and any "
        "size; or unet, the paper's.",
    )
    start_from: Annotated[Path | None, Parameter(name="--from")] = Field(
        None,
        description="Model to adapt, a folder or 'base' for the shipped weights; options of the "
        "training that are not given then suit a few minutes on a CPU.",
    )
    crop: int = Field(
        128,
        ge=16,
        le=4096,
        description="Pixels a side of a window, for networks that take any; 64 where a network is "
        "adapted and nothing is given.",
    )
    start: str | None = Field(None, description="First target date, ISO 8601; default: the first.")
    end: str | None = Field(
        None, description="Last target date, for training and validation; default: the last."
    )
    chooser: Chooser = Field("nearest", description=CHOOSER_HELP)
    without: tuple[str, ...] = Field(
        (), description="Conditions that the network is not told, as in 'sarcast ablate'."
    )
    temporal: TemporalOptions = Field(
        default_factory=TemporalOptions, description="Size of the temporal network."
    )
    unet: Annotated[UNetOptions, FLAT] = Field(default_factory=UNetOptions)
    training: Annotated[TrainOptions, FLAT] = Field(default_factory=TrainOptions)
    overwrite: bool = Field(
        False,
        description="Replace the model that is there, which is kept until the new one is whole, "
        "and a stopped training of other options.",
    )


def train(cubes: tuple[Path, ...], *, config: Annotated[TrainConfig, FLAT]) -> None:
    """Train the mapping transformation function on cubes, or adapt a trained one to them.

    Parameters
    ----------
    cubes
        Cubes, as ``sarcast cube`` builds them, or one folder of imported samples.
    """
    start = None if config.start_from is None else load_model(config.start_from)
    _tell_what_is_ignored(cubes, config, start)
    if start is not None:
        config = _resolved(config, start)
    samplers = _opened(cubes, config, _Shape.of(config, start))
    if is_first_process():
        _make_ready(cubes, config)
    trained, validated = (" to ".join(dates) for dates in (samplers.trained, samplers.validated))
    _log.info(f"training on target dates {trained}, validating on {validated}")
    with explain_full_disk(config.to):
        model = _anew(samplers, config) if start is None else _adapted(start, samplers, config)
        told = {
            "cubes": [str(path) for path in cubes],
            "without": list(config.without),
            "training_dates": samplers.trained,
            "validation_dates": samplers.validated,
            "seen_until": max(samplers.validated[-1], model.training.get("seen_until", "")),
        }
        if not is_first_process():
            return
        _finish(config, replace(model, training={**model.training, **told}))
    assert model.scores is not None
    residuals = ", ".join(f"{one:.2f}" for one in model.scores.rmse_db)
    _log.info(
        f"model: {config.to} (residuals {residuals} dB, {model.scores.of_mean:.3f} of the mean's)"
    )


def _resolved(config: TrainConfig, start: Model) -> TrainConfig:
    """Give the options that suit adapting a model, wherever none were given."""
    crop = config.crop if "crop" in config.model_fields_set else ADAPTING_CROP
    own = {
        "training": suited(config.training, start),
        "crop": crop,
        "network": start.network.kind,
        "without": tuple(dict.fromkeys((*start.network.ignored, *config.without))),
    }
    return config.model_copy(update=own)


def _tell_what_is_ignored(
    sources: Sequence[Path], config: TrainConfig, start: Model | None
) -> None:
    of_unet = set(UNetOptions.model_fields)
    if start is None:
        others = {"temporal": of_unet - {"previous"}, "unet": {"temporal", "crop"}}[config.network]
        own: str = config.network
    else:
        free = {"crop", "previous"} if start.size is None else set()
        others = {"network", "temporal", "crop", *of_unet} - free
        own = f"{config.start_from}, which stays a {start.network.kind} of its size"
    if ignored := non_default_flags(config, others):
        _log.warning(f"{', '.join(ignored)} count for another network than {own}")
    if config.training.contrast:
        _log.warning("contrast counts in recipes whose worlds are seen otherwise, not for cubes")
    of_cubes = {"crop", "chooser", "start", "end"} - others
    if _are_samples(sources) and (ignored := non_default_flags(config, of_cubes)):
        _log.warning(f"samples are taken as they are: {', '.join(ignored)} count for cubes alone")


def _anew(samplers: "_Samplers", config: TrainConfig) -> Model:
    """Train a network from random weights."""
    options, seed = config.training, config.training.seed
    validation = samplers.validation.draw(
        options.validation_windows, rng=np.random.default_rng([seed, 1])
    )
    check_bands(validation)
    looked_at = samplers.training.draw(SCALING_WINDOWS, rng=np.random.default_rng([seed, 2]))
    torch.manual_seed(seed)
    network: UNet | Temporal = (
        UNet(config.unet, paper_scaling(looked_at), ignored=config.without)
        if config.network == "unet"
        else Temporal(config.temporal, ignored=config.without)
    )
    batches = sampled(samplers.training, batch=options.batch, seed=seed)
    state = fit(batches, validation, network, options, folder=config.to / "training")
    told = {
        "steps": state.step,
        "best_step": state.best_step,
        "seconds": round(state.seconds, 1),
        "options": options.model_dump(mode="json"),
        "seen_conditions": condition_ranges([collate([*looked_at, *validation])]),
    }
    model = calibrated(Model(network.eval(), config.network, told), validation)
    return replace(model, scores=residual_scores(model, validation))


def _adapted(start: Model, samplers: "_Samplers", config: TrainConfig) -> Model:
    folder = config.to / "training"
    start = replace(start, network=start.network.with_ignored(config.without))
    return adapt(start, samplers.training, samplers.validation, config.training, folder=folder)


def _make_ready(cubes: tuple[Path, ...], config: TrainConfig) -> None:
    """Refuse a folder that is no stopped training of these options; what is there is kept."""
    inputs = [*cubes, *([] if config.start_from is None else [config.start_from])]
    given, work = {"cubes": list(cubes)}, config.to / "training"
    stopped = (work / RECORD).is_file()
    others = differing_options(work, "train", given, config) if stopped else []
    if not stopped or (config.to / FILES[-1]).exists():
        check_target(config.to, overwrite=config.overwrite, inputs=inputs)
    elif others and not config.overwrite:
        raise SarcastError(
            f"{config.to} holds a stopped training with other {', '.join(sorted(others))}; give "
            f"the same again to go on, --overwrite to train anew, or another --to"
        )
    if others or not stopped:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    write_record(work, "train", given, config)


def _finish(config: TrainConfig, model: Model) -> None:
    """Put a finished model where an older one may be; the last file makes it a model folder."""
    work = config.to / "training"
    ready = work / "model"
    ready.mkdir(parents=True, exist_ok=True)
    write_model(model, ready, half=config.network == "temporal")
    shutil.copy(work / RECORD, ready / RECORD)
    (config.to / FILES[-1]).unlink(missing_ok=True)
    for name in FILES:
        (ready / name).replace(config.to / name)
    ready.rmdir()
    (work / RECORD).unlink()
    shutil.rmtree(work / "checkpoints", ignore_errors=True)


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


@dataclass(frozen=True)
class _Shape:
    """Pixels a side and previous images of a window; ``free`` if the network takes others too."""

    size: int
    previous: int
    free: bool

    @classmethod
    def of(cls, config: TrainConfig, start: Model | None) -> "_Shape":
        own = config.unet
        if start is not None:
            previous = start.previous or own.previous
            return cls(start.size or config.crop, previous, start.size is None)
        if config.network == "unet":
            return cls(own.size, own.previous, False)
        return cls(config.crop, own.previous, True)

    def check(self, window: Window) -> None:
        """Raise unless the network takes a window."""
        images, _, rows, columns = window.previous.shape
        if not self.free and (images, rows, columns) != (self.previous, self.size, self.size):
            raise SarcastError(
                f"the samples hold {images} previous images of {rows} x {columns} pixels, but the "
                f"network takes {self.previous} of {self.size} x {self.size}; give others by "
                f"--previous and --size, or take --network temporal"
            )


def _opened(sources: Sequence[Path], config: TrainConfig, shape: _Shape) -> _Samplers:
    """Samplers of cubes or of imported samples, without the conditions that are kept back."""
    if _are_samples(sources):
        store = SampleStore(sources[0])
        shape.check(store[0].window)
        early, late = store.split(config.training.validation_share)
        samplers = _Samplers(early, late, (early.dates(), late.dates()))
    else:
        samplers = _samplers([open_cube(path) for path in sources], config, shape)
    if config.without:
        samplers.training = MaskedSampler(samplers.training, config.without)
        samplers.validation = MaskedSampler(samplers.validation, config.without)
    return samplers


def _are_samples(sources: Sequence[Path]) -> bool:
    return len(sources) == 1 and is_store(sources[0])


def _samplers(cubes: Sequence[xr.Dataset], config: TrainConfig, shape: _Shape) -> _Samplers:
    """Split the target dates of every cube: the last share is for validation."""
    largest = max(cube.sizes[side] for cube in cubes for side in ("y", "x"))
    early, late = split_by_date(
        cubes,
        size=min(shape.size, largest) if shape.free else shape.size,
        previous=shape.previous,
        chooser=config.chooser,
        share=config.training.validation_share,
        start=None if config.start is None else moment_of(config.start),
        end=None if config.end is None else moment_of(config.end, last=True),
    )
    return _Samplers(early, late, (early.dates(), late.dates()))
