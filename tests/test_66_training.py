"""Training learns, stops and goes on to the same bytes; model folders keep what they are given."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from sarcast.errors import SarcastError
from sarcast.prediction import load_model, save_model
from sarcast.prediction.calibration import residual_scores
from sarcast.prediction.model import Model
from sarcast.prediction.networks.base import Prediction
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.networks.unet import UNet, UNetOptions, paper_scaling
from sarcast.prediction.training.augment import AugmentOptions
from sarcast.prediction.training.batches import mixed, sampled
from sarcast.prediction.training.fit import TrainOptions, _Loop, fit, launched
from sarcast.prediction.training.validation import ValidationWindows
from sarcast.sensor.conditions import PaperScaling
from sarcast.windows import Batch, WindowSampler, collate, cut_window, target_dates
from small_cubes import learnable_cube

NETWORK = UNetOptions(size=16, previous=2, filters=(8, 16), momentum=0.9)
OPTIONS = TrainOptions(
    steps=12, batch=4, learning_rate=3e-3, validate_every=4, validation_windows=8, accelerator="cpu"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("model") / "model"
    train(learnable_cube(), NETWORK, OPTIONS, to=folder)
    return folder


def train(cube: xr.Dataset, network: UNetOptions, options: TrainOptions, *, to: Path) -> Model:
    """Train on the early dates, validate on the last three, write the model folder."""
    dates = target_dates(cube, network.previous)
    sampler = WindowSampler([cube], [dates[:-3]], size=network.size, previous=network.previous, chooser="recent")
    rng = np.random.default_rng(options.seed)
    validation = sampler.with_targets([dates[-3:]]).draw(options.validation_windows, rng=rng)
    torch.manual_seed(options.seed)
    module = UNet(network, paper_scaling(sampler.draw(16, rng=rng)))
    batches = sampled(sampler, batch=options.batch, seed=options.seed)
    state = fit(batches, validation, module, options, folder=to.with_name("work"))
    told = {"steps": state.step, "history": state.history}
    model = Model(module.eval(), "U-Net", told)
    model = replace(model, scores=residual_scores(model, validation))
    save_model(model, to)
    return model


SCRIPT = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
torch.set_num_threads(1)
from small_cubes import learnable_cube
from test_66_training import NETWORK, OPTIONS, train
train(learnable_cube(), NETWORK, OPTIONS, to=Path({to!r}))
"""


def test_killed_training_goes_on_to_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    to = tmp_path / "model"
    script = SCRIPT.format(tests=str(Path(__file__).parent), to=str(to))
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as process:
        for _ in range(3000):
            if list(tmp_path.glob("work/checkpoints/step-*")):
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not to.exists()
    train(learnable_cube(), NETWORK, OPTIONS, to=to)
    assert (to / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
    assert (to / "model.yaml").read_text() == (trained / "model.yaml").read_text()


def test_training_learns(tmp_path: Path) -> None:
    cube = learnable_cube(dates=20)
    longer = OPTIONS.model_copy(update={"steps": 300, "validate_every": 50})
    model = train(cube, NETWORK, longer, to=tmp_path / "model")
    history = model.training["history"]
    assert history[-1]["training_loss"] < 0.4 * history[0]["training_loss"]
    assert model.scores is not None
    assert max(model.scores.rmse_db) < 1.6  # 2.2 dB is the spread of the pattern alone


def test_another_seed_gives_another_network(trained: Path, tmp_path: Path) -> None:
    other = OPTIONS.model_copy(update={"seed": 1})
    train(learnable_cube(), NETWORK, other, to=tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() != (
        trained / "model.safetensors"
    ).read_bytes()


def test_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    work = tmp_path / "model.training"
    batch = _loop(work, OPTIONS)
    batch.losses = [torch.ones(())]
    batch.validate(_NoLog())
    with pytest.raises(SarcastError, match=r"training with other training options; give"):
        _loop(work, OPTIONS.model_copy(update={"learning_rate": 1e-4}))
    with pytest.raises(SarcastError, match=r"training with other lessons; give"):
        _loop(work, OPTIONS, {"lessons": ["others"]})
    assert _loop(work, OPTIONS).state == batch.state


class _NoLog:
    def add_image(self, *_: object) -> None:
        pass

    def add_scalar(self, *_: object) -> None:
        pass


def _loop(work: Path, options: TrainOptions, about: dict | None = None) -> _Loop:
    network = UNet(NETWORK, PaperScaling())
    windows = [cut_window(learnable_cube(), 5, (0, 0), (16, 16), [3, 4])] * 2
    return _Loop(network, windows, options, work, launched(options), about or {})


def test_learning_rate_rises_and_falls_as_asked(tmp_path: Path) -> None:
    options = TrainOptions(steps=100, warmup=10, schedule="cosine", accelerator="cpu")
    loop = _loop(tmp_path, options)
    assert loop._rate(0) == pytest.approx(0.1, rel=1e-3)
    assert loop._rate(50) == pytest.approx(0.5)
    assert loop._rate(99) == pytest.approx(0.5 * (1 + np.cos(np.pi * 0.99)))
    assert _loop(tmp_path / "b", OPTIONS)._rate(9) == 1.0


def test_time_and_patience_end_training(tmp_path: Path) -> None:
    loop = _loop(tmp_path, TrainOptions(minutes=1, patience=2, accelerator="cpu"))
    loop.state.seconds = 59.0
    loop.state.best_step = 10
    loop.state.history = [{"step": 10}, {"step": 20}]
    assert not loop.over()
    loop.state.history.append({"step": 30})
    assert loop.over()
    loop.state.history = []
    loop.state.seconds = 60.0
    assert loop.over()


def test_progress_counts_to_what_will_end_training(tmp_path: Path) -> None:
    """A time limit hides a number of steps that will never be taken."""
    loop = _loop(tmp_path, OPTIONS.model_copy(update={"minutes": 5.0, "steps": 1000}))
    loop.state.seconds = 75.0
    assert loop.reached(20) == (0.25, "1.2 of 5 minutes, step 20")
    assert loop.reached(400) == (0.4, "400 of 1000")
    endless = _loop(tmp_path / "other", OPTIONS)
    assert endless.reached(3) == (0.25, "3 of 12")


def test_a_short_time_limit_still_gives_a_model(tmp_path: Path) -> None:
    hurried = OPTIONS.model_copy(update={"minutes": 1e-6})
    model = train(learnable_cube(), NETWORK, hurried, to=tmp_path / "model")
    assert model.training["steps"] == 1


def test_model_folder_gives_back_the_same_predictor(trained: Path, tmp_path: Path) -> None:
    model = load_model(trained, device="cpu")
    assert (model.size, model.previous) == (16, 2)
    save_model(model, tmp_path / "copy")
    copied = load_model(tmp_path / "copy", device="cpu")
    assert copied.training == model.training
    assert copied.scores == model.scores
    window = cut_window(learnable_cube(), 5, (2, 3), (16, 16), [3, 4])
    first, second = model.expect([window])[0], copied.expect([window] * 3)[2]
    np.testing.assert_allclose(first.mean, second.mean, rtol=1e-5)
    assert first.std is None


def test_scores_are_those_of_the_residuals(trained: Path) -> None:
    model = load_model(trained, device="cpu")
    window = cut_window(learnable_cube(), 11, (2, 3), (16, 16), [9, 10])
    window.target[:, 0] = np.nan
    residual = (window.target - model.expect([window])[0].mean)[:, 1:]
    scores = residual_scores(model, [window])
    assert scores.pixels == 15 * 16
    np.testing.assert_allclose(scores.rmse_db, np.sqrt((residual**2).mean(axis=(1, 2))), rtol=1e-5)
    norm = np.hypot(*residual)
    assert np.mean(norm <= scores.norm_quantiles_db[0.9]) == pytest.approx(0.9, abs=0.01)


def test_expected_image_is_nan_where_no_previous_image_saw(trained: Path) -> None:
    window = cut_window(learnable_cube(), 5, (2, 3), (16, 16), [3, 4])
    window.previous[:, :, 4, 5] = np.nan
    window.previous[0, :, 6, 7] = np.nan
    unseen = np.isnan(load_model(trained, device="cpu").expect([window])[0].mean)
    assert unseen[:, 4, 5].all()
    assert unseen.sum() == 2


def test_windows_of_the_wrong_shape_are_refused(trained: Path) -> None:
    model = load_model(trained, device="cpu")
    with pytest.raises(SarcastError, match=r"takes windows of 16 x 16 pixels, not of 8 x 8"):
        model.expect([cut_window(learnable_cube(), 5, (2, 3), (8, 8), [3, 4])])
    with pytest.raises(SarcastError, match=r"needs 2 previous images, not 1"):
        model.expect([cut_window(learnable_cube(), 5, (2, 3), (16, 16), [4])])


def _changed_card(trained: Path, folder: Path, **changes: object) -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    card = yaml.safe_load((trained / "model.yaml").read_text())
    (folder / "model.yaml").write_text(yaml.safe_dump({**card, **changes}))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, r"format 99, but this version of sarcast .* reads format 1"),
        ({"network": "oracle"}, r"network 'oracle'; known are unet"),
        ({"bands": ["HH", "HV"]}, r"made for bands \['HH', 'HV'\], but sarcast gives"),
        (
            {"scores": {"pixels": 3}},
            r"model.yaml lacks or misstates rmse_db \(Field required\)",
        ),
        ({"options": {"sizes": 32}}, r"model.yaml lacks or misstates"),
        ({"training": None}, r"model.yaml lacks or misstates"),
        ({"training": {"seen_conditions": {"wind": [0, 1]}}}, r"seen_conditions \(wind is none\)"),
        ({"std_factor": float("nan")}, r"misstates std_factor \(must be above 0, not nan\)"),
        ({"std_factor": -1.0}, r"misstates std_factor \(must be above 0, not -1.0\)"),
        (
            {"scores": {"rmse_db": [1, 1], "norm_quantiles_db": {}, "pixels": 1, "of_mean": 1}},
            r"misstates norm_quantiles_db",
        ),
        ({"options": {"size": 32, "previous": 2}}, r"not hold the weights that model.yaml"),
    ],
)
def test_strange_model_folders_are_refused(trained, tmp_path, change, message) -> None:
    with pytest.raises(SarcastError, match=message):
        load_model(_changed_card(trained, tmp_path / "model", **change), device="cpu")


def test_incomplete_model_folders_are_refused(trained: Path, tmp_path: Path) -> None:
    for name in ("model.yaml", "model.safetensors"):
        folder = _changed_card(trained, tmp_path / name)
        (folder / name).unlink()
        with pytest.raises(SarcastError, match=f"it has no {name}; give a folder"):
            load_model(folder)
    broken = _changed_card(trained, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(SarcastError, match=r"copy the folder again"):
        load_model(broken)


def test_a_device_or_precision_that_there_is_not(trained: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SarcastError, match="device cuda needs a GPU, but none was found"):
        load_model(trained, device="cuda")
    with pytest.raises(SarcastError, match="precision must be float32 or bfloat16, not 'float16'"):
        load_model(trained, precision="float16")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": AugmentOptions()}, "augment is for networks of any number of images"),
        ({"contrast": 1.0}, "contrast is not for the network unet"),
        ({"batch": 5, "accumulate": 3}, r"batch of 5 .* in 3 parts: .* unet sees at least 2"),
    ],
)
def test_options_that_are_not_for_a_network(tmp_path: Path, changes, message) -> None:
    options = OPTIONS.model_copy(update=changes)
    with pytest.raises(SarcastError, match=message):
        train(learnable_cube(), NETWORK, options, to=tmp_path / "model")


def test_batch_norm_is_never_given_one_window(tmp_path: Path, monkeypatch) -> None:
    network = UNet(NETWORK, PaperScaling())
    windows = [cut_window(learnable_cube(), 5, (0, 0), (16, 16), [3, 4])]
    loop = _Loop(network, windows, OPTIONS, tmp_path, launched(OPTIONS), {})
    seen = []

    def short_of_memory(prediction, target, goal=None):
        seen.append(len(target))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(network, "loss", short_of_memory)
    with pytest.raises(SarcastError, match="no memory for 6 windows in 3 parts; lower batch"):
        loop._gradients(_one_batch())
    assert seen == [6, 3, 2]


def test_a_model_is_not_written_over_unless_asked(trained: Path, tmp_path: Path) -> None:
    model: Model = replace(load_model(trained, device="cpu"), name="other")
    save_model(model, tmp_path / "model")
    with pytest.raises(SarcastError, match=r"--overwrite"):
        save_model(model, tmp_path / "model")
    save_model(replace(model, name="new"), tmp_path / "model", overwrite=True)
    assert load_model(tmp_path / "model", device="cpu").name == "new"


def _one_batch(count: int = 6) -> Batch:
    windows = [cut_window(learnable_cube(), 5, (place, 3), (16, 16), [3, 4]) for place in range(count)]
    return collate(windows)


def _plain_loop(work: Path, **changes: object) -> _Loop:
    """A loop of a network without batch norm, whose gradients add up over windows."""
    torch.manual_seed(0)
    network = Temporal(TemporalOptions(widths=(8, 8, 8, 8), decoder_width=8, embedding=8))
    options = OPTIONS.model_copy(update=changes)
    windows = [cut_window(learnable_cube(), 5, (0, 0), (16, 16), [3, 4])]
    return _Loop(network, windows, options, work, launched(options), {})


def _gradients(loop: _Loop) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in loop.raw.parameters() if p.grad is not None])


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    whole, parts = _plain_loop(tmp_path / "a"), _plain_loop(tmp_path / "b", accumulate=3)
    losses = [loop._gradients(_one_batch()) for loop in (whole, parts)]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(_gradients(whole), _gradients(parts), rtol=1e-3, atol=1e-6)


def test_out_of_memory_halves_what_is_worked_on(tmp_path: Path, monkeypatch, capsys) -> None:
    loop, twin = _plain_loop(tmp_path / "a"), _plain_loop(tmp_path / "b")
    forward = loop.raw.loss

    def short_of_memory(prediction, target, goal=None):
        if len(target) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return forward(prediction, target, goal)

    monkeypatch.setattr(loop.raw, "loss", short_of_memory)
    loop._gradients(_one_batch())
    twin._gradients(_one_batch())
    torch.testing.assert_close(_gradients(loop), _gradients(twin), rtol=1e-3, atol=1e-6)
    assert "out of memory: working on batches in 4 parts from now on" in capsys.readouterr().err
    monkeypatch.setattr(loop.raw, "loss", lambda *_: short_of_memory(None, [0] * 9))
    with pytest.raises(SarcastError, match=r"no memory for 6 windows .* lower batch"):
        loop._gradients(_one_batch())


def test_true_changes_are_no_target_and_the_oracle_falls_to_nothing(tmp_path: Path) -> None:
    loop = _plain_loop(tmp_path, oracle=0.8)
    batch = _one_batch()
    changed = torch.zeros(6, 16, 16, dtype=torch.bool)
    changed[2, 3, 4] = True
    truth = batch.target * 0.5 - 3.0
    batch = replace(batch, expected=truth, changed=changed)
    target, goal = loop._targets(batch)
    assert target.isnan().sum() == 2
    assert goal is not None
    biased = truth + (batch.target - truth).mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(goal[0], (0.2 * batch.target + 0.8 * biased)[0])
    loop.state.step = OPTIONS.steps
    torch.testing.assert_close(loop._targets(batch)[1], target, equal_nan=True)
    unknown = loop._targets(replace(batch, expected=None))[1]
    torch.testing.assert_close(unknown, target, equal_nan=True)


def test_the_goal_is_drawn_to_where_it_is_known(tmp_path: Path) -> None:
    batch = _one_batch()
    goal = batch.target + 1.0
    goal[1, 0, 2, 3] = torch.nan
    _, drawn = _plain_loop(tmp_path)._targets(replace(batch, goal=goal))
    expected = batch.target + 1.0
    expected[1, 0, 2, 3] -= 1.0
    torch.testing.assert_close(drawn, expected)


def test_contrast_counts_windows_whose_other_conditions_are_all_told(tmp_path: Path) -> None:
    batch = _one_batch(2)
    other = batch.conditions[:, -1].nan_to_num(1.0)
    moved = torch.tensor([1.0, 3.0])[:, None, None, None].expand(batch.target.shape)
    twice = replace(
        batch,
        expected=batch.target,
        counterfactual_conditions=other,
        counterfactual_expected=batch.target + moved,
    )
    plain, held = (_plain_loop(tmp_path / f"{k}", contrast=k) for k in (0.0, 2.0))
    once = plain._loss(twice)
    torch.testing.assert_close(held._loss(batch), once)
    usual = held._prediction(batch).window_variance.mean(dim=(1, 2, 3))
    told = held._loss(twice) - once  # untrained, conditions move nothing
    torch.testing.assert_close(told, 2.0 * (torch.tensor([1.0, 9.0]) / usual).mean())
    other[1, 0] = torch.nan
    torch.testing.assert_close(held._loss(twice) - once, 1.0 / usual[0])


def test_what_enters_the_network_keeps_its_precision(tmp_path: Path, monkeypatch) -> None:
    loop = _plain_loop(tmp_path, precision="bf16-mixed")
    batch, entered = _one_batch(), []
    forward = loop.raw.forward

    def watched(*inputs):
        assert torch.is_autocast_enabled("cpu")
        entered.extend(inputs)
        return forward(*inputs)

    monkeypatch.setattr(loop.raw, "forward", watched)
    loop._prediction(batch)
    for asked, came in zip(batch.inputs(), entered, strict=True):
        torch.testing.assert_close(came, asked, rtol=0, atol=0, equal_nan=True)


def test_streams_are_mixed_by_their_weights_and_each_in_its_order() -> None:
    streams = [(3.0, lambda *place: ("a", *place)), (1.0, lambda *place: ("b", *place))]
    batches = mixed(streams, seed=0)
    drawn = [batches(step, 1) for step in range(400)]
    assert drawn == [batches(step, 1) for step in range(400)]
    by_name = {name: [one for one in drawn if one[0] == name] for name in "ab"}
    assert len(by_name["b"]) == pytest.approx(100, abs=25)
    for name, several in by_name.items():
        assert several == [(name, number, 1) for number in range(len(several))]


def test_devices_get_windows_of_their_own() -> None:
    cube = learnable_cube()
    sampler = WindowSampler([cube], [target_dates(cube, 2)], size=8, previous=2, chooser="recent")
    batches = sampled(sampler, batch=4, seed=0)
    assert batches(3, 0).previous.equal(batches(3, 0).previous)
    assert not batches(3, 0).previous.equal(batches(3, 1).previous)
    assert not batches(3, 0).previous.equal(batches(4, 0).previous)


def test_validation_is_of_the_windows_not_of_their_batches() -> None:
    """Each window counts alike, and each pixel in the error; NaN of the target counts nowhere."""
    cube = learnable_cube()
    windows = [cut_window(cube, place, (0, 0), (16, 16), [place - 2, place - 1]) for place in range(3, 8)]
    windows[1].target[:, :3] = np.nan
    bias = torch.tensor([1.0, -2.0])[None, :, None, None]

    class Biased:
        @staticmethod
        def loss(prediction: Prediction, target: torch.Tensor) -> torch.Tensor:
            return target[:, 0, -1, -1].mean() + 0.0 * prediction.mean.mean()

    def predict(batch: Batch) -> Prediction:
        return Prediction(batch.target.nan_to_num(0.0) + bias)

    for batch in (1, 2, 5):
        found = ValidationWindows(windows, batch, torch.device("cpu")).validate(Biased(), predict)
        corners = [window.target[0, -1, -1] for window in windows]
        assert found.loss == pytest.approx(np.mean(corners), rel=1e-5)
        assert found.rmse_db == pytest.approx([1.0, 2.0], abs=1e-5)
        assert found.error_db2 == pytest.approx(2.5, abs=1e-5)
        actual = np.clip((windows[0].target[0] + 25.0) / 25.0, 0.0, 1.0)
        np.testing.assert_allclose(found.image[0, :, :16], actual, atol=1e-6)
        assert found.image.shape == (1, 16, 32)


def test_a_loss_that_is_not_finite_stops_training(tmp_path: Path, monkeypatch) -> None:
    loop = _plain_loop(tmp_path)
    monkeypatch.setattr(loop.raw, "loss", lambda *_: torch.tensor(torch.nan))
    with pytest.raises(SarcastError, match=r"loss after step 0 is nan; lower learning_rate"):
        loop.validate(_NoLog())


def test_dropout_differs_from_step_to_step_and_not_from_run_to_run(tmp_path: Path) -> None:
    def losses(work: Path) -> list[float]:
        torch.manual_seed(0)
        network = UNet(NETWORK.model_copy(update={"dropout": 0.5}), PaperScaling())
        window = cut_window(learnable_cube(), 5, (0, 0), (16, 16), [3, 4])
        still = OPTIONS.model_copy(update={"learning_rate": 1e-12})
        loop = _Loop(network, [window], still, work, launched(still), {})
        for step in range(2):
            loop.train(step, _one_batch())
        return [float(loss) for loss in loop.losses]

    first, second = losses(tmp_path / "a")
    assert first != pytest.approx(second, rel=1e-3)
    assert losses(tmp_path / "b") == [first, second]
