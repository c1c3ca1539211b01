"""Model folders: the weights and the metadata of a model, written and read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import torch
import yaml
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save
from torch import Tensor

import sarcast
from sarcast.errors import SarcastError
from sarcast.io.documents import MalformedError, read_yaml
from sarcast.io.files import new_folder
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION, ContextSource, Precision
from sarcast.prediction.deviation import Deviation
from sarcast.prediction.model import Model
from sarcast.prediction.model_checks import (
    TrainingRecord,
    check_name,
    check_numbers,
    check_shapes,
    check_values,
    expected_weights,
)
from sarcast.prediction.networks.base import Network
from sarcast.prediction.networks.temporal import Temporal
from sarcast.prediction.networks.unet import UNet
from sarcast.prediction.precision import number_format
from sarcast.prediction.scores import ValidationScores
from sarcast.prediction.training_range import HORIZON
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import BANDS

SHIPPED = ("base",)
"""Names of the models that come with the package."""
FORMAT = 2
"""Version of ``model.yaml``."""
NETWORKS: dict[str, type[Network]] = {UNet.kind: UNet, Temporal.kind: Temporal}
"""Networks by their name in ``model.yaml``."""


def save_model(model: Model, folder: Path, *, overwrite: bool = False, half: bool = False) -> None:
    """Write a model folder, ``model.safetensors`` and ``model.yaml``, atomically.

    Parameters
    ----------
    model
        The model.
    folder
        Folder to create.
    overwrite
        Replace an existing folder.
    half
        Store the weights in half precision, which halves their size.

    Raises
    ------
    SarcastError
        If the folder exists, is not empty and may not be replaced.
    """
    with new_folder(folder, overwrite=overwrite) as partial:
        write_model(model, partial, half=half)


def write_model(model: Model, folder: Path, *, half: bool = False) -> None:
    """Write the two files of a model into an existing folder."""
    network = model.network
    card = {
        "format": FORMAT,
        "name": model.name,
        "network": network.kind,
        "options": network.options.model_dump(mode="json"),
        "bands": list(BANDS),
        "conditions": list(COLUMNS),
        "normalisation": _plain(network.normalisation()),
        "training": model.training,
        **model.deviation.record(),
        "scores": _plain(asdict(model.scores)) if model.scores else None,
        "code_version": sarcast.__version__,
    }
    tensors = weights(network)
    if half:
        tensors = {
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }
    (folder / "model.safetensors").write_bytes(save(tensors))
    (folder / "model.yaml").write_text(yaml.safe_dump(card, sort_keys=False))


def weights(network: Network) -> dict[str, Tensor]:
    """Copy a network's weights to contiguous memory of the CPU, by name."""
    state = network.state_dict()
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def load_weights(network: Network, tensors: Mapping[str, Tensor]) -> None:
    """Set a network's weights to those that ``weights`` gave of the same architecture.

    Raises
    ------
    RuntimeError
        If names or shapes differ.
    """
    network.load_state_dict(tensors)


def load_model(
    folder: Path | str,
    *,
    device: str | None = None,
    precision: Precision = DEFAULT_PRECISION,
    context: ContextSource = DEFAULT_CONTEXT,
) -> Model:
    """Read a model folder.

    Parameters
    ----------
    folder
        A folder that ``save_model`` wrote, or ``"base"`` for the shipped weights.
    device
        Where to compute, as ``"cpu"`` or ``"cuda"``; None for a GPU where there is one.
    precision
        Number format of the convolutions; ``"auto"`` for bfloat16 where the device has arithmetic
        for it.
    context
        As in ``Model``.

    Raises
    ------
    SarcastError
        If a file is missing or not readable, its version or network is unknown, the model was made
        for other bands or conditions, or there is no such device or precision.

    Examples
    --------
    >>> model = sarcast.load_model("base", device="cpu", precision="float32")
    >>> model.name
    'base'
    """
    folder = _resolve_folder(folder)
    for name, value, known in (
        ("precision", precision, get_args(Precision)),
        ("context", context, get_args(ContextSource)),
    ):
        if value not in known:
            raise SarcastError(f"{name} must be {' or '.join(known)}, not {value!r}")
    if str(device).startswith("cuda") and not torch.cuda.is_available():
        raise SarcastError(f"device {device} needs a GPU, but none was found; use cpu")
    model = _read_model(folder)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    network = model.network.channels_last().to(device).eval()
    computed_in = number_format(precision, device)
    return replace(model, network=network, precision=computed_in, context=context)


def load_models(
    folders: Sequence[Path | str],
    *,
    device: str | None = None,
    precision: Precision = DEFAULT_PRECISION,
    context: ContextSource = DEFAULT_CONTEXT,
) -> list[Model]:
    """Read several model folders as ``load_model`` does; models of one name are named by folder."""
    models = [
        load_model(folder, device=device, precision=precision, context=context)
        for folder in folders
    ]
    names = [model.name for model in models]
    return [
        replace(model, name=str(folder)) if names.count(model.name) > 1 else model
        for model, folder in zip(models, folders, strict=True)
    ]


def _read_model(folder: Path) -> Model:
    """Read the model of a folder, on the CPU."""
    path = folder / "model.safetensors"
    try:
        card = _read_card(folder)
        check_numbers({name: part for name, part in card.items() if name != "training"})
        expected = expected_weights(lambda: _network(card))
        with _explain_weights(path):
            check_shapes(expected, path)
        model = _from_card(card)
    except SarcastError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise SarcastError(
            f"{folder / 'model.yaml'} lacks or misstates {_first_fault(error)}; "
            f"copy the folder again, or train the model again"
        ) from error
    with _explain_weights(path):
        tensors = load_file(path)
        check_values(tensors)
        load_weights(model.network, tensors)
    return model


def _first_fault(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))} ({first['msg']})"
    return str(error).split("\n", maxsplit=1)[0]


def _from_card(card: dict[str, Any]) -> Model:
    """Make the model that ``model.yaml`` describes, with random weights."""
    scores, training = card["scores"], dict(card["training"])
    TrainingRecord.model_validate(training)
    if unknown := sorted(set(training.get("seen_conditions") or ()) - {*COLUMNS, HORIZON}):
        raise ValueError(f"seen_conditions ({', '.join(unknown)} is not a condition)")
    return Model(
        network=_network(card),
        name=check_name(card["name"]),
        training=training,
        scores=TypeAdapter(ValidationScores).validate_python(scores) if scores else None,
        deviation=Deviation.from_record(card),
    )


def _network(card: Mapping[str, Any]) -> Network:
    try:
        return NETWORKS[card["network"]].build(card["options"], card["normalisation"])
    except SarcastError as error:  # of numbers that contradict each other
        raise ValueError(str(error)) from error


def _resolve_folder(folder: Path | str) -> Path:
    """Find the folder of a model; a shipped one has a name, unless a folder has it too."""
    if str(folder) in SHIPPED and not Path(folder).exists():
        return Path(str(files("sarcast"))) / "weights" / str(folder)
    return Path(folder)


def _read_card(folder: Path) -> dict[str, Any]:
    for name in ("model.yaml", "model.safetensors"):
        if not (folder / name).is_file():
            raise SarcastError(
                f"{folder} is not a model folder: it has no {name}; "
                f"give a folder that sarcast train wrote"
            )
    try:
        card = read_yaml(folder / "model.yaml")
    except MalformedError as error:
        raise SarcastError(f"{folder / 'model.yaml'} is not valid YAML: {error}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        version = card.get("format") if isinstance(card, dict) else None
        raise SarcastError(
            f"{folder / 'model.yaml'} has format {version}, but this version of sarcast "
            f"({sarcast.__version__}) reads format {FORMAT}; train the model again"
        )
    if card["network"] not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise SarcastError(f"{folder} contains a network {card['network']!r}; known are {known}")
    for name, expected in (("bands", BANDS), ("conditions", COLUMNS)):
        if list(card[name]) != list(expected):
            raise SarcastError(
                f"the model in {folder} was made for {name} {card[name]}, "
                f"but this version of sarcast uses {list(expected)}; train a model for these"
            )
    return card


@contextmanager
def _explain_weights(path: Path) -> Iterator[None]:
    """Turn whatever damaged or foreign weights raise into one line."""
    try:
        yield
    except Exception as error:
        line = str(error).split("\n", maxsplit=1)[0]
        raise SarcastError(
            f"{path} does not contain the weights that model.yaml describes ({line}); "
            f"copy the folder again, or train the model again"
        ) from error


def _plain(value: Any) -> Any:
    """Turn tuples into lists, as YAML has no tuples."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
