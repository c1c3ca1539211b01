"""Adapting a network to an area: it learns, or stays as it was."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sarcast.prediction.model import Model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.networks.unet import UNet, UNetOptions
from sarcast.prediction.training import train as train_module
from sarcast.prediction.training.adapt import (
    adapt,
    adaptation_options,
    prevent_date_memorisation,
)
from sarcast.prediction.training.batches import sampled
from sarcast.prediction.training.options import TrainOptions
from sarcast.sensor.conditions import PRECIPITATION, TEMPERATURE, PaperScaling
from sarcast.windows import WindowSampler, split_by_date, target_dates
from small_cubes import learnable_cube

CUBE = learnable_cube(dates=24)
OPTIONS = TrainOptions(
    steps=60, batch=4, learning_rate=5e-3, validate_every=20, validation_windows=8,
    schedule="cosine", accelerator="cpu", clip=1.0,
)  # fmt: skip


def _model() -> Model:
    torch.manual_seed(0)
    options = TemporalOptions(
        widths=(16, 8, 8, 8), blocks=(1, 1, 1, 1), decoder_width=16,
        decoder_blocks=(1, 1, 1, 1), fine_width=8, embedding=16,
    )  # fmt: skip
    record = {"seen_conditions": {"temperature": [5.0, 6.0], "incidence": [30.0, 40.0]}}
    return Model(Temporal(options).eval(), "base", record)


def _samplers() -> tuple[WindowSampler, WindowSampler]:
    dates = target_dates(CUBE, 3)
    training = WindowSampler([CUBE], [dates[:-5]], size=16, previous=3, chooser="recent")
    return training, training.with_targets([dates[-5:]])


def test_the_temperature_of_an_area_is_learned(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO", "sarcast")
    model = _model()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    adapted = adapt(model, *_samplers(), OPTIONS, to=tmp_path)
    assert adapted.scores is not None
    assert adapted.scores.of_mean < 0.75  # the mean of three images knows no temperature
    assert adapted.scores.within_std is not None
    assert adapted.scores.within_std[0] == pytest.approx(0.6827, abs=0.01)
    assert adapted.training["adapted"]["best_step"] > 0
    _, validation = _samplers()
    windows = validation.draw(8, rng=np.random.default_rng([0, 1]))
    squares = [
        np.mean([(w.target - e.mean) ** 2 for w, e in zip(windows, m.expect(windows), strict=True)])
        for m in (adapted, replace(model, training={}))
    ]
    gain = 100.0 * (1.0 - squares[0] / squares[1])
    assert adapted.training["adapted"]["gain_percent"] == pytest.approx(gain, abs=0.02)
    line = f"the adapted weights have a {gain:.1f} % lower squared error than base on the"
    assert [line in message for message in caplog.messages].count(True) == 1
    low, high = adapted.training["seen_conditions"]["temperature"]
    assert low < 5.0
    assert high > 6.0
    assert adapted.training["seen_conditions"]["incidence"] == [30.0, 40.0]
    for name, tensor in model.network.state_dict().items():
        assert tensor.equal(before[name])


def test_a_training_that_raises_the_error_is_discarded(tmp_path: Path, monkeypatch, caplog) -> None:
    caplog.set_level("INFO", "sarcast")
    fit = train_module.fit

    def harm(batches, validation, network, *rest, **named):
        state = fit(batches, validation, network, *rest, **named)
        for parameter in network.parameters():
            parameter.data += 1.0
        return state

    monkeypatch.setattr(train_module, "fit", harm)
    model = _model()
    adapted = adapt(model, *_samplers(), OPTIONS.model_copy(update={"steps": 1}), to=tmp_path)
    assert adapted.training["adapted"]["best_step"] == 0
    assert adapted.training["adapted"]["gain_percent"] < 0.0
    assert "higher squared error than base on the validation windows: base is kept" in caplog.text
    assert adapted.network is model.network
    assert adapted.training["seen_conditions"] == model.training["seen_conditions"]


def test_options_that_are_set_override_those_of_adaptation() -> None:
    options = adaptation_options(TrainOptions(batch=3, schedule="constant"), _model())
    assert (options.batch, options.schedule) == (3, "constant")
    assert (options.minutes, options.learning_rate, options.average) == (5.0, 3e-5, 0.95)
    assert options.augment is not None
    network = UNet(UNetOptions(size=16, filters=(8, 8)), PaperScaling())
    assert adaptation_options(TrainOptions(), Model(network, "unet")).augment is None


def test_days_of_the_year_are_drawn_and_all_else_is_kept() -> None:
    training, _ = _samplers()
    batch = sampled(training, batch=100, seed=3)(5, 0)
    batch.conditions[:, -1, PRECIPITATION] = 0.0
    batches = prevent_date_memorisation(lambda *_: batch, seed=3)
    drawn = [batches(step, 0) for step in (5, 5, 6)]
    days = [each.day_of_year for each in drawn]
    assert days[0].equal(days[1]) and not days[0].equal(days[2])
    assert abs(float(days[0].mean()) - 182.6) < 5.0 * 105.0 / 10.0
    assert 0.0 <= float(days[0].min()) < 20.0 and 345.0 < float(days[0].max()) < 366.0
    for field in fields(batch):
        if field.name != "day_of_year":
            before, after = getattr(batch, field.name), getattr(drawn[0], field.name)
            assert before is after or torch.allclose(before, after, atol=0.0, equal_nan=True)


def test_the_level_of_half_of_the_targets_without_weather_is_mirrored() -> None:
    """The targets lie 2 dB above all previous images; of some, rain or temperature is known."""
    training, _ = _samplers()
    batch = sampled(training, batch=200, seed=3)(5, 0)
    batch = replace(batch, previous=torch.zeros_like(batch.previous))
    batch = replace(batch, target=torch.full_like(batch.target, 2.0))
    batch.conditions[:, -1] = torch.nan
    batch.conditions[:50, -1, PRECIPITATION] = 1.0
    batch.conditions[50:100, -1, TEMPERATURE] = 1.0
    target = prevent_date_memorisation(lambda *_: batch, seed=3)(5, 0).target
    assert target[:100].equal(batch.target[:100])
    without = target[100:]
    kept = (without - 2.0).abs().amax((1, 2, 3)) < 1e-6
    assert kept.float().mean() == pytest.approx(0.5, abs=0.15)
    assert without.abs().sub(2.0).abs().max() < 1e-6


@pytest.mark.parametrize(("share", "kept"), [(0.2, 17), (0.01, 20), (0.99, 1)])
def test_the_last_dates_validate_and_at_least_one_does_each(share: float, kept: int) -> None:
    early, late = split_by_date([CUBE], size=16, previous=3, share=share, chooser="recent")
    assert len(early.targets[0]) == kept
    both = [*early.targets[0], *late.targets[0]]
    assert both == list(target_dates(CUBE, 3))
    first, last = (str(CUBE["time"].values[index])[:10] for index in (both[0], both[-1]))
    assert (early.dates()[0], late.dates()[-1]) == (first, last)
