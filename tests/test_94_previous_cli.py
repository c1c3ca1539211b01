"""Which previous images the verbs use, against a plain choice; conditions that cannot be set."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
import yaml

from conftest import GRID, opera_name
from sarcast.commands.training_options import CubeTrainingConfig, WindowShape, open_samplers
from sarcast.cube import open_cube
from sarcast.evaluation.metrics import Evaluation
from sarcast.io.cogs import write_cog
from sarcast.prediction import Model, save_model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.windows import PreviousOptions
from test_90_cli import fails, run

DATES = (
    "20190410", "20190601", "20190620", "20190715", "20200501", "20200603", "20200709",
    "20210112", "20210310", "20210530", "20210611", "20210623",
)  # fmt: skip
AT = "2021-06-23"


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube of three years, and a network whose weights are 0: it expects the mean."""
    folder = tmp_path_factory.mktemp("years")
    rng = np.random.default_rng(1)
    for date in DATES:
        power = 10.0 ** (rng.uniform(-18.0, -6.0, (2, *GRID.shape)) / 10.0)
        for band, layer in zip(("VV", "VH"), power, strict=True):
            name = f"{opera_name(f'{date}T154005')}_{band}.tif"
            write_cog(folder / "scenes" / name, layer.astype(np.float32), GRID)
    run("--quiet", "index", folder / "scenes", "--to", folder / "catalogue")
    run("--quiet", "cube", folder / "catalogue", "--to", folder / "cube.zarr")
    options = TemporalOptions(
        widths=(16, 8, 8, 8), blocks=(1, 1, 1, 1), decoder_width=16,
        decoder_blocks=(1, 1, 1, 1), fine_width=8, embedding=16,
    )  # fmt: skip
    network = Temporal(options).eval()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    save_model(Model(network, "average"), folder / "model")
    return folder


def chosen(cube: xr.Dataset, target: int, n: int, chooser: str, before: str | None) -> list[int]:
    """The plain twin of the choosers: one date after another."""
    times = cube["time"].values.astype("datetime64[s]").astype(float) / 86400.0
    end = times[target]
    if before is not None:
        end = min(end, float(np.datetime64(before, "D").astype(float)))
    recent = sorted((k for k in range(len(times)) if times[k] < end), key=lambda k: -times[k])
    away = {}
    for k in recent:
        age = times[target] - times[k]
        nearest = min(abs(age - 365.25 * years) for years in range(1, 9))
        if age >= 270.0 and nearest <= 45.0:
            away[k] = nearest
    same = sorted(away, key=lambda k: away[k])
    order = []
    if chooser == "recent":
        order = recent
    elif chooser == "nearest":
        order = sorted(
            recent,
            key=lambda k: min(
                abs(times[target] - times[k] - 365.25 * years) + 20.0 * years for years in range(9)
            ),
        )
    elif chooser == "same-season":
        order = same + [k for k in recent if k not in away]
    else:
        left, right = list(recent), list(same)
        while left and right:
            order += [left.pop(0), right.pop(0)]
        order = list(dict.fromkeys(order + right + left))
    return sorted(order[:n], key=lambda k: times[k])


def mean_of(cube: xr.Dataset, indices: list[int]) -> np.ndarray:
    return cube["backscatter"].values[indices].mean(axis=0)


def expected_in(folder: Path) -> np.ndarray:
    with rasterio.open(folder / "expected.tif") as source:
        return source.read()


@pytest.mark.parametrize(
    ("chooser", "previous", "before"),
    [
        ("recent", 3, None),
        ("nearest", 3, None),
        ("nearest", 6, "2021-03-01"),
        ("same-season", 3, None),
        ("same-season", 9, None),
        ("both", 4, None),
        ("both", 5, "2021-05-30"),
        ("recent", 2, "2020-06-30"),
    ],
)
def test_predict_uses_the_chosen_images(
    area: Path, tmp_path: Path, chooser: str, previous: int, before: str | None
) -> None:
    baseline = [] if before is None else ["--before", before]
    run("--quiet", "predict", area / "cube.zarr", "--model", area / "model", "--at", AT,
        "--chooser", chooser, "--previous", previous, "--to", tmp_path / "to",
        *baseline)  # fmt: skip
    cube = open_cube(area / "cube.zarr")
    expected = mean_of(cube, chosen(cube, 11, previous, chooser, before))
    np.testing.assert_allclose(expected_in(tmp_path / "to"), expected, atol=1e-3)
    record = yaml.safe_load((tmp_path / "to" / "run.yaml").read_text())["predict"]
    assert (record["chooser"], record["previous"]) == (chooser, previous)


def test_detect_uses_the_chosen_baseline(area: Path, tmp_path: Path) -> None:
    run("--quiet", "detect", area / "cube.zarr", "--model", area / "model", "--at", AT,
        "--chooser", "both", "--previous", 3, "--baseline", "2021-03-01",
        "--to", tmp_path / "to")  # fmt: skip
    cube = open_cube(area / "cube.zarr")
    expected = mean_of(cube, chosen(cube, 11, 3, "both", "2021-03-01"))
    np.testing.assert_allclose(expected_in(tmp_path / "to"), expected, atol=1e-3)
    item = json.loads((tmp_path / "to" / "item.json").read_text())
    assert item["properties"]["sarcast:baseline"].startswith("2021-01-12")


@pytest.mark.parametrize("chooser", ["nearest", "recent", "same-season", "both"])
def test_evaluate_uses_the_same_images_for_network_and_strategies(
    area: Path, tmp_path: Path, chooser: str
) -> None:
    run("--quiet", "evaluate", area / "cube.zarr", "--model", area / "model", "--start",
        "2021-05-01", "--chooser", chooser, "--previous", 4, "--to", tmp_path / "to")  # fmt: skip
    evaluation = Evaluation.read(tmp_path / "to" / "evaluation.json")
    errors = {result.method: result.mse_db2 for result in evaluation.results}
    cube = open_cube(area / "cube.zarr")
    images = cube["backscatter"].values
    squares = [
        np.square(images[at] - mean_of(cube, chosen(cube, at, 4, chooser, None))).mean()
        for at in (9, 10, 11)
    ]
    assert errors["mean"] == pytest.approx(np.mean(squares), rel=0.02)
    assert errors["average"] == pytest.approx(errors["mean"], rel=1e-3)


@pytest.mark.parametrize("chooser", ["nearest", "recent", "same-season", "both"])
def test_train_draws_windows_of_the_chosen_images(area: Path, tmp_path: Path, chooser: str) -> None:
    config = CubeTrainingConfig(
        to=tmp_path, previous_images=PreviousOptions(chooser=chooser), window=16
    )
    cube = open_cube(area / "cube.zarr")
    samplers = open_samplers([area / "cube.zarr"], config, WindowShape.of(config, None))
    for sampler in (samplers.training, samplers.validation):
        for window in sampler.draw(20, rng=np.random.default_rng(2)):
            target = int(np.flatnonzero(cube["time"].values == window.times[-1])[0])
            expected = cube["time"].values[chosen(cube, target, 4, chooser, None)]
            np.testing.assert_array_equal(window.times[:-1], expected)
    assert (samplers.trained, samplers.validated) == (
        ["2020-05-01", "2021-05-30"],
        ["2021-06-11", "2021-06-23"],
    )


def test_no_window_is_larger_than_the_cubes(area: Path, tmp_path: Path) -> None:
    """It would contain nothing more, and need memory without bound."""
    config = CubeTrainingConfig(to=tmp_path, window=4096)
    samplers = open_samplers([area / "cube.zarr"], config, WindowShape.of(config, None))
    (window,) = samplers.training.draw(1, rng=np.random.default_rng(0))
    assert window.target.shape[1] == max(open_cube(area / "cube.zarr")["backscatter"].shape[2:])


def test_impossible_choices_and_conditions_are_one_line(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ("predict", area / "cube.zarr", "--model", area / "model", "--at", AT,
             "--to", tmp_path / "to")  # fmt: skip
    for message, status, words in (
        ("--chooser", 2, ("--chooser", "newest")),
        ("--previous", 2, ("--previous", "0")),
        ("yesterday", 2, ("--before", "yesterday")),
        ("4 previous images are needed, but 2 precede 2019-06-20", 1, ("--before", "2019-06-20")),
        ("heading -168 contradicts orbit_direction ascending", 2,
         ("--set", "heading=-168", "--set", "orbit_direction=ascending")),
        ("heading 348 contradicts orbit_direction descending", 2,
         ("--set", "orbit_direction=descending", "--set", "heading=348")),
        ("temperature must lie in -80..60 degC, but is 200", 1, ("--set", "temperature=200")),
        ("precipitation must lie in 0..2000", 1, ("--set", "precipitation=-1")),
        ("snow_depth must lie in 0..2000 cm, but is nan", 1, ("--set", "snow_depth=nan")),
        ("incidence must lie in 0..90 degree, but is inf", 1, ("--set", "incidence=inf")),
        ("there is no condition 'wind'", 1, ("--set", "wind=3")),
        ("or by orbit_direction on the command line", 1, ("--set", "orbit_direktion=3")),
    ):  # fmt: skip
        assert message in fails(capsys, status, *request, *words)
        assert not (tmp_path / "to").exists()


def test_a_heading_of_the_orbit_direction_is_taken(area: Path, tmp_path: Path) -> None:
    run("--quiet", "predict", area / "cube.zarr", "--model", area / "model", "--at", AT,
        "--set", "heading=347", "--set", "orbit_direction=ascending", "--to", tmp_path)  # fmt: skip
    record = yaml.safe_load((tmp_path / "run.yaml").read_text())["predict"]
    assert record["set"] == ["heading=347", "orbit_direction=ascending"]


def test_an_adaptation_records_its_options_and_can_be_repeated(area: Path, tmp_path: Path) -> None:
    """The record has the options of the adaptation, not the defaults of other trainings."""
    first, second = tmp_path / "first", tmp_path / "second"
    run("--quiet", "train", area / "cube.zarr", "--from", area / "model", "--to", first,
        "--steps", 2, "--batch", 2, "--validation-windows", 2, "--previous", 3,
        "--chooser", "both")  # fmt: skip
    record = yaml.safe_load((first / "run.yaml").read_text())["train"]
    assert (record["window"], record["learning_rate"], record["average"]) == (64, 3e-5, 0.95)
    assert record["augment"]["mirror"] is False
    assert record["chooser"] == "both"
    run("--quiet", "train", "--config", first / "run.yaml", "--to", second)
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    again = yaml.safe_load((second / "run.yaml").read_text())["train"]
    assert {**again, "to": None} == {**record, "to": None}
