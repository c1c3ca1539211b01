"""Mutated model folders: what ``model.yaml`` states, the header of the weights, the weights."""

import json
import struct
from pathlib import Path

import numpy as np
import torch
import yaml

from sarcast.prediction import Model, load_model
from sarcast.prediction.model_folder import save_model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.networks.unet import UNet, UNetOptions
from sarcast.sensor.conditions import COLUMNS, PaperScaling
from sarcast.windows import Window

from .harness import AcceptedError, Call, Kind
from .mutate import NASTY_BYTES, Rng, as_yaml, mutate_bytes, mutate_tree

SIDE, PREVIOUS = 8, 2


class ModelFolder(Kind):
    """A small U-Net or temporal network, loaded and asked for one expected image."""

    name = "model"

    def prepare(self) -> None:
        torch.manual_seed(0)
        temporal = TemporalOptions(
            widths=(8, 8, 8, 8), blocks=(0, 0, 0, 0), decoder_width=8,
            decoder_blocks=(0, 0, 0, 0), fine_width=8, embedding=8,
        )  # fmt: skip
        save_model(Model(Temporal(temporal).eval(), "small"), self.seeds / "temporal")
        unet = UNetOptions(size=SIDE, previous=PREVIOUS, filters=(4, 4))
        save_model(Model(UNet(unet, PaperScaling()).eval(), "small"), self.seeds / "unet")

    def case(self, folder: Path, rng: Rng) -> Call:
        source = self.seeds / ("temporal", "unet")[rng.integers(2)]
        card = (source / "model.yaml").read_bytes()
        weights = (source / "model.safetensors").read_bytes()
        what = rng.integers(3)
        if what:
            card = as_yaml(mutate_tree(yaml.safe_load(card), rng), rng)
        if what != 1:
            weights = _mutate_weights(weights, rng)
        target = folder / "model"
        target.mkdir()
        (target / "model.yaml").write_bytes(card)
        (target / "model.safetensors").write_bytes(weights)
        return _load_and_expect


def _mutate_weights(data: bytes, rng: Rng) -> bytes:
    """Change the header's JSON, its length, some weights, or any bytes."""
    (length,) = struct.unpack_from("<Q", data)
    kind = rng.integers(5)
    if kind == 0:
        return mutate_bytes(data, rng)
    if kind == 1:
        lengths = (0, 1, length - 1, length + 1, len(data), 1 << 40, (1 << 64) - 1)
        return struct.pack("<Q", lengths[rng.integers(len(lengths))]) + data[8:]
    if kind == 2:
        header = json.dumps(mutate_tree(json.loads(data[8 : 8 + length]), rng)).encode()
        return struct.pack("<Q", len(header)) + header + data[8 + length :]
    values = np.frombuffer(data, np.float32, offset=8 + length).copy()
    number = (np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-40, 0.0)[rng.integers(7)]
    share = (None, 0.01, 0.5, 1.0)[rng.integers(4)]
    if share is None:
        values[rng.integers(values.size)] = number
    else:
        values[rng.random(values.size) < share] = number
    if kind == 4:
        piece = NASTY_BYTES[rng.integers(len(NASTY_BYTES))]
        return data[: 8 + length] + values.tobytes() + piece
    return data[: 8 + length] + values.tobytes()


def _load_and_expect() -> None:
    model = load_model("model", device="cpu")
    size = model.size or SIDE
    if size > 64 or (model.previous or 0) > 16:
        return
    window = _window(size, model.previous or PREVIOUS)
    expected = model.expect([window])[0]
    images = [expected.mean] if expected.std is None else [expected.mean, expected.std]
    if not np.isfinite(images).all():
        raise AcceptedError("a model whose expected image is not finite")


def _window(size: int, previous: int) -> Window:
    rng = np.random.default_rng(1)
    images = rng.normal(-12.0, 3.0, (previous + 1, 2, size, size)).astype(np.float32)
    conditions = np.ones((previous + 1, len(COLUMNS)), dtype=np.float32)
    times = np.arange(previous + 1).astype("datetime64[D]").astype("datetime64[ns]")
    elevation = np.ones((size, size), dtype=np.float32)
    return Window(images[:-1], images[-1], conditions, times, elevation)
