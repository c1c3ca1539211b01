"""Model folders: a network's weights, and in words what they are and what they were made from."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import torch
import yaml
from pydantic import Field, TypeAdapter, ValidationError
from safetensors.torch import load_file, save
from torch import nn

import sarcast
from sarcast.arrays import Float
from sarcast.errors import SarcastError
from sarcast.io.files import new_folder
from sarcast.prediction import Precision
from sarcast.prediction.networks.protocol import Network
from sarcast.prediction.networks.temporal import Temporal
from sarcast.prediction.networks.unet import UNet
from sarcast.prediction.training_range import far_outside, named, unknown_conditions
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import BANDS, Expected, Window, collate, in_shapes

SHIPPED = ("base",)
"""Names of the models that come with the package."""
FORMAT = 1
"""Version of ``model.yaml``."""
NETWORKS: dict[str, Any] = {UNet.kind: UNet, Temporal.kind: Temporal}
"""Networks by the name that ``model.yaml`` holds."""
PIXELS_AT_ONCE = 2**20
"""Pixels of previous images that one pass of a network takes."""


@dataclass(frozen=True)
class ValidationScores:
    """How well a network predicted images that it was not trained on.

    Attributes
    ----------
    rmse_db
        Root of the mean squared residual of each band, dB.
    norm_quantiles_db
        By share of pixels: the norm over bands of the residual, dB, that so many stay under.
    pixels
        Number of pixels behind them.
    of_mean
        Mean squared residual, relative to that of the mean of the same previous images.
    within_std
        Share of residuals within one and two standard deviations; None where none are told.
    """

    rmse_db: tuple[float, ...]
    norm_quantiles_db: Annotated[dict[float, float], Field(min_length=1)]
    pixels: int
    of_mean: float
    within_std: tuple[float, float] | None = None


@dataclass(frozen=True)
class Model:
    """A trained network as a ``windows.Predictor``.

    Attributes
    ----------
    network
        The network, in evaluation mode.
    name
        What tables call it.
    training
        What it was trained on and how.
    scores
        ValidationScores on the validation windows; None if there were none.
    std_factor
        What the network's standard deviation is multiplied by, found from validation windows.
    precision
        Numbers that convolutions are computed with: ``bfloat16`` is faster where the processor
        multiplies it itself (AVX512-BF16, AMX, GPUs), and the expected image moves by less than
        its noise.
    warned
        What was warned of: each is said once, however many windows are strange.
    """

    network: nn.Module
    name: str
    training: dict[str, Any] = field(default_factory=dict)
    scores: ValidationScores | None = None
    std_factor: float = 1.0
    precision: Precision = "float32"
    warned: set[str] = field(default_factory=set, repr=False, compare=False)

    @property
    def size(self) -> int | None:
        """The one window size in pixels that it takes; None for any."""
        size: int | None = self.network.size  # type: ignore[assignment]
        return size

    @property
    def previous(self) -> int | None:
        """Number of previous images that it needs; None for any."""
        previous: int | None = self.network.previous  # type: ignore[assignment]
        return previous

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        """Give the expected image of each window, under the conditions that the window holds.

        Raises
        ------
        SarcastError
            If a window's size or number of previous images is not the network's.
        """
        for window in windows:
            self._check(window)
        windows = self._within_training(windows)
        return [expected for part in self._parts(windows) for expected in self._expect(part)]

    def _check(self, window: Window) -> None:
        images, _, *size = window.previous.shape
        if self.size is not None and size != [self.size, self.size]:
            raise SarcastError(
                f"the network {self.name} takes windows of {self.size} x {self.size} pixels, "
                f"but {size[0]} x {size[1]} came; cut windows of its size"
            )
        if self.previous is not None and images != self.previous:
            raise SarcastError(
                f"the network {self.name} needs {self.previous} previous images, but {images} came"
            )

    def _within_training(self, windows: Sequence[Window]) -> Sequence[Window]:
        """Warn of conditions far outside the training's; hide those that it never saw."""
        seen = self.training.get("seen_conditions")
        if seen is None or not windows:
            return windows
        rows = np.concatenate([window.conditions for window in windows])
        for place in far_outside(rows, seen):
            self._warn(f"{place} that the network {self.name} was trained on")
        strange = unknown_conditions(rows, seen)
        if not strange.any():
            return windows
        self._warn(
            f"the network {self.name} was not trained on {', '.join(named(rows, strange))}: "
            f"what it does not know counts as missing"
        )
        return [_without_the_unseen(window, seen) for window in windows]

    def _warn(self, line: str) -> None:
        if line not in self.warned:
            self.warned.add(line)
            warnings.warn(line, stacklevel=4)

    def _parts(self, windows: Sequence[Window]) -> Iterator[Sequence[Window]]:
        """Split windows into runs of one shape that one pass of the network can take."""
        largest = max((self._pixels(window) for window in windows), default=1)
        return in_shapes(windows, max(1, PIXELS_AT_ONCE // largest))

    def _pixels(self, window: Window) -> int:
        """Number of pixels of previous images that the network sees, those it pads included."""
        multiple: int = self.network.multiple  # type: ignore[assignment]
        images, _, *shape = window.previous.shape
        seen: int = images * math.prod(-(-pixels // multiple) * multiple for pixels in shape)
        return seen

    @torch.inference_mode()
    def _expect(self, windows: Sequence[Window]) -> list[Expected]:
        device = next(self.network.parameters()).device
        short = self.precision == "bfloat16"
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=short):
            prediction = self.network(*collate(windows).to(device).inputs())
        mean = prediction.mean.float().cpu().numpy()
        std = [None] * len(windows)
        if prediction.log_variance is not None:
            std = self.std_factor * prediction.log_variance.float().mul(0.5).exp().cpu().numpy()
        return [
            _where_seen(window, mean[place], std[place]) for place, window in enumerate(windows)
        ]


def _without_the_unseen(window: Window, seen: Mapping[str, Sequence[float]]) -> Window:
    rows = window.conditions
    return replace(
        window, conditions=np.where(unknown_conditions(rows, seen), np.float32(np.nan), rows)
    )


def _where_seen(window: Window, mean: Float, std: Float | None) -> Expected:
    unseen = ~np.isfinite(window.previous).any(axis=0)
    if std is not None:
        std = np.where(unseen, np.float32(np.nan), std)
    return Expected(mean=np.where(unseen, np.float32(np.nan), mean), std=std)


def save_model(model: Model, folder: Path, *, overwrite: bool = False, half: bool = False) -> None:
    """Write a model folder, ``model.safetensors`` and ``model.yaml``; whole or not at all.

    Parameters
    ----------
    model
        The model.
    folder
        The folder to make.
    overwrite
        Replace one that is there.
    half
        Keep the weights in half precision, which takes half the space.

    Raises
    ------
    SarcastError
        If the folder exists, is not empty and may not be replaced.
    """
    with new_folder(folder, overwrite=overwrite) as partial:
        write_model(model, partial, half=half)


def write_model(model: Model, folder: Path, *, half: bool = False) -> None:
    """Write the two files of a model into a folder that exists."""
    network: Network = model.network  # type: ignore[assignment]
    card = {
        "format": FORMAT,
        "name": model.name,
        "network": network.kind,
        "options": network.options.model_dump(mode="json"),
        "bands": list(BANDS),
        "conditions": list(COLUMNS),
        "normalisation": _plain(network.normalisation()),
        "training": model.training,
        "std_factor": model.std_factor,
        "scores": _plain(asdict(model.scores)) if model.scores else None,
        "code_version": sarcast.__version__,
    }
    tensors = weights(model.network)
    if half:
        tensors = {
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }
    (folder / "model.safetensors").write_bytes(save(tensors))
    (folder / "model.yaml").write_text(yaml.safe_dump(card, sort_keys=False))


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Give a copy of a network's weights that can be written: on the CPU, one after another."""
    state = network.state_dict()
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def load_model(
    folder: Path | str, *, device: str | None = None, precision: Precision = "float32"
) -> Model:
    """Read a model folder.

    Parameters
    ----------
    folder
        The folder that ``save_model`` wrote, or ``"base"`` for the weights that are shipped.
    device
        Where to compute, as ``"cpu"`` or ``"cuda"``; None for a GPU where there is one.
    precision
        As in ``Model``.

    Raises
    ------
    SarcastError
        If a file is absent or not readable, its version or network is unknown, the model was made
        for other bands or conditions, or there is no such device or precision.
    """
    folder = _home(folder)
    if precision not in get_args(Precision):
        raise SarcastError(f"precision is {' or '.join(get_args(Precision))}, not {precision!r}")
    if str(device).startswith("cuda") and not torch.cuda.is_available():
        raise SarcastError(f"device {device} was asked for, but there is no GPU; take cpu")
    try:
        model = _described(_read_card(folder))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SarcastError(
            f"{folder / 'model.yaml'} lacks or misstates {_first_fault(error)}; "
            f"copy the folder again, or train the model again"
        ) from error
    _load_weights(model.network, folder / "model.safetensors")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    network = model.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return replace(model, network=network.eval(), precision=precision)


def load_models(folders: Sequence[Path | str], *, device: str | None = None) -> list[Model]:
    """Read several model folders, as ``load_model`` does; those of one name go by their folders."""
    models = [load_model(folder, device=device) for folder in folders]
    names = [model.name for model in models]
    return [
        replace(model, name=str(folder)) if names.count(model.name) > 1 else model
        for model, folder in zip(models, folders, strict=True)
    ]


def _first_fault(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))} ({first['msg']})"
    return str(error).split("\n", maxsplit=1)[0]


def _described(card: dict[str, Any]) -> Model:
    """The model that a card describes, its weights still random."""
    scores, training = card["scores"], dict(card["training"])
    if strange := sorted(set(training.get("seen_conditions") or ()) - set(COLUMNS)):
        raise ValueError(f"seen_conditions ({', '.join(strange)} is none)")
    factor = float(card["std_factor"])
    if not (math.isfinite(factor) and factor > 0.0):
        raise ValueError(f"std_factor (must be above 0, not {factor})")
    return Model(
        network=NETWORKS[card["network"]].build(card["options"], card["normalisation"]),
        name=str(card["name"]),
        training=training,
        scores=TypeAdapter(ValidationScores).validate_python(scores) if scores else None,
        std_factor=factor,
    )


def _home(folder: Path | str) -> Path:
    """The folder of a model; a shipped one goes by its name, unless there is a folder so named."""
    if str(folder) in SHIPPED and not Path(folder).exists():
        return Path(str(files("sarcast"))) / "weights" / str(folder)
    return Path(folder)


def _read_card(folder: Path) -> dict[str, Any]:
    for name in ("model.yaml", "model.safetensors"):
        if not (folder / name).is_file():
            raise SarcastError(
                f"{folder} is no model folder: {name} is not there; "
                f"name a folder that sarcast train wrote"
            )
    try:
        card = yaml.safe_load((folder / "model.yaml").read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = str(error).replace("\n", " ")
        raise SarcastError(f"{folder / 'model.yaml'} is not valid YAML: {line}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else None
        raise SarcastError(
            f"{folder / 'model.yaml'} has format {found}, but this version of sarcast "
            f"({sarcast.__version__}) reads format {FORMAT}; train the model again"
        )
    if card["network"] not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise SarcastError(f"{folder} holds a network {card['network']!r}; known are {known}")
    for name, expected in (("bands", BANDS), ("conditions", COLUMNS)):
        if list(card[name]) != list(expected):
            raise SarcastError(
                f"the model in {folder} was made for {name} {card[name]}, "
                f"but sarcast gives it {list(expected)}; train a model for these"
            )
    return card


def _load_weights(network: nn.Module, path: Path) -> None:
    try:
        network.load_state_dict(load_file(path))
    except Exception as error:
        line = str(error).split("\n", maxsplit=1)[0]
        raise SarcastError(
            f"{path} does not hold the weights that model.yaml describes ({line}); "
            f"copy the folder again, or train the model again"
        ) from error


def _plain(value: Any) -> Any:
    """Turn tuples into lists, which YAML can tell."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
