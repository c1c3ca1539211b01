"""Training on cubes or samples, with options that ``train`` and ``ablate`` share."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import xarray as xr
from cyclopts import Group, Parameter
from pydantic import Field, ValidationError, model_validator

from sarcast.commands.config import FLAT, Config, differing_options, non_default_flags, write_record
from sarcast.cube import moment_of, open_cube
from sarcast.errors import SarcastError
from sarcast.io.files import check_target, exclusive, explain_full_disk
from sarcast.io.results import RECORD
from sarcast.prediction.model import Model
from sarcast.prediction.model_folder import load_model
from sarcast.prediction.networks.base import Network
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.networks.unet import UNet, UNetLayers, UNetOptions, paper_scaling
from sarcast.prediction.training.adapt import adaptation_options, plan_adaptation
from sarcast.prediction.training.fit import is_first_process
from sarcast.prediction.training.folder import (
    discard_empty,
    discard_training,
    is_finished,
    work_folder,
)
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.scratch import plan_from_scratch
from sarcast.prediction.training.train import train
from sarcast.tfrecord import SampleStore, is_store
from sarcast.windows import PreviousOptions, Sampler, Window, split_by_date
from sarcast.windows.masking import MaskedSampler

_log = logging.getLogger(__name__)

WINDOW_PX = 128
"""Side of a window in pixels, to train a network that takes any size."""
ADAPTATION_WINDOW_PX = 64
"""Side of a window in pixels, to adapt such a network within minutes."""

TRAINING = Parameter(group=Group("Training", sort_key=1))
TEMPORAL = Parameter(group=Group("Temporal network (--network temporal)", sort_key=3))
UNET = Parameter(group=Group("U-Net (--network unet)", sort_key=4))


class ModelFolderConfig(Config):
    """The model folder of a training run, and the model that it starts from."""

    to: Path = Field(
        description="Model folder. An interrupted training run there resumes if it is started "
        "again with the same options."
    )
    start_from: Annotated[Path | None, Parameter(name="--from")] = Field(
        None,
        description="Model to start from, a folder or 'base' for the shipped weights. With "
        "cubes, it is adapted to them, by training defaults that take a few minutes on a CPU.",
    )
    overwrite: bool = Field(
        False,
        description="Replace an existing model, once the new one is complete, and discard an "
        "interrupted training run with other options.",
    )


class TrainingConfig(ModelFolderConfig):
    """Options of a training run that has one set of training options."""

    training: Annotated[TrainOptions, FLAT, TRAINING] = Field(default_factory=TrainOptions)


class CubeTrainingConfig(TrainingConfig):
    """Options of training on cubes or imported samples."""

    network: Literal["temporal", "unet"] = Field(
        "temporal",
        description="The network: temporal, which takes any number of previous images and any "
        "size; or unet, the paper's.",
    )
    start: str | None = Field(None, description="First target date, ISO 8601; default: the first.")
    end: str | None = Field(
        None,
        description="Last target date, of training and validation, ISO 8601; default: the last.",
    )
    window: int | None = Field(
        None,
        ge=8,
        le=4096,
        description="Side of a window in pixels; a power of 2 for the U-Net. Default: "
        f"{WINDOW_PX}; {ADAPTATION_WINDOW_PX} to adapt a network; "
        f"{UNetOptions().size} for the U-Net.",
    )
    previous_images: Annotated[PreviousOptions, FLAT] = Field(default_factory=PreviousOptions)
    without: tuple[str, ...] = Field(
        (), description="Conditions that the network does not use, as in 'sarcast ablate'."
    )
    temporal: Annotated[TemporalOptions, TEMPORAL] = Field(default_factory=TemporalOptions)
    unet: Annotated[UNetLayers, UNET] = Field(default_factory=UNetLayers)

    @model_validator(mode="after")
    def _check_unet(self) -> "CubeTrainingConfig":
        if self.network == "unet" and self.start_from is None and self.window is not None:
            try:
                self.unet_options()
            except ValidationError as error:
                reason = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"--window: {reason}") from error
        return self

    def unet_options(self) -> UNetOptions:
        """Options of the U-Net, whose inputs are the windows."""
        size = {} if self.window is None else {"size": self.window}
        previous = self.previous_images.previous
        return UNetOptions(previous=previous, **size, **self.unet.model_dump())


def train_on_cubes(sources: Sequence[Path], config: CubeTrainingConfig) -> Model:
    """Train a network on cubes or imported samples, or adapt a trained one; write its folder.

    Parameters
    ----------
    sources
        Cubes, or one folder of imported samples.
    config
        The options.

    Raises
    ------
    SarcastError
        If a source cannot be opened or has too few dates or no window with data, or the folder
        holds something else.
    """
    start = None
    if config.start_from is not None:
        start = load_model(config.start_from, precision="float32")
    _warn_of_unused_flags(sources, config, start)
    shape = WindowShape.of(config, start)
    config = _resolved(config, shape, start)
    samplers = open_samplers(sources, config, shape)
    trained, validated = (" to ".join(dates) for dates in (samplers.trained, samplers.validated))
    record = _record(sources, samplers, config, start)
    with model_folder_locked(config.to):
        prepare_folder("train", {"cubes": list(sources)}, config)
        _log.info(f"training on target dates {trained}, validating on {validated}")
        if start is not None:
            start = replace(start, network=start.network.with_ignored(config.without))
            plan = plan_adaptation(
                start, samplers.training, samplers.validation, config.training, record=record
            )
        else:
            plan = plan_from_scratch(
                lambda examples: _network(config, examples),
                samplers.training,
                samplers.validation,
                config.training,
                record=record,
            )
        return train(plan, to=config.to, overwrite=config.overwrite)


@contextmanager
def model_folder_locked(folder: Path) -> Iterator[None]:
    """Lock a model folder for the process that writes it; a full disk becomes one line."""
    with explain_full_disk(folder), exclusive(folder) if is_first_process() else nullcontext():
        yield


def prepare_folder(verb: str, inputs: Mapping[str, Any], config: ModelFolderConfig) -> None:
    """Make the work folder with the record of the options, or keep that of a stopped run.

    Parameters
    ----------
    verb, inputs, config
        As for ``write_record``.

    Raises
    ------
    SarcastError
        If the model folder is not free and holds no stopped run with these options.
    """
    if not is_first_process():
        return
    work = work_folder(config.to)
    discard_empty(config.to)
    stopped = (work / RECORD).is_file()
    others = differing_options(work, verb, inputs, config) if stopped else []
    if not stopped or is_finished(config.to):
        read = [path for paths in inputs.values() for path in paths]
        read += [] if config.start_from is None else [config.start_from]
        check_target(config.to, overwrite=config.overwrite, inputs=read)
    elif others and not config.overwrite:
        raise SarcastError(
            f"{config.to} holds a stopped training with other {', '.join(sorted(others))}; give "
            f"the same to resume it, --overwrite to start again, or another --to"
        )
    if others or not stopped:
        discard_training(config.to)
    work.mkdir(parents=True, exist_ok=True)
    write_record(work, verb, inputs, config)


def _network(config: CubeTrainingConfig, examples: Sequence[Window]) -> Network:
    if config.network == "unet":
        return UNet(config.unet_options(), paper_scaling(examples), ignored=config.without)
    return Temporal(config.temporal, ignored=config.without)


def _resolved(
    config: CubeTrainingConfig, shape: "WindowShape", start: Model | None
) -> CubeTrainingConfig:
    """Fill in the options whose defaults depend on others, and those that a model prescribes."""
    update: dict[str, Any] = {"window": shape.size}
    if start is not None:
        previous = config.previous_images.model_copy(update={"previous": shape.previous})
        update |= {
            "training": adaptation_options(config.training, start),
            "network": start.network.kind,
            "previous_images": previous,
            "without": tuple(dict.fromkeys((*start.network.ignored, *config.without))),
        }
    return config.model_copy(update=update)


def _warn_of_unused_flags(
    sources: Sequence[Path], config: CubeTrainingConfig, start: Model | None
) -> None:
    unused = {"unet"} if config.network == "temporal" else {"temporal"}
    network = f"the network {config.network}"
    if start is not None:
        unused = {"network", "temporal", "unet"}
        if start.size is not None and config.window != start.size:
            unused.add("window")
        if start.previous is not None and config.previous_images.previous != start.previous:
            unused.add("previous")
        network = f"{config.start_from}, which stays a {start.network.kind} of its size"
    if flags := non_default_flags(config, unused):
        _log.warning(f"without effect on {network}: {', '.join(flags)}")
    if config.training.contrast:
        _log.warning("without effect on cubes: --contrast, which needs counterfactual worlds")
    of_cubes = {"chooser", "start", "end"}
    if config.network == "temporal":
        of_cubes |= {"window", "previous"} - unused
    if _are_samples(sources) and (flags := non_default_flags(config, of_cubes)):
        _log.warning(f"without effect on samples, which are used as they are: {', '.join(flags)}")


def _record(
    sources: Sequence[Path],
    samplers: "TrainingSamplers",
    config: CubeTrainingConfig,
    start: Model | None,
) -> dict[str, Any]:
    """What ``model.yaml`` says about the training data."""
    seen_before = "" if start is None else start.training.get("seen_until", "")
    return {
        "cubes": [str(path) for path in sources],
        "without": list(config.without),
        "training_dates": samplers.trained,
        "validation_dates": samplers.validated,
        "seen_until": max(samplers.validated[-1], seen_before),
    }


@dataclass(frozen=True)
class TrainingSamplers:
    """Windows for training and for validation, of different target dates.

    Attributes
    ----------
    training, validation
        The windows.
    trained, validated
        First and last target date of each.
    """

    training: Sampler
    validation: Sampler
    trained: list[str]
    validated: list[str]

    def without(self, names: Sequence[str]) -> "TrainingSamplers":
        """Give the same windows without some conditions."""
        if not names:
            return self
        training, validation = (
            MaskedSampler(sampler, names) for sampler in (self.training, self.validation)
        )
        return replace(self, training=training, validation=validation)


@dataclass(frozen=True)
class WindowShape:
    """Shape of the windows of a training run.

    Attributes
    ----------
    size
        Pixels a side.
    previous
        Number of previous images.
    free
        Whether the network also takes other shapes.
    """

    size: int
    previous: int
    free: bool

    @classmethod
    def of(cls, config: CubeTrainingConfig, start: Model | None) -> "WindowShape":
        """Choose the shape from the options and the model to start from."""
        previous = config.previous_images.previous
        if start is not None:
            size = start.size or config.window or ADAPTATION_WINDOW_PX
            return cls(size, start.previous or previous, start.size is None)
        if config.network == "unet":
            return cls(config.unet_options().size, previous, False)
        return cls(config.window or WINDOW_PX, previous, True)

    def check(self, window: Window) -> None:
        """Raise unless the network takes a window."""
        images, _, rows, columns = window.previous.shape
        if not self.free and (images, rows, columns) != (self.previous, self.size, self.size):
            raise SarcastError(
                f"the samples hold {images} previous images of {rows} x {columns} pixels, but the "
                f"network takes {self.previous} of {self.size} x {self.size}; give others by "
                f"--previous and --window, or take --network temporal"
            )


def open_samplers(
    sources: Sequence[Path], config: CubeTrainingConfig, shape: WindowShape
) -> TrainingSamplers:
    """Open cubes or imported samples, split by date, without the conditions that are not used."""
    if not _are_samples(sources):
        cubes = [open_cube(path) for path in sources]
        return _split_cubes(cubes, config, shape).without(config.without)
    store = SampleStore(sources[0])
    shape.check(store[0].window)
    early, late = store.split(config.training.validation_share)
    return TrainingSamplers(early, late, early.dates(), late.dates()).without(config.without)


def _are_samples(sources: Sequence[Path]) -> bool:
    return len(sources) == 1 and is_store(sources[0])


def _split_cubes(
    cubes: Sequence[xr.Dataset], config: CubeTrainingConfig, shape: WindowShape
) -> TrainingSamplers:
    """Split the target dates of every cube: the last share is for validation."""
    largest = max(cube.sizes[side] for cube in cubes for side in ("y", "x"))
    early, late = split_by_date(
        cubes,
        size=min(shape.size, largest) if shape.free else shape.size,
        previous=shape.previous,
        chooser=config.previous_images.chooser,
        share=config.training.validation_share,
        start=None if config.start is None else moment_of(config.start),
        end=None if config.end is None else moment_of(config.end, last=True),
    )
    return TrainingSamplers(early, late, early.dates(), late.dates())
