"""The number format of the convolutions: chosen by the device, said once, recorded."""

import logging

import numpy as np
import pytest
import torch

from sarcast.errors import SarcastError
from sarcast.prediction import load_model, load_models, precision
from sarcast.prediction.engine import Engine
from sarcast.prediction.model import ENGINE_PIXELS
from sarcast.prediction.precision import has_bfloat16, number_format
from sarcast.windows import cut_window
from small_cubes import learnable_cube


@pytest.fixture
def processor(monkeypatch):
    """Say what the processor has arithmetic for."""
    precision._log_choice.cache_clear()

    def has(*, avx512: bool = False, amx: bool = False) -> None:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)

    yield has
    precision._log_choice.cache_clear()


@pytest.mark.parametrize(
    ("features", "chosen"),
    [({}, "float32"), ({"avx512": True}, "bfloat16"), ({"amx": True}, "bfloat16")],
)
def test_auto_is_bfloat16_where_the_processor_has_it(processor, features, chosen) -> None:
    processor(**features)
    assert number_format("auto", "cpu") == chosen
    assert load_model("base", device="cpu").precision == chosen
    assert [model.precision for model in load_models(["base"], device="cpu")] == [chosen]
    assert number_format("auto", "meta") == "float32"


@pytest.mark.parametrize("emulated", [False, True])
def test_auto_is_bfloat16_on_gpus_that_do_not_emulate_it(monkeypatch, emulated) -> None:
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or not emulated,
    )
    assert has_bfloat16("cuda:1") == (not emulated)


def test_a_given_precision_overrides_the_choice(processor) -> None:
    processor(avx512=True)
    assert load_model("base", device="cpu", precision="float32").precision == "float32"
    processor()
    assert load_model("base", device="cpu", precision="bfloat16").precision == "bfloat16"
    with pytest.raises(SarcastError, match="must be auto or float32 or bfloat16, not 'float16'"):
        load_model("base", precision="float16")


def test_the_choice_is_logged_once(processor, caplog) -> None:
    processor(avx512=True)
    with caplog.at_level(logging.INFO, "sarcast"):
        for _ in range(2):
            load_model("base", device="cpu")
        number_format("bfloat16", "cpu")
    assert [record.message for record in caplog.records] == [
        "convolutions in bfloat16, which this device is fast in; precision float32 is exact"
    ]


def test_large_windows_are_computed_by_the_engine(monkeypatch) -> None:
    """The engine and the network give the same on both sides of the limit."""
    model = load_model("base", device="cpu", precision="float32")
    window = cut_window(learnable_cube(), 5, (2, 3), (20, 22), [1, 3, 4])
    calls: list[int] = []
    predict = Engine.predict_targets
    monkeypatch.setattr(
        Engine,
        "predict_targets",
        lambda self, batch, targets, *more: (
            calls.append(targets) or predict(self, batch, targets, *more)
        ),
    )
    (by_network,) = model.expect([window])
    assert not calls and ENGINE_PIXELS > 20 * 22
    monkeypatch.setattr("sarcast.prediction.model.ENGINE_PIXELS", 20 * 22)
    (by_engine,) = model.expect([window])
    assert calls == [1]
    np.testing.assert_allclose(by_engine.mean, by_network.mean, rtol=0, atol=1e-3)
    np.testing.assert_allclose(by_engine.std, by_network.std, rtol=1e-3)
