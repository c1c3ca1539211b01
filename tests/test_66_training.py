"""Training learns, stops and resumes to the same bytes; model folders keep what they are given."""

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
from sarcast.prediction.model_folder import weights
from sarcast.prediction.networks.base import Prediction
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.networks.unet import UNet, UNetOptions, paper_scaling
from sarcast.prediction.training.augment import AugmentOptions
from sarcast.prediction.training.batches import mixed, sampled
from sarcast.prediction.training.checkpoint import (
    State,
    optimiser_state,
    read_latest,
    restore_optimiser,
)
from sarcast.prediction.training.fit import _checkpoint, _described, _Validator, fit, launch
from sarcast.prediction.training.objective import FOREST_WEIGHT
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.schedule import is_over, learning_rate_factor, progress_text
from sarcast.prediction.training.trainer import Trainer
from sarcast.prediction.training.validation import ValidationWindows
from sarcast.sensor.conditions import PaperScaling
from sarcast.windows import Batch, Window, WindowSampler, collate, cut_window, target_dates
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
    sampler = WindowSampler(
        [cube], [dates[:-3]], size=network.size, previous=network.previous, chooser="recent"
    )
    rng = np.random.default_rng(options.seed)
    validation = sampler.with_targets([dates[-3:]]).draw(options.validation_windows, rng=rng)
    torch.manual_seed(options.seed)
    module = UNet(network, paper_scaling(sampler.draw(16, rng=rng)))
    batches = sampled(sampler, batch=options.batch, seed=options.seed)
    state = fit(batches, validation, module, options, folder=to.with_name("work"))
    record = {"steps": state.step, "history": state.history}
    model = Model(module.eval(), "U-Net", record)
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
    cube = learnable_cube()
    train(cube, NETWORK, OPTIONS, to=tmp_path / "model")
    checkpoints, network = tmp_path / "work" / "checkpoints", UNet(NETWORK, PaperScaling())
    other = OPTIONS.model_copy(update={"learning_rate": 1e-4})
    with pytest.raises(SarcastError, match=r"training with other training options; give"):
        read_latest(checkpoints, _described(network, other, {}))
    with pytest.raises(SarcastError, match=r"training with other sources; give"):
        read_latest(checkpoints, _described(network, OPTIONS, {"sources": ["others"]}))
    same = read_latest(checkpoints, _described(network, OPTIONS, {}))
    assert same is not None
    assert same.state.step == OPTIONS.steps
    assert [record["step"] for record in same.state.history] == [4, 8, 12]


def _trainer(options: TrainOptions) -> Trainer:
    return Trainer(UNet(NETWORK, PaperScaling()), options, launch(options))


def test_learning_rate_rises_and_falls_as_asked() -> None:
    options = TrainOptions(steps=100, warmup=10, schedule="cosine", accelerator="cpu")
    assert learning_rate_factor(options, 0, 0.0) == pytest.approx(0.1, rel=1e-3)
    assert learning_rate_factor(options, 50, 0.0) == pytest.approx(0.5)
    last = 0.5 * (1 + np.cos(np.pi * 0.99))
    assert learning_rate_factor(options, 99, 0.0) == pytest.approx(last)
    assert learning_rate_factor(OPTIONS, 9, 0.0) == 1.0
    hurried = options.model_copy(update={"minutes": 1.0})
    assert learning_rate_factor(hurried, 50, 45.0) == pytest.approx(0.5 * (1 - np.sqrt(0.5)))


def test_every_step_has_the_rate_of_its_steps_and_seconds(monkeypatch) -> None:
    """Also the first one after a checkpoint, whose seconds count on."""
    clock = iter(np.arange(0.0, 1000.0, 6.0).tolist())
    monkeypatch.setattr("sarcast.prediction.training.trainer.time.monotonic", lambda: next(clock))
    options = OPTIONS.model_copy(
        update={"steps": 1000, "minutes": 1.0, "warmup": 2, "schedule": "cosine"}
    )
    trainer = _trainer(options)
    rates = []
    for _ in range(5):
        rates.append(trainer.optimiser.param_groups[0]["lr"])
        trainer.step(_one_batch())
    seconds = 6.0 * np.arange(5)
    rising = np.minimum((np.arange(5) + 1) / 2, 1.0)
    expected = 3e-3 * rising * 0.5 * (1 + np.cos(np.pi * np.maximum(seconds / 60.0, 0.0)))
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    checkpoint = _checkpoint(trainer, {})
    resumed = Trainer(UNet(NETWORK, PaperScaling()), options, launch(options), checkpoint)
    assert resumed.optimiser.param_groups[0]["lr"] == pytest.approx(
        3e-3 * 0.5 * (1 + np.cos(np.pi * 0.5)), rel=1e-12
    )


def test_restored_moments_have_the_memory_layout_of_their_parameters() -> None:
    """Fused AdamW of a GPU refuses others."""
    trainer = _trainer(OPTIONS)
    trainer.step(_one_batch())
    saved = optimiser_state(trainer.optimiser)
    assert all(tensor.is_contiguous() for tensor in saved.values())
    resumed = _trainer(OPTIONS)
    restore_optimiser(resumed.optimiser, saved)
    layouts = set()
    for before, after in zip(
        trainer.network.parameters(), resumed.network.parameters(), strict=True
    ):
        layouts.add(after.is_contiguous())
        for name in ("exp_avg", "exp_avg_sq"):
            moment = resumed.optimiser.state[after][name]
            assert moment.stride() == after.stride()
            assert moment.equal(trainer.optimiser.state[before][name])
    assert layouts == {True, False}


def test_time_and_patience_end_training() -> None:
    options = TrainOptions(minutes=1, patience=2, accelerator="cpu")
    state = State(seconds=59.0, best_step=10, history=[{"step": 10}, {"step": 20}])
    assert not is_over(options, 20, state.seconds, state.validations_without_gain)
    state.history.append({"step": 30})
    assert is_over(options, 30, state.seconds, state.validations_without_gain)
    assert is_over(options, 30, 60.0, 0)
    assert is_over(options, options.steps, 59.0, 0)


def test_progress_counts_to_what_will_end_training() -> None:
    """A time limit hides a number of steps that will never be taken."""
    options = OPTIONS.model_copy(update={"minutes": 5.0, "steps": 1000})
    assert progress_text(options, 20, 75.0) == (0.25, "1.2 of 5 minutes, step 20")
    assert progress_text(options, 400, 75.0) == (0.4, "400 of 1000")
    assert progress_text(OPTIONS, 3, 75.0) == (0.25, "3 of 12")


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
        ({"format": 99}, r"format 99, but this version of sarcast .* reads format 2"),
        ({"network": "oracle"}, r"network 'oracle'; known are unet"),
        (
            {"bands": ["HH", "HV"]},
            r"made for bands \['HH', 'HV'\], but this version of sarcast uses",
        ),
        (
            {"scores": {"pixels": 3}},
            r"model.yaml lacks or misstates rmse_db \(Field required\)",
        ),
        ({"options": {"sizes": 32}}, r"model.yaml lacks or misstates"),
        ({"training": None}, r"model.yaml lacks or misstates"),
        (
            {"training": {"seen_conditions": {"wind": [0, 1]}}},
            r"seen_conditions \(wind is not a condition\)",
        ),
        ({"std_factor": float("nan")}, r"misstates std_factor \(must be from -1e\+09 to 1e\+09\)"),
        ({"std_factor": -1.0}, r"misstates std_factor \(must be above 0, not -1.0\)"),
        (
            {"scores": {"rmse_db": [1, 1], "norm_quantiles_db": {}, "pixels": 1, "of_mean": 1}},
            r"misstates norm_quantiles_db",
        ),
        ({"options": {"size": 32, "previous": 2}}, r"not contain the weights that model.yaml"),
    ],
)
def test_damaged_model_folders_are_refused(trained, tmp_path, change, message) -> None:
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


def test_a_device_that_there_is_not(trained: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SarcastError, match="device cuda needs a GPU, but none was found"):
        load_model(trained, device="cuda")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": AugmentOptions()}, "augment is for networks of any number of images"),
        ({"contrast": 1.0}, "contrast does not apply to the network unet"),
        ({"batch": 5, "accumulate": 3}, r"batch of 5 .* in 3 parts: .* unet needs at least 2"),
    ],
)
def test_options_that_are_not_for_a_network(tmp_path: Path, changes, message) -> None:
    options = OPTIONS.model_copy(update=changes)
    with pytest.raises(SarcastError, match=message):
        train(learnable_cube(), NETWORK, options, to=tmp_path / "model")


def test_batch_norm_is_never_given_one_window(monkeypatch) -> None:
    trainer = _trainer(OPTIONS)
    windows = []

    def short_of_memory(prediction, target, goal=None):
        windows.append(len(target))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.network, "loss", short_of_memory)
    with pytest.raises(SarcastError, match="no memory for 6 windows in 3 parts; lower batch"):
        trainer.gradients(_one_batch())
    assert windows == [6, 3, 2]


def test_a_model_is_not_written_over_unless_asked(trained: Path, tmp_path: Path) -> None:
    model: Model = replace(load_model(trained, device="cpu"), name="other")
    save_model(model, tmp_path / "model")
    with pytest.raises(SarcastError, match=r"--overwrite"):
        save_model(model, tmp_path / "model")
    save_model(replace(model, name="new"), tmp_path / "model", overwrite=True)
    assert load_model(tmp_path / "model", device="cpu").name == "new"


def _one_batch(count: int = 6) -> Batch:
    cube = learnable_cube()
    windows = [cut_window(cube, 5, (row, 3), (16, 16), [3, 4]) for row in range(count)]
    return collate(windows)


def _plain_trainer(**changes: object) -> Trainer:
    """A trainer of a network without batch norm, whose gradients add up over windows."""
    torch.manual_seed(0)
    network = Temporal(TemporalOptions(widths=(8, 8, 8, 8), decoder_width=8, embedding=8))
    options = OPTIONS.model_copy(update=changes)
    return Trainer(network, options, launch(options))


def _gradients(trainer: Trainer) -> torch.Tensor:
    parameters = trainer.network.parameters()
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


def test_accumulated_gradients_are_those_of_the_whole_batch() -> None:
    whole, parts = _plain_trainer(), _plain_trainer(accumulate=3)
    losses = [trainer.gradients(_one_batch()) for trainer in (whole, parts)]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(_gradients(whole), _gradients(parts), rtol=1e-3, atol=1e-6)


def test_out_of_memory_halves_the_parts_of_a_batch(monkeypatch, capsys) -> None:
    trainer, twin = _plain_trainer(), _plain_trainer()
    loss = trainer.network.loss

    def short_of_memory(prediction, target, goal=None):
        if len(target) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return loss(prediction, target, goal)

    monkeypatch.setattr(trainer.network, "loss", short_of_memory)
    trainer.gradients(_one_batch())
    twin.gradients(_one_batch())
    torch.testing.assert_close(_gradients(trainer), _gradients(twin), rtol=1e-3, atol=1e-6)
    assert "out of memory: batches are now processed in 4 parts" in capsys.readouterr().err
    monkeypatch.setattr(trainer.network, "loss", lambda *_: short_of_memory(None, [0] * 9))
    with pytest.raises(SarcastError, match=r"no memory for 6 windows .* lower batch"):
        trainer.gradients(_one_batch())


def test_true_changes_are_no_target_and_the_oracle_falls_to_nothing() -> None:
    objective = _plain_trainer(oracle=0.8).objective
    batch = _one_batch()
    changed = torch.zeros(6, 16, 16, dtype=torch.bool)
    changed[2, 3, 4] = True
    truth = batch.target * 0.5 - 3.0
    batch = replace(batch, expected=truth, changed=changed)
    target, goal = objective.targets(batch, 0.0)
    assert target.isnan().sum() == 2
    biased = truth + (batch.target - truth).mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(goal[0], (0.2 * batch.target + 0.8 * biased)[0])
    torch.testing.assert_close(objective.targets(batch, 1.0)[1], target, equal_nan=True)
    unknown = objective.targets(replace(batch, expected=None), 0.0)[1]
    torch.testing.assert_close(unknown, target, equal_nan=True)


def test_the_oracle_falls_with_the_share_of_the_training_that_is_done(monkeypatch) -> None:
    trainer = _plain_trainer(oracle=0.8)
    shares = []
    loss = trainer.objective.loss

    def recorded(batch: Batch, share: float) -> torch.Tensor:
        shares.append(share)
        return loss(batch, share)

    monkeypatch.setattr(trainer.objective, "loss", recorded)
    for _ in range(3):
        trainer.step(_one_batch(2))
    assert shares == [0.0, 1 / OPTIONS.steps, 2 / OPTIONS.steps]


def test_the_mean_is_fitted_to_the_goal_where_it_is_known() -> None:
    batch = _one_batch()
    goal = batch.target + 1.0
    goal[1, 0, 2, 3] = torch.nan
    _, fitted = _plain_trainer().objective.targets(replace(batch, goal=goal), 0.0)
    expected = batch.target + 1.0
    expected[1, 0, 2, 3] -= 1.0
    torch.testing.assert_close(fitted, expected)


def test_contrast_counts_windows_whose_other_conditions_are_all_known() -> None:
    batch = _one_batch(2)
    other = batch.conditions[:, -1].nan_to_num(1.0)
    moved = torch.tensor([1.0, 3.0])[:, None, None, None].expand(batch.target.shape)
    twice = replace(
        batch,
        expected=batch.target,
        counterfactual_conditions=other,
        counterfactual_expected=batch.target + moved,
    )
    plain, contrasting = (_plain_trainer(contrast=weight).objective for weight in (0.0, 2.0))
    once = plain.loss(twice, 0.0)
    torch.testing.assert_close(contrasting.loss(batch, 0.0), once)
    variance = contrasting.predict(batch).window_variance.mean(dim=(1, 2, 3))
    added = contrasting.loss(twice, 0.0) - once  # untrained, conditions move nothing
    torch.testing.assert_close(added, 2.0 * (torch.tensor([1.0, 9.0]) / variance).mean())
    forest = torch.zeros(2, 16, 16, dtype=torch.bool)
    forest[0, :8] = True  # half of the first window
    in_forest = contrasting.loss(replace(twice, forest=forest), 0.0) - once
    counts = torch.tensor([(1.0 + FOREST_WEIGHT) / 2.0, 1.0])
    expected = (counts * torch.tensor([1.0, 9.0]) / variance).sum() / counts.sum()
    torch.testing.assert_close(in_forest, 2.0 * expected)
    other[1, 0] = torch.nan
    torch.testing.assert_close(contrasting.loss(twice, 0.0) - once, 2.0 / variance[0])
    other[0, 3] = torch.nan
    torch.testing.assert_close(contrasting.loss(twice, 0.0), once)


def test_what_enters_the_network_keeps_its_precision(monkeypatch) -> None:
    objective = _plain_trainer(precision="bf16-mixed").objective
    batch, entered = _one_batch(), []
    forward = objective.network.forward

    def recorded(*inputs):
        assert torch.is_autocast_enabled("cpu")
        entered.extend(inputs)
        return forward(*inputs)

    monkeypatch.setattr(objective.network, "forward", recorded)
    objective.predict(batch)
    for expected, actual in zip(batch.inputs(), entered, strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


def test_streams_are_mixed_by_their_weights_and_each_in_its_order() -> None:
    streams = [(3.0, lambda *step: ("a", *step)), (1.0, lambda *step: ("b", *step))]
    batches = mixed(streams, seed=0)
    drawn = [batches(step, 1) for step in range(400)]
    assert drawn == [batches(step, 1) for step in range(400)]
    by_name = {name: [batch for batch in drawn if batch[0] == name] for name in "ab"}
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
    windows = [
        cut_window(cube, time, (0, 0), (16, 16), [time - 2, time - 1]) for time in range(3, 8)
    ]
    windows[1].target[:, :3] = np.nan
    bias = torch.tensor([1.0, -2.0])[None, :, None, None]

    class Biased:
        uses_context = False

        @staticmethod
        def loss(prediction: Prediction, target: torch.Tensor) -> torch.Tensor:
            return target[:, 0, -1, -1].mean() + 0.0 * prediction.mean.mean()

    def predict(batch: Batch) -> Prediction:
        return Prediction(batch.target.nan_to_num(0.0) + bias)

    for batch in (1, 2, 5):
        kept = ValidationWindows(windows, batch, torch.device("cpu"))
        result = kept.validate(Biased(), predict)
        corners = [window.target[0, -1, -1] for window in windows]
        assert result.loss == pytest.approx(np.mean(corners), rel=1e-5)
        assert result.rmse_db == pytest.approx([1.0, 2.0], abs=1e-5)
        assert result.error_db2 == pytest.approx(2.5, abs=1e-5)
        actual = np.clip((windows[0].target[0] + 25.0) / 25.0, 0.0, 1.0)
        np.testing.assert_allclose(result.image[0, :, :16], actual, atol=1e-6)
        assert result.image.shape == (1, 16, 32)


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_every_third_validation_window_is_predicted_without_scene_context(batch: int) -> None:
    """Whatever their batches; the others have the context that the network computes."""
    windows, network, tables = _windows_with_context(8), _plain_trainer().network, []

    def predict(batch: Batch) -> Prediction:
        tables.append(batch.context)
        return network(*batch.inputs())

    ValidationWindows(windows, batch, torch.device("cpu")).validate(network.eval(), predict)
    expected = network.scene_context(collate(windows))
    expected[2::3] = torch.nan
    torch.testing.assert_close(torch.cat(tables), expected, equal_nan=True)
    assert expected[:2].isfinite().all()


def _windows_with_context(count: int) -> list[Window]:
    """Windows of 32 x 32 pixels, the smallest that have a scene context."""
    cube = learnable_cube(pixels=40)
    return [cut_window(cube, 9, (row, 3), (32, 32), [5, 6, 7, 8]) for row in range(count)]


def test_stopped_training_with_scene_context_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    windows = _windows_with_context(6)
    options = OPTIONS.model_copy(update={"augment": AugmentOptions(), "average": 0.9, "clip": 1.0})
    contexts = []

    def trained(folder: Path, last: int) -> bytes:
        def batches(step: int, rank: int) -> Batch:
            if step > last:
                raise InterruptedError
            return collate([windows[(step + rank + number) % 6] for number in range(4)])

        torch.manual_seed(0)
        network = Temporal(TemporalOptions(widths=(8, 8, 8, 8), decoder_width=8, embedding=8))
        compute = network.scene_context

        def recorded(batch: Batch) -> torch.Tensor:
            contexts.append(compute(batch))
            return contexts[-1]

        network.scene_context = recorded
        fit(batches, windows[:2], network, options, folder=folder)
        return b"".join(part.numpy().tobytes() for part in weights(network).values())

    whole = trained(tmp_path / "whole", OPTIONS.steps)
    with pytest.raises(InterruptedError):
        trained(tmp_path / "stopped", 9)
    assert trained(tmp_path / "stopped", OPTIONS.steps) == whole
    assert all(context.isfinite().all() for context in contexts)
    steps, validations = 12 + 10 + 4, 3 + 2 + 1
    assert len(contexts) == steps + validations


def test_a_loss_that_is_not_finite_stops_training(monkeypatch) -> None:
    trainer = _plain_trainer()
    windows = ValidationWindows(
        [cut_window(learnable_cube(), 5, (0, 0), (16, 16), [3, 4])], 4, torch.device("cpu")
    )
    monkeypatch.setattr(trainer.network, "loss", lambda *_: torch.tensor(torch.nan))
    with pytest.raises(SarcastError, match=r"loss after step 0 is nan; lower learning_rate"):
        _Validator(trainer, windows, {}).validate(None)


def test_dropout_differs_from_step_to_step_and_not_from_run_to_run() -> None:
    def losses() -> list[float]:
        torch.manual_seed(0)
        network = UNet(NETWORK.model_copy(update={"dropout": 0.5}), PaperScaling())
        still = OPTIONS.model_copy(update={"learning_rate": 1e-12})
        trainer = Trainer(network, still, launch(still))
        return [float(trainer.step(_one_batch())) for _ in range(2)]

    first, second = losses()
    assert first != pytest.approx(second, rel=1e-3)
    assert losses() == [first, second]
