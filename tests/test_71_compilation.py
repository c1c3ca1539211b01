"""Compilation for shapes that come often, and copies to a device: what is predicted stays."""

import numpy as np
import pytest
import torch
from torch import nn

from sarcast.prediction import transfer
from sarcast.prediction.compilation import Compiler, tolerant
from sarcast.prediction.networks.context import TABLE_SHAPE
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.transfer import download, upload, upload_batch
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import Batch, concatenate

OPTIONS = TemporalOptions(
    widths=(8, 8, 12, 12), blocks=(1, 1, 1, 1), decoder_width=8, fine_width=4, embedding=16
)
PIXELS = 3 * 32 * 32
"""Pixels of the previous images of a batch."""


def _network() -> Temporal:
    """A network in which every layer has an effect."""
    torch.manual_seed(0)
    network = Temporal(OPTIONS).eval()
    for parameter in network.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.2)
    return network


def _batch(images: int = 3, side: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape, generator=generator)

    days = -12.0 * torch.arange(images, -1, -1.0)[None]
    return Batch(
        previous=draw(images, 2, side, side) - 12,
        target=draw(2, side, side) - 12,
        elevation=draw(side, side),
        conditions=draw(images + 1, len(COLUMNS)),
        times=(days.double() * 86_400e9).long(),
        days=days,
        day_of_year=torch.tensor([40.0]),
        context=torch.full((1, *TABLE_SHAPE), torch.nan),
    )


def test_a_shape_is_compiled_after_enough_pixels_of_it() -> None:
    """The third batch follows two; another shape, or number of targets, starts anew."""
    network, batch = _network(), _batch()
    compiler = Compiler(network, after=2 * PIXELS, backend="eager")
    chosen = [compiler.network_for(batch, 1) for _ in range(3)]
    assert [each is network for each in chosen] == [True, True, False]
    assert compiler.network_for(_batch(side=48), 1) is network
    assert compiler.network_for(batch, 2) is network
    assert compiler.network_for(batch, 1) is chosen[-1]
    assert Compiler(network, after=0, backend="eager").network_for(batch, 1) is not network


@torch.inference_mode()
def test_the_compiled_network_predicts_the_same() -> None:
    """Its layers went through the compiler; those of the network itself did not."""
    network, batch = _network(), _batch()
    compiled = Compiler(network, after=0, backend="eager").network_for(batch, 1)
    compiled_calls = [
        [part._compiled_call_impl is not None for part in each.modules()]
        for each in (network, compiled)
    ]
    assert not any(compiled_calls[0]) and sum(compiled_calls[1]) == 8 + 4 + 2
    torch._dynamo.reset()
    with tolerant():
        prediction = compiled.predict_targets(batch, 1)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    for ours, theirs in zip(prediction, network(*batch.inputs()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_what_cannot_be_compiled_is_computed_as_it_is() -> None:
    def fail(*_args: object) -> None:
        raise RuntimeError("there is no C compiler")

    network, batch = _network(), _batch()
    torch._dynamo.reset()
    compiled = Compiler(network, after=0, backend=fail).network_for(batch, 1)
    with tolerant():
        prediction = compiled.predict_targets(batch, 1)
    torch.testing.assert_close(prediction.mean, network(*batch.inputs()).mean)
    torch._dynamo.reset()
    with pytest.raises(Exception, match="there is no C compiler"):
        _predict_strictly(network, batch, fail)


def _predict_strictly(network: Temporal, batch: Batch, backend) -> None:
    """Predict without tolerance for what cannot be compiled."""
    Compiler(network, after=0, backend=backend).network_for(batch, 1).predict_targets(batch, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_batch_is_copied_to_a_device_each_baseline_once(monkeypatch, dtype) -> None:
    """In 16 bits, decibels move by less than 0.01 dB; gaps and all that is small stay."""
    batch = concatenate([_batch(), _batch()]).each(lambda part: part.repeat_interleave(3, dim=0))
    batch.previous[3:] -= 6.0
    batch.previous[:, 1, 0, 4] = torch.nan
    copied: list[torch.Size] = []
    monkeypatch.setattr(
        transfer,
        "upload",
        lambda images, *how: copied.append(images.shape) or upload(images, *how),
    )
    there = upload_batch(batch, 3, torch.device("cpu"), dtype)
    assert copied == [(2 * 3, 2, 32, 32)] and there.previous.dtype == dtype
    tolerance = 0.0 if dtype == torch.float32 else 0.01
    torch.testing.assert_close(
        there.previous.float(), batch.previous, rtol=0, atol=tolerance, equal_nan=True
    )
    assert there.target.equal(batch.target) and there.days.equal(batch.days)


def test_images_are_copied_back_as_arrays() -> None:
    images = torch.linspace(-31.0, 9.0, 24).reshape(2, 3, 4)
    np.testing.assert_array_equal(download(images), images)
