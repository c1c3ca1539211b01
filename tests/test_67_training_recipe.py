"""Recipes: all that ship are read, and one is followed, stopped and gone on with."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError

from sarcast.errors import SarcastError
from sarcast.prediction.model import load_model
from sarcast.prediction.networks.unet import UNetOptions
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.recipe import (
    Recipe,
    _lessons,
    _named,
    school,
    world_batches,
    world_windows,
)
from sarcast.prediction.training.trainer import Trainer
from sarcast.prediction.training_range import condition_ranges
from sarcast.windows import Batch, WindowSampler
from small_cubes import learnable_cube

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
TINY = Recipe(
    name="tiny",
    network={
        "widths": (8, 8, 8, 8),
        "blocks": (1, 1, 1, 1),
        "decoder_width": 8,
        "decoder_blocks": (1, 1, 1, 1),
        "fine_width": 4,
        "embedding": 8,
    },
    training={
        "steps": 4,
        "batch": 2,
        "validate_every": 2,
        "validation_windows": 4,
        "average": 0.9,
        "oracle": 0.5,
        "augment": {},
        "clip": 1.0,
        "accelerator": "cpu",
        "validation_share": 0.4,
    },
    worlds=[{"weight": 1.0, "worlds": {"preset": "boreal", "size": 32, "previous": 3}}],
    series=[{"weight": 1.0, "cubes": ["a"], "size": 16, "previous": 3, "end": "2021-04-15"}],
)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_read(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    if "train" not in content:
        assert Recipe.model_validate(content).worlds
        return
    options = content["train"]
    named = {"network"}
    for model in (UNetOptions, TrainOptions):
        model(**{name: value for name, value in options.items() if name in model.model_fields})
        named |= set(model.model_fields)
    assert set(options) <= named


def test_the_paper_s_recipe_has_its_defaults_and_its_samples() -> None:
    path = Path(__file__).parents[1] / "recipes" / "paper.yaml"
    options = yaml.safe_load(path.read_text())["train"]
    paper = UNetOptions()
    assert all(options[name] == getattr(paper, name) for name in ("size", "previous", "dropout"))
    assert tuple(options["filters"]) == paper.filters
    assert options["steps"] * options["batch"] == 50 * 230_000


def test_there_are_recipes() -> None:
    assert {path.stem for path in RECIPES} >= {"base-first", "base-second", "base-third", "tiny"}


def test_schooling_stopped_half_way_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch) -> None:
    cubes = {"a": learnable_cube()}
    model = school(TINY, to=tmp_path / "whole", cubes=cubes)
    assert model.training["steps"] == 4

    class Stop(Exception):
        pass

    def stop(trainer: Trainer, batch: Batch) -> torch.Tensor:
        if trainer.state.step == 3:
            raise Stop
        return take_step(trainer, batch)

    take_step = Trainer.step
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stop)
        with pytest.raises(Stop):
            school(TINY, to=tmp_path / "broken", cubes=cubes)
    school(TINY, to=tmp_path / "broken", cubes=cubes)
    whole, broken = (tmp_path / name / "model.safetensors" for name in ("whole", "broken"))
    assert whole.read_bytes() == broken.read_bytes()
    loaded = load_model(tmp_path / "whole", device="cpu")
    assert loaded.scores == model.scores
    assert loaded.std_factor == model.std_factor != 1.0
    assert set(loaded.training["seen_conditions"]) >= {"temperature", "incidence"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"worlds": [], "series": []}, "a recipe needs a lesson"),
        (
            {"training": {"contrast": 1.0}},
            "contrast and worlds with counterfactual need",
        ),
        (
            {"worlds": [{"weight": 1.0, "worlds": {"counterfactual": True}}]},
            "contrast and worlds with counterfactual need",
        ),
    ],
)
def test_recipes_that_teach_nothing(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate({**TINY.model_dump(), **changes})


def test_a_school_does_not_start_from_another_network(tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match=r"base holds a network temporal .* recipe's"):
        school(TINY, to=tmp_path / "to", cubes={"a": learnable_cube()}, start=Path("base"))
    assert not (tmp_path / "to").exists()


def test_training_and_validation_worlds_differ() -> None:
    options = TrainOptions(batch=4, validation_windows=4, validation_share=0.4)
    batches = world_batches(TINY.worlds[0], options, device="cpu")
    assert batches(0, 0).previous.equal(batches(0, 0).previous)
    assert not batches(0, 0).previous.equal(batches(0, 1).previous)
    held = world_windows(TINY.worlds, options, device="cpu")
    assert len(held) == 4
    assert not np.array_equal(held[0].previous, batches(0, 0).previous[0].numpy(), equal_nan=True)


def test_the_dates_of_real_series_are_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No validation window is of a date that a batch may show, nor after the end of the lesson."""
    options = TrainOptions(batch=4, validation_windows=4, validation_share=0.4)
    shown: list[np.ndarray] = []

    def noted(sampler: WindowSampler, **_: object) -> None:
        shown.extend(sampler.targets)

    monkeypatch.setattr("sarcast.prediction.training.recipe.SeriesBatches", noted)
    recipe = TINY.model_copy(update={"training": options})
    cube = learnable_cube()
    _, validation = _lessons(recipe, {"a": cube}, device="cpu")
    times = cube.time.values
    held = {w.times[-1] for w in validation if w.times[-1] in times}
    assert held
    assert min(held) > times[shown[0]].max()
    assert max(held) < np.datetime64("2021-04-15")
    with pytest.raises(SarcastError, match="at least 2 target dates with 3 previous images"):
        _lessons(recipe, {"a": cube.isel(time=slice(4))}, device="cpu")


def test_a_lesson_names_series_by_patterns() -> None:
    cubes = {"site-1": learnable_cube(), "other": learnable_cube(), "site-2": learnable_cube()}
    found = _named(cubes, ["site-*", "site-2"])
    assert [id(one) for one in found] == [id(cubes["site-1"]), id(cubes["site-2"])]
    with pytest.raises(SarcastError, match=r"series 'burst-\*', and there are other, site-1"):
        _named(cubes, ["burst-*"])


def test_batches_drawn_at_once_are_the_parts_of_a_larger_one() -> None:
    together = TINY.worlds[0].model_copy(update={"at_once": 3})
    parts = world_batches(together, TrainOptions(batch=2), device="cpu")
    whole = world_batches(TINY.worlds[0], TrainOptions(batch=6), device="cpu")
    for step in (4, 0, 5):
        start = 2 * (step % 3)
        expected = whole(step // 3, 1).target[start : start + 2]
        torch.testing.assert_close(parts(step, 1).target, expected, equal_nan=True)


def test_days_and_season_of_worlds_are_those_of_their_times() -> None:
    options = TrainOptions(batch=4)
    batch = world_batches(TINY.worlds[0], options, device="cpu")(0, 0)
    assert (batch.days[:, -1] == 0).all()
    assert (batch.days.diff(dim=1) > 0).all()
    assert ((batch.day_of_year >= 0) & (batch.day_of_year < 366)).all()


def test_seen_conditions_are_the_range_of_what_is_known() -> None:
    options = TrainOptions(batch=4)
    batch = world_batches(TINY.worlds[0], options, device="cpu")(0, 0)
    batch.conditions[0, 0, 0] = -40.0
    batch.conditions[..., 3] = torch.nan
    seen = condition_ranges([batch])
    assert seen["temperature"][0] == -40.0
    assert "incidence" not in seen


def test_the_paper_s_network_learns_the_same_lessons(tmp_path: Path) -> None:
    unet = {"size": 32, "previous": 3, "filters": (4, 8)}
    training = {**TINY.training.model_dump(), "augment": None, "average": 0.0}
    recipe = TINY.model_dump(exclude={"series"}) | {"unet": unet, "training": training}
    model = school(Recipe.model_validate(recipe), to=tmp_path / "model")
    assert (model.size, model.previous) == (32, 3)
    loaded = load_model(tmp_path / "model", device="cpu")
    assert loaded.network.scaling == model.network.scaling
    assert loaded.network.scaling.elevation_max > 1.0
