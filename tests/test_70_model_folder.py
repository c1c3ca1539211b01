"""Model folders that are damaged or crafted: refused at load, in one line, without their memory."""

import json
import resource
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from sarcast.errors import SarcastError
from sarcast.prediction.model import Model
from sarcast.prediction.model_checks import check_values
from sarcast.prediction.model_folder import load_model, save_model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.networks.unet import UNet, UNetOptions
from sarcast.sensor.conditions import PaperScaling

SMALL = TemporalOptions(widths=(8, 8, 8, 8), decoder_width=8, fine_width=4, embedding=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(Model(Temporal(SMALL), "small"), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    options = UNetOptions(size=16, previous=2, filters=(4, 8), dropout=0.0)
    save_model(Model(UNet(options, PaperScaling()), "unet"), tmp_path / "unet")
    return tmp_path / "unet"


def refused(folder: Path, match: str) -> None:
    with pytest.raises(SarcastError, match=match) as caught:
        load_model(folder, device="cpu")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 2000


def change_card(folder: Path, **changes: Any) -> None:
    card = yaml.safe_load((folder / "model.yaml").read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        part = card
        for parent in parents:
            part = part[parent]
        part[last] = value
    (folder / "model.yaml").write_text(yaml.safe_dump(card))


def change_weights(folder: Path, name: str, value: float) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors[name].view(-1)[-1] = value
    save_file(tensors, path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_weights_that_give_no_numbers_are_refused(folder: Path, value: float) -> None:
    load_model(folder, device="cpu")
    name = next(iter(load_file(folder / "model.safetensors")))
    change_weights(folder, name, value)
    refused(folder, rf"{name} has values from .*, which no training gives")


def test_every_tensor_is_checked(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    assert len(tensors) > 50
    for name, tensor in tensors.items():
        changed = tensor.clone()
        changed.view(-1)[0] = float("nan")
        check_values(tensors)
        with pytest.raises(ValueError, match=f"{name} has values"):
            check_values({**tensors, name: changed})


def test_a_negative_variance_is_refused(unet: Path) -> None:
    load_model(unet, device="cpu")
    name = next(n for n in load_file(unet / "model.safetensors") if n.endswith("running_var"))
    change_weights(unet, name, -1.0)
    refused(unet, f"{name} has values from -1 to")


def test_weights_of_another_shape_or_type_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(iter(tensors))
    for other in (tensors[name][:1].clone(), tensors[name].to(torch.int32)):
        save_file({**tensors, name: other}, path)
        refused(folder, rf"{name} has shape .* expected \[")


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * 8,
        struct.pack("<Q", 2**40),
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 20) + b"{" * 20,
        b"",
    ],
)
def test_headers_that_lie_are_refused(folder: Path, header: bytes) -> None:
    (folder / "model.safetensors").write_bytes(header)
    refused(folder, "does not contain the weights that model.yaml describes")


def test_a_header_of_tensors_beyond_the_file_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    last = max(header, key=lambda name: header[name].get("data_offsets", [0, 0])[1])
    header[last]["data_offsets"][1] = 2**50
    header[last]["shape"] = [2**48]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    refused(folder, "does not contain the weights that model.yaml describes")


def test_a_network_larger_than_its_file_takes_no_memory(unet: Path) -> None:
    change_card(unet, options__filters=[2**15, 2**15])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(unet, "does not contain the weights that model.yaml describes")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"normalisation__band_low": [float("nan"), -36.0]},
            r"normalisation.band_low \(must be from -1e\+09 to 1e\+09\)",
        ),
        ({"normalisation__elevation_max": float("inf")}, r"normalisation.elevation_max \(must be"),
        ({"normalisation__band_high": [5.0, 1e308]}, r"normalisation.band_high \(must be"),
        ({"std_factor": 1e30}, r"std_factor \(must be"),
        ({"normalisation__band_low": [10.0, 10.0]}, "must lie below band_high"),
        ({"std_factor": float("inf")}, "std_factor"),
        ({"error_correlation": 2.0}, "error_correlation"),
        ({"training": {"seen_conditions": {"temperature": [float("nan"), 1.0]}}}, "finite number"),
        ({"training": {"seen_conditions": {"temperature": []}}}, "at least 1 item"),
        ({"training": {"seen_until": 7}}, "seen_until"),
        ({"training": {"training_dates": ["soon"]}}, "training_dates.0"),
        ({"name": "x " * 300}, r"name \(must be a text of up to 200 characters"),
        ({"name": "two\nlines"}, r"name \(must be"),
        ({"name": 7}, r"name \(must be"),
        ({"network": ["unet"]}, r"unet"),
        ({"bands": 3}, r"misstates"),
    ],
)
def test_cards_that_misstate_a_number_are_refused(
    unet: Path, changes: dict[str, Any], match: str
) -> None:
    change_card(unet, **changes)
    refused(unet, match)


def test_an_alias_bomb_in_a_card_is_refused(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    card = (folder / "model.yaml").read_text().replace("format: 2", "format: *a8")
    (folder / "model.yaml").write_text("\n".join([*lines, card]))
    refused(folder, "model.yaml is not valid YAML: it expands to more than")
