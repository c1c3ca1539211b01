"""Encoded baselines that are kept: the same expected images, with less work."""

import pickle
from collections.abc import Callable, Hashable, Iterator
from dataclasses import is_dataclass, replace

import numpy as np
import pytest
import torch

from sarcast.cache import Cache
from sarcast.prediction.engine import Engine
from sarcast.prediction.model import Model, Remembered
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import Window

OPTIONS = TemporalOptions(
    widths=(8, 8, 8, 8), blocks=(1, 1, 0, 1), decoder_width=8, decoder_blocks=(1, 1, 1, 1),
    fine_width=4, embedding=8,
)  # fmt: skip
SIDE = 128
"""So large that the engine predicts."""


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    network = Temporal(OPTIONS).eval()
    for parameter in network.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.2)
    return Model(network, "small", context="none")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each baseline that is encoded."""
    calls: list[int] = []
    encode = Engine._encode

    def spy(self: Engine, baseline: object) -> object:
        calls.append(1)
        return encode(self, baseline)

    monkeypatch.setattr(Engine, "_encode", spy)
    return calls


def window(seed: int = 1) -> Window:
    rng = np.random.default_rng(seed)
    times = np.datetime64("2024-01-01", "ns") + np.arange(4) * np.timedelta64(12, "D")
    return Window(
        previous=rng.normal(-12.0, 2.0, (3, 2, SIDE, SIDE)).astype(np.float32),
        target=rng.normal(-12.0, 2.0, (2, SIDE, SIDE)).astype(np.float32),
        elevation=np.zeros((SIDE, SIDE), dtype=np.float32),
        conditions=np.full((4, len(COLUMNS)), 5.0, dtype=np.float32),
        times=times,
        bands=("VV", "VH"),
    )


def under(start: Window, temperature: float) -> Window:
    return start.with_conditions({"temperature": temperature})


def test_a_baseline_is_encoded_once_for_all_conditions(model: Model, encoded: list[int]) -> None:
    start, keeping = window(), replace(model, memory=Cache(2**24))
    found = [keeping.expect([under(start, each)])[0] for each in (1.0, 9.0, 1.0)]
    assert len(encoded) == 1
    anew = [model.expect([under(start, each)])[0] for each in (1.0, 9.0, 1.0)]
    assert len(encoded) == 4
    for one, other in zip(found, anew, strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.std, other.std)
    assert not np.array_equal(found[0].mean, found[1].mean)


def test_other_images_conditions_or_dates_of_the_baseline_are_encoded_anew(
    model: Model, encoded: list[int]
) -> None:
    start, keeping = window(), replace(model, memory=Cache(2**24))
    rows = start.conditions.copy()
    rows[0, 0] = 20.0
    later = start.times + np.timedelta64(30, "D")
    others = (
        start, window(2), replace(start, conditions=rows), replace(start, times=later),
        replace(start, elevation=start.elevation + 1.0),
    )  # fmt: skip
    for number, other in enumerate(others, start=1):
        (found,) = keeping.expect([other])
        assert len(encoded) == number
        np.testing.assert_array_equal(found.mean, model.expect([other])[0].mean)
        encoded.pop()


class Watched(Cache[Remembered]):
    """A cache that shows what it gave last."""

    def get(self, key: Hashable, make: Callable[[], Remembered]) -> Remembered:
        self.last = super().get(key, make)
        return self.last


def test_more_than_the_memory_holds_is_encoded_anew(model: Model, encoded: list[int]) -> None:
    one, other, memory = window(), window(2), Watched(2**24)
    replace(model, memory=memory).expect([one])
    small = replace(model, memory=Cache(memory.last.nbytes))
    for each in (one, one, other, one):
        small.expect([each])
    assert len(encoded) == 1 + 3


def test_what_is_kept_of_a_baseline_is_counted(model: Model) -> None:
    memory = Watched(2**24)
    replace(model, memory=memory).expect([window()])
    reached = sum(part.nbytes for part in _parts(memory.last))
    assert memory.last.nbytes == reached > window().previous.nbytes


def _parts(value: object) -> Iterator[torch.Tensor | np.ndarray]:
    if isinstance(value, torch.Tensor | np.ndarray):
        yield value
    elif is_dataclass(value):
        yield from _parts(list(vars(value).values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _parts(each)


def test_a_hidden_target_shares_what_is_prepared(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, prepare = [], Engine.__init__
    monkeypatch.setattr(Engine, "__init__", lambda *words: made.append(1) or prepare(*words))
    seeing = replace(model, context="scene")
    hidden = seeing.without_context()
    assert hidden.context == "none"
    (found,) = hidden.expect([window()])
    seeing.expect([window()])
    assert len(made) == 1
    np.testing.assert_array_equal(found.mean, model.expect([window()])[0].mean)


def test_another_process_begins_without_memory(model: Model) -> None:
    keeping = replace(model, memory=Cache(2**24))
    keeping.expect([window()])
    assert pickle.loads(pickle.dumps(keeping)).memory is None
