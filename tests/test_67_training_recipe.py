"""Recipes: all that ship are read; one is trained by, stopped and resumed."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError

from sarcast.cli import main
from sarcast.errors import SarcastError
from sarcast.prediction.deviation import Deviation
from sarcast.prediction.model_folder import load_model
from sarcast.prediction.networks.unet import UNetOptions
from sarcast.prediction.training.augment import AugmentOptions
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.recipe import Recipe, read_recipe
from sarcast.prediction.training.sources import (
    make_sources,
    named_cubes,
    open_cubes,
    world_batches,
    world_windows,
)
from sarcast.prediction.training.stages import plan_recipe, train_recipe
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
        assert all(stage.worlds for stage in Recipe.model_validate(content).sequence)
        return
    options = content["train"]
    training = {name: options.pop(name) for name in set(options) & set(TrainOptions.model_fields)}
    TrainOptions(**training)
    assert set(options) == {"network", "window", "previous", "unet"}
    UNetOptions(size=options["window"], previous=options["previous"], **options["unet"])


def test_the_paper_s_recipe_has_its_defaults_and_its_samples() -> None:
    path = Path(__file__).parents[1] / "recipes" / "paper.yaml"
    options = yaml.safe_load(path.read_text())["train"]
    paper = UNetOptions()
    assert (options["window"], options["previous"]) == (paper.size, paper.previous)
    assert options["unet"]["dropout"] == paper.dropout
    assert tuple(options["unet"]["filters"]) == paper.filters
    assert options["steps"] * options["batch"] == 50 * 230_000


def test_there_are_recipes() -> None:
    assert {path.stem for path in RECIPES} >= {"base", "boreal", "boreal-unet", "paper", "tiny"}


class Stop(Exception):
    pass


def _stop_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Stop training before the optimiser step of a number, counted over all stages from 0."""
    take_step, steps = Trainer.step, itertools.count()

    def step(trainer: Trainer, batch: Batch) -> torch.Tensor:
        if next(steps) == count:
            raise Stop
        return take_step(trainer, batch)

    monkeypatch.setattr(Trainer, "step", step)


def test_training_stopped_half_way_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch) -> None:
    cubes = {"a": learnable_cube()}
    model = train_recipe(plan_recipe(TINY, cubes=cubes), to=tmp_path / "whole")
    assert model.training["steps"] == 4
    with monkeypatch.context() as patch, pytest.raises(Stop):
        _stop_at(patch, 3)
        train_recipe(plan_recipe(TINY, cubes=cubes), to=tmp_path / "broken")
    train_recipe(plan_recipe(TINY, cubes=cubes), to=tmp_path / "broken")
    whole, broken = (tmp_path / name / "model.safetensors" for name in ("whole", "broken"))
    assert whole.read_bytes() == broken.read_bytes()
    loaded = load_model(tmp_path / "whole", device="cpu")
    assert loaded.scores == model.scores
    assert loaded.deviation == model.deviation != Deviation()
    assert set(loaded.training["seen_conditions"]) >= {"temperature", "incidence"}


def _stage(**training: object) -> dict[str, object]:
    """The stage of ``TINY`` with other options of training."""
    stage = TINY.model_dump(include={"training", "worlds", "series"})
    return {**stage, "training": {**stage["training"], **training}}


STAGED = Recipe(
    name="staged",
    network=TINY.network,
    stages=[_stage(), _stage(seed=1, steps=3, learning_rate=1e-3), _stage(seed=2)],
)
"""Three stages of 4, 3 and 4 steps; checkpoints after every second step and at their ends."""


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged") / "model"
    train_recipe(plan_recipe(STAGED, cubes={"a": learnable_cube()}), to=folder)
    return folder


@pytest.mark.parametrize(
    "steps", [3, 4, 6, 7, 9], ids=["first", "before second", "second", "before third", "third"]
)
def test_stages_stopped_anywhere_resume_to_the_same_bytes(
    staged: Path, tmp_path: Path, monkeypatch, steps: int
) -> None:
    """No step before a checkpoint is taken twice."""
    cubes, to = {"a": learnable_cube()}, tmp_path / "model"
    with monkeypatch.context() as patch, pytest.raises(Stop):
        _stop_at(patch, steps)
        train_recipe(plan_recipe(STAGED, cubes=cubes), to=to)
    lost = {3: 1, 4: 0, 6: 0, 7: 0, 9: 0}[steps]
    assert not (to / "model.yaml").exists()
    with monkeypatch.context() as patch, pytest.raises(Stop):
        _stop_at(patch, 11 - steps + lost - 1)  # before the last step
        train_recipe(plan_recipe(STAGED, cubes=cubes), to=to)
    with monkeypatch.context() as patch:
        _stop_at(patch, 2)  # two steps after the last checkpoint are left
        train_recipe(plan_recipe(STAGED, cubes=cubes), to=to)
    assert (to / "model.safetensors").read_bytes() == (staged / "model.safetensors").read_bytes()
    ours, whole = (yaml.safe_load((each / "model.yaml").read_text()) for each in (to, staged))
    assert _without_seconds(ours) == _without_seconds(whole)
    assert not list(to.glob("**/checkpoints"))


def _without_seconds(card: dict) -> dict:
    for stage in (card["training"], *card["training"]["earlier_stages"]):
        stage.pop("seconds")
    return card


def test_each_stage_starts_from_the_weights_of_the_one_before(staged: Path, tmp_path: Path) -> None:
    """The last stage alone, from a model of the first two, gives the same weights."""
    cubes = {"a": learnable_cube()}
    full = STAGED.model_copy(update={"half": False})
    two = full.model_copy(update={"stages": full.stages[:2]})
    train_recipe(plan_recipe(two, cubes=cubes), to=tmp_path / "two")
    plan = plan_recipe(STAGED, cubes=cubes, start=tmp_path / "two", first_stage=3)
    model = train_recipe(plan, to=tmp_path / "third")
    weights = (tmp_path / "third" / "model.safetensors").read_bytes()
    assert weights == (staged / "model.safetensors").read_bytes()
    whole = load_model(staged, device="cpu")
    assert (model.scores, model.deviation) == (whole.scores, whole.deviation)
    assert model.training["start"] == "two"
    assert model.training["earlier_stages"] == []
    assert model.training["seen_conditions"] == whole.training["seen_conditions"]
    stages = [*whole.training["earlier_stages"], whole.training]
    assert [(each["stage"], each["steps"]) for each in stages] == [(1, 4), (2, 3), (3, 4)]
    assert [len(each["history"]) for each in stages] == [2, 2, 2]
    assert len(whole.training["recipe"]["stages"]) == 3


def test_a_stage_that_cannot_be_trained_is_found_before_the_first(tmp_path: Path) -> None:
    cubes = {"a": learnable_cube()}
    with pytest.raises(SarcastError, match="has the stages 1 to 3, not a stage 4"):
        plan_recipe(STAGED, cubes=cubes, first_stage=4)
    with pytest.raises(SarcastError, match="stage 2 needs the weights of the stage before it"):
        plan_recipe(STAGED, cubes=cubes, first_stage=2)
    missing = _stage()
    missing["series"] = [{**missing["series"][0], "cubes": ["b"]}]
    recipe = Recipe.model_validate({**STAGED.model_dump(), "stages": [_stage(), missing]})
    with pytest.raises(SarcastError, match="asks for the series 'b', and there are a"):
        plan_recipe(recipe, cubes=cubes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"worlds": TINY.worlds}, "has training, worlds and series in each of them"),
        ({"training": {"steps": 3}}, "has training, worlds and series in each of them"),
        ({"stages": [_stage(), _stage(devices=2)]}, "need the same accelerator and devices"),
        ({"stages": [{"training": {}}]}, "a recipe needs windows to train on"),
    ],
)
def test_stages_with_faults_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate({**STAGED.model_dump(), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"worlds": [], "series": []}, "a recipe needs windows to train on"),
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
def test_recipes_without_sources_or_with_half_a_contrast(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate({**TINY.model_dump(), **changes})


def test_a_recipe_does_not_start_from_another_network() -> None:
    with pytest.raises(SarcastError, match=r"base holds a network temporal .* recipe's"):
        plan_recipe(TINY, cubes={"a": learnable_cube()}, start=Path("base"))


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A folder with the cube ``a`` of the recipe."""
    (tmp_path / "series").mkdir()
    learnable_cube().to_netcdf(tmp_path / "series" / "a.nc", engine="h5netcdf")
    return tmp_path / "series"


def _run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code in (0, None)


def test_the_command_trains_by_a_recipe_and_its_record_repeats_it(
    series: Path, tmp_path: Path
) -> None:
    """The same bytes as in Python; flags of the training override the recipe."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(TINY.model_dump(mode="json")))
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    _run("--quiet", "train", series, "--recipe", recipe, "--to", first, "--seed", 3)
    options = TINY.training.model_copy(update={"seed": 3})
    plan = plan_recipe(
        TINY.model_copy(update={"training": options}), cubes=open_cubes([series / "a.nc"])
    )
    train_recipe(plan, to=second)
    weights = (first / "model.safetensors").read_bytes()
    assert weights == (second / "model.safetensors").read_bytes()
    assert {path.name for path in first.iterdir()} == {
        "training", "model.safetensors", "model.yaml", "run.yaml"
    }  # fmt: skip
    record = yaml.safe_load((first / "run.yaml").read_text())["train"]
    assert (record["seed"], record["batch"], record["average"]) == (3, 2, 0.9)
    assert record["recipe"] == str(recipe)
    assert record["cubes"] == [str(series)]
    _run("--quiet", "train", "--config", first / "run.yaml", "--to", third)
    assert weights == (third / "model.safetensors").read_bytes()
    made = load_model(first, device="cpu").training
    assert set(made) == {
        "recipe", "start", "stage", "steps", "best_step", "seconds", "history", "seen_conditions",
        "earlier_stages",
    }  # fmt: skip
    _run("--quiet", "train", series, "--recipe", recipe, "--to", third, "--from", first,
         "--overwrite")  # fmt: skip
    assert load_model(third, device="cpu").training["start"] == "first"


def test_flags_are_in_groups_everyday_ones_first(capsys: pytest.CaptureFixture[str]) -> None:
    _run("train", "--help")
    manual = capsys.readouterr().out
    titles = ("Parameters", "Training", "Augmentation", "Temporal network", "U-Net")
    starts = [manual.index(f"─ {title}") for title in titles]
    assert starts == sorted(starts)
    everyday = manual[: starts[1]]
    for flag in ("--to", "--from", "--recipe", "--minutes", "--window", "--previous", "--end"):
        assert flag in everyday, flag
    assert "--steps" in manual[starts[1] : starts[2]]
    assert "--augment.mirror" in manual[starts[2] : starts[3]]
    assert "--temporal.widths" in manual[starts[3] : starts[4]]
    assert "--unet.filters" in manual[starts[4] :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: [", "recipe.yaml is not valid YAML"),
        ("name: x", "recipe.yaml is not a recipe: a recipe needs windows to train on"),
        ("name: x\nteacher: y", "recipe.yaml is not a recipe: teacher: Extra inputs"),
        ("- name", "recipe.yaml is not a recipe: Input should be"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(SarcastError, match=message):
        read_recipe(tmp_path / "recipe.yaml")
    with pytest.raises(SarcastError, match=r"nowhere\.yaml cannot be read"):
        read_recipe(tmp_path / "nowhere.yaml")


def test_set_options_override_the_recipe_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(TINY.model_dump(mode="json")))
    changes = TrainOptions(minutes=2.0, batch=16, augment=AugmentOptions(fewest=3))
    changed = read_recipe(path, changes).training
    assert (changed.minutes, changed.batch, changed.augment.fewest) == (2.0, 16, 3)
    unchanged = {"minutes": None, "batch": 2, "augment": AugmentOptions()}
    assert changed.model_copy(update=unchanged) == TINY.training


def test_flags_override_every_stage_and_are_all_that_is_recorded(
    series: Path, tmp_path: Path
) -> None:
    recipe, first, third = (tmp_path / name for name in ("recipe.yaml", "first", "third"))
    recipe.write_text(yaml.safe_dump(STAGED.model_dump(mode="json")))
    changes = TrainOptions(steps=2, augment=AugmentOptions(fewest=3))
    stages = read_recipe(recipe, changes).stages
    assert [stage.training.steps for stage in stages] == [2, 2, 2]
    assert [stage.training.augment.fewest for stage in stages] == [3, 3, 3]
    assert [stage.training.seed for stage in stages] == [0, 1, 2]
    _run("--quiet", "train", series, "--recipe", recipe, "--to", first, "--steps", 2,
         "--augment.fewest", 3)  # fmt: skip
    record = yaml.safe_load((first / "run.yaml").read_text())["train"]
    assert record == {
        "cubes": [str(series)], "to": str(first), "overwrite": False, "recipe": str(recipe),
        "steps": 2, "augment": {"fewest": 3},
    }  # fmt: skip
    _run("--quiet", "train", "--config", first / "run.yaml", "--to", third, "--from", first,
         "--first-stage", 3)  # fmt: skip
    made = [load_model(folder, device="cpu").training for folder in (first, third)]
    assert [each["stage"] for each in made] == [3, 3]
    assert [len(each["earlier_stages"]) for each in made] == [2, 0]
    for each in made:
        assert [stage["training"]["steps"] for stage in each["recipe"]["stages"]] == [2, 2, 2]


def test_cubes_are_named_by_their_files(series: Path, tmp_path: Path) -> None:
    assert list(open_cubes([series])) == ["a"]
    with pytest.raises(SarcastError, match="two cubes have the name a"):
        open_cubes([series, series / "a.nc"])
    with pytest.raises(SarcastError, match="is neither a cube nor a folder of cubes"):
        open_cubes([tmp_path / "nowhere"])


def test_training_and_validation_worlds_differ() -> None:
    options = TrainOptions(batch=4, validation_windows=4, validation_share=0.4)
    batches = world_batches(TINY.worlds[0], options, device="cpu")
    assert batches(0, 0).previous.equal(batches(0, 0).previous)
    assert not batches(0, 0).previous.equal(batches(0, 1).previous)
    windows = world_windows(TINY.worlds, options, device="cpu")
    assert len(windows) == 4
    first = batches(0, 0).previous[0].numpy()
    assert not np.array_equal(windows[0].previous, first, equal_nan=True)


def test_the_dates_of_real_series_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """No validation window has a date of a batch, nor one after the end of the source."""
    options = TrainOptions(batch=4, validation_windows=4, validation_share=0.4)
    trained: list[np.ndarray] = []

    def record_targets(sampler: WindowSampler, **_: object) -> None:
        trained.extend(sampler.targets)

    monkeypatch.setattr("sarcast.prediction.training.sources.SeriesBatches", record_targets)
    recipe = TINY.model_copy(update={"training": options})
    cube = learnable_cube()
    _, validation = make_sources(recipe, {"a": cube}, device="cpu")
    times = cube.time.values
    validated = {w.times[-1] for w in validation if w.times[-1] in times}
    assert validated
    assert min(validated) > times[trained[0]].max()
    assert max(validated) < np.datetime64("2021-04-15")
    with pytest.raises(SarcastError, match="at least 2 target dates with 3 previous images"):
        make_sources(recipe, {"a": cube.isel(time=slice(4))}, device="cpu")


def test_a_source_names_series_by_patterns() -> None:
    cubes = {"site-1": learnable_cube(), "other": learnable_cube(), "site-2": learnable_cube()}
    named = named_cubes(cubes, ["site-*", "site-2"])
    assert [id(cube) for cube in named] == [id(cubes["site-1"]), id(cubes["site-2"])]
    with pytest.raises(SarcastError, match=r"series 'burst-\*', and there are other, site-1"):
        named_cubes(cubes, ["burst-*"])


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


def test_the_training_range_is_that_of_the_known_conditions() -> None:
    options = TrainOptions(batch=4)
    batch = world_batches(TINY.worlds[0], options, device="cpu")(0, 0)
    batch.conditions[0, 0, 0] = -40.0
    batch.conditions[..., 3] = torch.nan
    ranges = condition_ranges([batch])
    assert ranges["temperature"][0] == -40.0
    assert "incidence" not in ranges


def test_the_paper_s_network_trains_by_a_recipe(tmp_path: Path) -> None:
    unet = {"size": 32, "previous": 3, "filters": (4, 8)}
    training = {**TINY.training.model_dump(), "augment": None, "average": 0.0}
    recipe = TINY.model_dump(exclude={"series"}) | {"unet": unet, "training": training}
    model = train_recipe(plan_recipe(Recipe.model_validate(recipe)), to=tmp_path / "model")
    assert (model.size, model.previous) == (32, 3)
    loaded = load_model(tmp_path / "model", device="cpu")
    assert loaded.network.scaling == model.network.scaling
    assert loaded.network.scaling.elevation_max > 1.0
