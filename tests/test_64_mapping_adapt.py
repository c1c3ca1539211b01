"""Adapting a network to an area: it learns, or stays as it was."""

from pathlib import Path

import pytest
import torch

from sarcast.mapping import adapt as room
from sarcast.mapping.adapt import adapt
from sarcast.mapping.model import Model
from sarcast.mapping.temporal import Temporal, TemporalOptions
from sarcast.mapping.training import TrainOptions
from sarcast.windows import WindowSampler, target_dates
from small_cubes import learnable_cube

CUBE = learnable_cube(dates=24)
OPTIONS = TrainOptions(
    steps=60, batch=4, learning_rate=5e-3, validate_every=20, validation_windows=8,
    schedule="cosine", accelerator="cpu", clip=1.0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _model() -> Model:
    torch.manual_seed(0)
    options = TemporalOptions(
        widths=(16, 8, 8, 8), blocks=(1, 1, 1, 1), decoder_width=16,
        decoder_blocks=(1, 1, 1, 1), fine_width=8, embedding=16,
    )  # fmt: skip
    told = {"seen_conditions": {"temperature": [5.0, 6.0], "incidence": [30.0, 40.0]}}
    return Model(Temporal(options).eval(), "base", told)


def _samplers() -> tuple[WindowSampler, WindowSampler]:
    dates = target_dates(CUBE, 3)
    training = WindowSampler([CUBE], [dates[:-5]], size=16, previous=3)
    return training, training.of_targets([dates[-5:]])


def test_the_temperature_of_an_area_is_learned(tmp_path: Path) -> None:
    model = _model()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    adapted = adapt(model, *_samplers(), OPTIONS, folder=tmp_path)
    assert adapted.scores is not None
    assert adapted.scores.of_mean < 0.75  # the mean of three images knows no temperature
    assert adapted.scores.within_std is not None
    assert adapted.scores.within_std[0] == pytest.approx(0.6827, abs=0.01)
    assert adapted.training["adapted"]["best_step"] > 0
    for name, tensor in model.network.state_dict().items():
        assert tensor.equal(before[name])


def test_a_training_that_does_not_help_is_left_out(tmp_path: Path, monkeypatch) -> None:
    fit = room.fit

    def harm(batches, validation, network, *rest, **named):
        state = fit(batches, validation, network, *rest, **named)
        for parameter in network.parameters():
            parameter.data += 1.0
        return state

    monkeypatch.setattr(room, "fit", harm)
    model = _model()
    adapted = adapt(model, *_samplers(), OPTIONS.model_copy(update={"steps": 1}), folder=tmp_path)
    assert adapted.training["adapted"]["best_step"] == 0
    assert adapted.network is model.network


def test_conditions_of_the_area_count_as_seen(tmp_path: Path) -> None:
    adapted = adapt(
        _model(), *_samplers(), OPTIONS.model_copy(update={"steps": 1}), folder=tmp_path
    )
    low, high = adapted.training["seen_conditions"]["temperature"]
    assert low < 5.0
    assert high > 6.0
    assert adapted.training["seen_conditions"]["incidence"] == [30.0, 40.0]
