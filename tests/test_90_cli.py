"""The command line as a user meets it: all steps on bursts of scenes, and its errors."""

import errno
import importlib
import json
import os
import pkgutil
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import torch
import yaml
from affine import Affine
from odc.geo.geobox import GeoBox
from pydantic import BaseModel
from rio_cogeo.cogeo import cog_validate
from scipy.ndimage import gaussian_filter

import sarcast
from conftest import GRID, opera_name
from fuzz.fuzz_tfrecord import plain
from sarcast import commands
from sarcast.cli import VERBS, _system_error, main
from sarcast.commands.ablate import AblateConfig
from sarcast.commands.config import FLAT, Config, command, flags, write_record
from sarcast.commands.evaluate import _describe_network
from sarcast.cube import open_cube
from sarcast.detection.output import PRODUCTS
from sarcast.errors import SarcastError
from sarcast.evaluation.metrics import Evaluation
from sarcast.io.cogs import write_cog
from sarcast.io.files import exclusive
from sarcast.io.results import RECORDED
from sarcast.prediction import load_model
from sarcast.prediction.predict import predict
from sarcast.prediction.training.augment import AugmentOptions
from sarcast.prediction.training.options import TrainOptions
from sarcast.tfrecord import write_samples
from small_views import detection_folder
from test_31_ingest import plane

RECIPE = Path(__file__).parents[1] / "recipes" / "base.yaml"
QUICK = [
    *("--network", "unet"),
    *("--window", "16", "--previous", "2", "--unet.filters", "8", "--unet.filters", "16"),
    *("--steps", "4", "--validate-every", "2", "--batch", "2", "--validation-windows", "4"),
]


def run(*words: object) -> None:
    """Run the command line and expect success."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code in (0, None)


def fails(capsys: pytest.CaptureFixture[str], status: int, *words: object) -> str:
    """Run the command line, expect this status, and return its one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sarcast: ")]
    assert ended.value.code == status
    assert len(lines) == 1
    return lines[0]


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scenes of ten dates, a catalogue, a cube and a model of few steps."""
    folder = tmp_path_factory.mktemp("area")
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(0.0, 30.0, (2, *GRID.shape)), (0, 6, 6))
    pattern = 10.0 ** ((smooth - np.array([10.0, 16.0])[:, None, None]) / 10.0)
    for day in range(10):
        noisy = pattern * rng.gamma(4.4, 1 / 4.4, pattern.shape)
        base = opera_name(f"202003{day + 1:02d}T154005", "S1A" if day % 2 else "S1B")
        for band, layer in zip(("VV", "VH"), noisy, strict=True):
            write_cog(folder / "scenes" / f"{base}_{band}.tif", layer.astype(np.float32), GRID)
    run("--quiet", "index", folder / "scenes", "--to", folder / "catalogue")
    run("--quiet", "cube", folder / "catalogue", "--to", folder / "cube.zarr")
    run(
        "--quiet", "train", folder / "cube.zarr", "--to", folder / "model",
        "--end", "2020-03-07", *QUICK,
    )  # fmt: skip
    return folder


def test_a_missing_flag_is_named_with_its_description(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = fails(capsys, 2, "rtc", tmp_path, "--to", tmp_path / "out")
    assert message.startswith("sarcast: --dem is needed: Terrain heights")
    assert "{" not in message
    message = fails(capsys, 2, "index", tmp_path, "--to", tmp_path / "out", "--unit", "furlongs")
    assert message.endswith("takes one of linear power, dB, amplitude, but 'furlongs' was given")


def test_an_impossible_target_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scene_folder: Callable[..., Path]
) -> None:
    scenes = scene_folder({opera_name("20200301T154005"): np.full((2, *GRID.shape), 0.1)})
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "catalogue", tmp_path / ("n" * 300)):
        assert str(target) in fails(capsys, 1, "index", scenes, "--to", target)


def test_every_verb_has_a_manual(capsys: pytest.CaptureFixture[str]) -> None:
    run("--help")
    listed = capsys.readouterr().out
    for verb in VERBS:
        assert verb in listed
        run(verb, "--help")
        shown = capsys.readouterr().out
        assert "--" in shown, verb


def option_names(options: type[BaseModel]) -> Iterator[str]:
    for name, field in options.model_fields.items():
        if FLAT in field.metadata:
            yield from option_names(field.annotation)
        else:
            yield name


WITH_OPTIONS = sorted(
    {each.name for each in pkgutil.iter_modules(commands.__path__)} - {"model_options"}
)
"""Modules that have options of a verb; the one left out has types of single options."""


@pytest.mark.parametrize("module", WITH_OPTIONS)
def test_no_verb_has_two_options_of_one_name(module: str) -> None:
    """Otherwise one flag would mean two things, and the record could contain only one of them."""
    members = vars(importlib.import_module(f"sarcast.commands.{module}")).values()
    kinds = [each for each in members if isinstance(each, type) and issubclass(each, Config)]
    assert kinds
    for kind in kinds:
        names = list(option_names(kind))
        assert len(names) == len(set(names)), kind


def test_from_scenes_to_a_change_map(area: Path, tmp_path: Path) -> None:
    run("--quiet", "detect", area / "cube.zarr", "--model", area / "model", "--at", "2020-03-10",
        "--to", tmp_path / "detection")  # fmt: skip
    written = {path.name for path in (tmp_path / "detection").iterdir()}
    assert {*PRODUCTS, "item.json", "run.yaml", "null.npz"} <= written
    for path in (tmp_path / "detection").glob("*.tif"):
        assert cog_validate(path)[0]
    frame = geopandas.read_file(tmp_path / "detection" / "events.gpkg")
    assert frame.crs.to_epsg() == 32635
    assert {"date", "direction", "mean_vv_db", "evidence"} <= set(frame)


def test_the_command_writes_what_python_detects(area: Path, tmp_path: Path) -> None:
    run("--quiet", "detect", area / "cube.zarr", "--model", area / "model", "--until",
        "2020-03-09", "--acquisitions", "2", "--direction", "loss", "--min-area", "0.05",
        "--to", tmp_path)  # fmt: skip
    cube, model = sarcast.open_cube(area / "cube.zarr"), sarcast.load_model(area / "model")
    settings = {"until": "2020-03-09", "acquisitions": 2, "direction": "loss", "min_area": 0.05}
    detection = sarcast.detect(cube, model, **settings)
    files = {"expected.tif": "expected", "uncertainty.tif": "std", "difference.tif": "difference"}
    for name, image in files.items():
        with rasterio.open(tmp_path / name) as source:
            np.testing.assert_array_equal(source.read((1, 2)), detection.images[image])
    with rasterio.open(tmp_path / "evidence.tif") as source:
        np.testing.assert_array_equal(source.read(1), detection.images["evidence"])
    with rasterio.open(tmp_path / "change.tif") as source:
        change = source.read(1)
        np.testing.assert_array_equal(change == 255, ~detection.judged)
        np.testing.assert_array_equal((change > 0) & (change < 255), detection.images["changed"])
    assert len(geopandas.read_file(tmp_path / "events.gpkg")) == len(detection.events)


def test_the_command_in_an_evaluation_repeats_it(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command in the provenance contains every option that is not a default."""
    run("--quiet", "evaluate", area / "cube.zarr", "--model", area / "model", "--to",
        tmp_path / "proof", "--previous", "3", "--changes", "offset", "--changes", "gaussian",
        "--offset", "-1.5", "--offset", "-2", "--shapes.most", "2",
        "--by-condition=false")  # fmt: skip
    rows = re.findall(r"(offset -1.5/-2|gaussian 2.5) dB .* (0\.\d+) ", capsys.readouterr().out)
    assert rows == sorted(rows, key=lambda row: (row[0] == "gaussian 2.5", float(row[1])))
    first = Evaluation.read(tmp_path / "proof" / "evaluation.json")
    assert len(rows) == len(first.results)
    words = shlex.split(first.provenance["command"])
    run("--quiet", *words[1:], "--overwrite")
    again = Evaluation.read(tmp_path / "proof" / "evaluation.json")
    assert again.results == first.results
    assert {result.change for result in again.results} == {"offset -1.5/-2 dB", "gaussian 2.5 dB"}
    made = yaml.safe_load((area / "model" / "model.yaml").read_text())["training"]
    assert " to ".join(made["training_dates"]) in again.provenance["network"]
    assert "None" not in again.provenance["network"]


def test_a_command_contains_every_given_option_even_at_its_default() -> None:
    """A model overrides defaults, but not given options."""
    plain = AblateConfig(to=Path("out"), start_from=Path("base"))
    assert command("ablate", ["a b"], plain) == "sarcast ablate 'a b' --to out --from base"
    training = TrainOptions(batch=16, augment=AugmentOptions(mirror=False))
    given = AblateConfig(to=Path("out"), window=128, training=training, end="2020")
    assert flags(given) == [
        *("--to", "out", "--batch", "16", "--augment.mirror=false"),
        *("--end", "2020", "--window", "128"),
    ]


def test_evaluate_takes_the_dates_after_training(area: Path, tmp_path: Path) -> None:
    run("--quiet", "evaluate", area / "cube.zarr", "--model", area / "model",
        "--to", tmp_path / "proof")  # fmt: skip
    evaluation = Evaluation.read(tmp_path / "proof" / "evaluation.json")
    assert evaluation.provenance["target dates"] == "3, 2020-03-08 to 2020-03-10"
    methods = {result.method: result.role for result in evaluation.results}
    assert methods["unet"] == "network"
    assert {"closest-geometry", "latest-same-pass", "latest", "mean"} <= set(methods)
    page = (tmp_path / "proof" / "report.html").read_text()
    assert "closest-geometry" in page
    assert not re.search(r"(src|href)=.http|url\(.?http|@import", page)


def test_the_record_can_be_run_again(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The resolved options beside the result give the same result; flags win over them."""
    first, second = tmp_path / "first", tmp_path / "second"
    run("predict", area / "cube.zarr", "--model", area / "model", "--at", "2020-03-09",
        "--set", "orbit_direction=descending", "--to", first)  # fmt: skip
    assert "warning: heading lies far outside" in capsys.readouterr().err
    record = yaml.safe_load((first / "run.yaml").read_text())
    assert record["predict"]["set"] == ["orbit_direction=descending"]
    run("--quiet", "predict", "--config", first / "run.yaml", "--to", second)
    for name in ("expected.tif", "uncertainty.tif"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize(
    ("verb", "options"), [("predict", ()), ("detect", ("--previous", "2", "--replays", "2"))]
)
def test_the_chosen_number_format_is_recorded(
    verb, options, area: Path, tmp_path: Path, monkeypatch
) -> None:
    for avx512, chosen in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda value=avx512: value)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        to = tmp_path / chosen
        run("--quiet", verb, area / "cube.zarr", "--model", "base", "--at", "2020-03-09",
            *options, "--to", to)  # fmt: skip
        assert yaml.safe_load((to / "run.yaml").read_text())[verb]["precision"] == chosen


def test_the_shipped_weights_are_adapted(area: Path, tmp_path: Path) -> None:
    """After two steps the network predicts better than the mean, and its folder loads again."""
    run("--quiet", "train", area / "cube.zarr", "--to", tmp_path / "model", "--from", "base",
        "--end", "2020-03-07", "--window", "32", "--steps", "2", "--batch", "2",
        "--validation-windows", "4")  # fmt: skip
    model = load_model(tmp_path / "model")
    assert model.name == "base adapted"
    assert model.scores is not None
    assert model.scores.of_mean < 1.0
    assert model.training["validation_dates"][-1] == "2020-03-07"
    adapted, base = model.training["adapted"], load_model(Path("base")).training
    description = _describe_network(model)
    assert description.endswith(f", {adapted['best_step']} steps, {adapted['seconds']} s")
    assert f"{base['best_step']} steps" not in description
    run("--quiet", "predict", area / "cube.zarr", "--model", tmp_path / "model",
        "--at", "2020-03-10", "--to", tmp_path / "to")  # fmt: skip
    with rasterio.open(tmp_path / "to" / "uncertainty.tif") as source:
        assert np.nanstd(source.read()) > 0.0


def test_conditions_left_out_of_an_adaptation_have_no_effect(area: Path, tmp_path: Path) -> None:
    """Trained without the heading, the expected image is the same for every heading."""
    quick = ("--window", "32", "--steps", "1", "--batch", "2", "--validation-windows", "2")
    run("--quiet", "train", area / "cube.zarr", "--to", tmp_path / "first", "--from", "base",
        "--without", "heading", *quick)  # fmt: skip
    run("--quiet", "train", area / "cube.zarr", "--to", tmp_path / "second",
        "--from", tmp_path / "first", "--without", "platform", "--end", "2020-03-08",
        *quick)  # fmt: skip
    trainings = [load_model(tmp_path / name).training for name in ("first", "second")]
    assert [each["validation_dates"][-1] for each in trainings] == ["2020-03-10", "2020-03-08"]
    assert [each["seen_until"] for each in trainings] == ["2020-03-10", "2020-03-10"]
    cube = open_cube(area / "cube.zarr")
    conditions = ({"heading": -12.0}, {"heading": -168.0}, {"heading": -12.0, "platform": 1.0})
    for name, has_effect in (("first", True), ("second", False)):
        model = load_model(tmp_path / name)
        ascending, descending, platform = (
            predict(cube, model, "2020-03-10", conditions=c)["expected"] for c in conditions
        )
        np.testing.assert_array_equal(ascending, descending)
        assert bool(np.any(platform != ascending)) == has_effect


def test_unknown_keys_are_refused(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text("predict:\n  at: 2020-03-09\n  windspeed: 3\n")
    message = fails(capsys, 2, "predict", area / "cube.zarr", "--config", tmp_path / "run.yaml")
    assert "windspeed" in message
    message = fails(capsys, 2, "detect", area / "cube.zarr", "--config", tmp_path / "run.yaml")
    assert "must hold the options under the key 'detect', but holds predict" in message


@pytest.mark.parametrize(
    ("option", "status", "expected"),
    [
        ("dem: null", 1, "nowhere does not exist"),
        ("allow_missing: null", 1, "nowhere does not exist"),
        ("dem: [a.tif, null]", 2, "no null in a list, found ['dem']"),
    ],
)
def test_null_in_a_file_of_options(
    option: str, status: int, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It leaves an option at its default, but has no meaning in a list."""
    (tmp_path / "run.yaml").write_text(f"cube:\n  to: {tmp_path / 'cube.zarr'}\n  {option}\n")
    words = ("cube", tmp_path / "nowhere", "--config", tmp_path / "run.yaml")
    assert expected in fails(capsys, status, *words)


def test_null_in_a_group_of_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "run.yaml"
    words = ("evaluate", tmp_path / "nowhere", "--config", record)
    for group, status, expected in (
        ("{radius_px: null, share: null}", 1, "nowhere is not a cube"),
        ("{radius_px: [1.0, null]}", 2, "no null in a list, found ['radius_px']"),
    ):
        record.write_text(f"evaluate:\n  to: {tmp_path / 'to'}\n  persistent: {group}\n")
        assert expected in fails(capsys, status, *words)


def test_a_message_that_rasterio_cannot_log_is_not_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """GDAL's message about damaged metadata quotes bytes that are not UTF-8."""
    path = tmp_path / "in" / f"{opera_name('20200301T051122')}_VV.tif"
    write_cog(path, np.full(GRID.shape, 0.1, np.float32), GRID, tags={"a": "b"})
    path.write_bytes(path.read_bytes().replace(b"<GDALMetadata>", b"<GDALMeta\xff\xffta>"))
    run("--quiet", "index", tmp_path / "in", "--to", tmp_path / "out")
    assert "Unicode" not in capfd.readouterr().err


def test_extending_a_cube(area: Path, tmp_path: Path) -> None:
    for end, dates in (("2020-03-04", 4), ("2020-03-10", 10)):
        run("--quiet", "cube", area / "catalogue", "--to", tmp_path / "cube.zarr", "--end", end)
        assert open_cube(tmp_path / "cube.zarr").sizes["time"] == dates


def test_bad_usage_is_one_line(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cube, model = area / "cube.zarr", area / "model"
    to = tmp_path / "to"
    for message, words in {
        "Unknown command": ("dettect",),
        "--model": ("detect", cube, "--to", to, "--at", "2020-03-09"),
        "--stepz": ("train", cube, "--to", to, "--stepz", 3),
        "--steps: Input should be greater than or equal to 1, but '0' was given": (
            "train", cube, "--to", to, "--steps", 0,
        ),
        "must be a power of 2": ("train", cube, "--to", to, "--network", "unet", "--window", 100),
        "--area must be": ("cube", area / "catalogue", "--to", to, "--area", "here"),
        "cannot be read": ("predict", cube, "--config", tmp_path / "no.yaml"),
        "--set takes NAME=VALUE": (
            "predict", cube, "--model", model, "--at", "2020-03-09", "--to", to, "--set", "warm",
        ),
    }.items():  # fmt: skip
        assert message in fails(capsys, 2, *words)
        assert not to.exists()


def test_a_failure_is_one_line(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cube, model, catalogue = area / "cube.zarr", area / "model", area / "catalogue"
    to = tmp_path / "to"
    (tmp_path / "empty").mkdir()
    at = ("--model", model, "--to", to, "--at")
    none = ("--collection", "none")
    for message, words in {
        "no Sentinel-1 raster in": ("index", tmp_path / "empty", "--to", to),
        "does not exist; name the folder": ("cube", tmp_path / "nowhere", "--to", to),
        "no scene touches the area 1": ("cube", catalogue, "--to", to, "--area", "10,50,11,51"),
        "no scene touches the area -": ("cube", catalogue, "--to", to, "--area", "-10,50,-9,51"),
        "has no scene from 2021": ("cube", catalogue, "--to", to, "--start", "2021-01-01"),
        "has no scene of none from the first": ("cube", catalogue, "--to", to, *none),
        "nearest is 2020-03-10": ("detect", cube, *at, "2020-05-01"),
        "2 previous images are needed, but 1 precede": ("predict", cube, *at, "2020-03-02"),
        "no image precedes": ("detect", cube, *at, "2020-03-01"),
        "is not a cube": ("detect", tmp_path / "empty", *at, "2020-03-09"),
        "exists and is not empty": ("train", cube, "--to", model),
        "at least 2 target dates": ("train", cube, "--to", to, "--end", "2020-03-02", *QUICK),
    }.items():
        assert message in fails(capsys, 1, *words)
        assert not to.exists() or not any(to.iterdir())


def test_a_dem_in_another_crs_works(area: Path, tmp_path: Path) -> None:
    bounds = GRID.pad(20).extent.to_crs("EPSG:3067").boundingbox
    other = GeoBox.from_bbox(bounds, "EPSG:3067", resolution=10.0)
    write_cog(tmp_path / "dem.tif", plane(other), other)
    run("--quiet", "cube", area / "catalogue", "--to", tmp_path / "c", "--end", "2020-03-01",
        "--dem", tmp_path / "dem.tif")  # fmt: skip
    np.testing.assert_allclose(open_cube(tmp_path / "c")["elevation"], plane(GRID), atol=0.5)


@pytest.mark.parametrize("lost", ["model.yaml", "model.safetensors"])
def test_a_model_folder_that_lacks_a_file(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    model = copy_of(area / "model", tmp_path / "model")
    (model / lost).unlink()
    message = fails(capsys, 1, "detect", area / "cube.zarr", "--model", model, "--at", "2020-03-09",
                 "--to", tmp_path / "to")  # fmt: skip
    assert lost in message
    assert not (tmp_path / "to").exists()


def test_a_band_without_data(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    single = open_cube(area / "cube.zarr").load()
    single["backscatter"].loc[{"band": "VH"}] = np.nan
    monkeypatch.setattr("sarcast.commands.detect.open_cube", lambda _: single)
    monkeypatch.setattr("sarcast.commands.training_options.open_cube", lambda _: single)
    run("detect", area / "cube.zarr", "--model", area / "model", "--at", "2020-03-09",
        "--to", tmp_path / "vv")  # fmt: skip
    assert "warning: the previous images have no VH" in capsys.readouterr().err
    for words in (QUICK, ("--from", "base", "--steps", "1", "--previous", "2")):
        message = fails(capsys, 1, "train", area / "cube.zarr", "--to", tmp_path / "to", *words)
        assert (
            "no pixel of the validation windows has data in VH; sarcast needs VV and VH" in message
        )
        shutil.rmtree(tmp_path / "to")


def test_a_training_that_was_killed_before_it_began_is_run_again(
    area: Path, tmp_path: Path
) -> None:
    """When its folder was there but not, or only in part, the record of its options."""
    work = tmp_path / "to" / "training"
    for leftover in ("", ".run.yaml-0123abcd.partial"):
        (work / leftover).mkdir(parents=True)
        if leftover:
            (work / leftover / "run.yaml").write_text("train: {fro")
        run("train", area / "cube.zarr", "--to", tmp_path / "to", *QUICK)
        assert {path.name for path in work.iterdir()} == {"logs"}
        shutil.rmtree(tmp_path / "to")


def test_a_stopped_training_resumes_with_its_options(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after its first validation; then other options, the same, and another after it."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    request = ("train", area / "cube.zarr", "--to", tmp_path / "to", *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr("sarcast.prediction.training.train.residual_scores", stop)
        with pytest.raises(SystemExit):
            main([str(word) for word in request])
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"training"}
    message = fails(capsys, 1, *request, "--chooser", "recent", "--without", "heading")
    assert "holds a stopped training with other chooser, without; give the same" in message
    capsys.readouterr()
    run(*request)
    assert "resuming from the checkpoint at step 4" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "to").iterdir()} == {
        "training", "model.safetensors", "model.yaml", "run.yaml"
    }  # fmt: skip
    assert {path.name for path in (tmp_path / "to" / "training").iterdir()} == {"logs"}
    first = (tmp_path / "to" / "model.safetensors").read_bytes()
    assert "add --overwrite" in fails(capsys, 1, *request, "--seed", "3")
    with monkeypatch.context() as patch:
        patch.setattr("sarcast.prediction.training.train.residual_scores", stop)
        with pytest.raises(SystemExit):
            main([str(word) for word in (*request, "--seed", "3", "--overwrite")])
    assert (tmp_path / "to" / "model.safetensors").read_bytes() == first
    run(*request, "--seed", "3", "--overwrite")
    assert "resuming from the checkpoint at step 4" in capsys.readouterr().err
    assert (tmp_path / "to" / "model.safetensors").read_bytes() != first
    record = yaml.safe_load((tmp_path / "to" / "run.yaml").read_text())["train"]
    assert record["seed"] == 3


def test_options_without_effect_are_named(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("train", area / "cube.zarr", "--to", tmp_path / "to", "--from", area / "model", "--steps",
        "1", "--validation-windows", "2", "--unet.dropout", "0.1", "--window", "32")  # fmt: skip
    message = " ".join(capsys.readouterr().err.split())
    assert "which stays a unet of its size: --window, --unet" in message


def test_a_model_made_for_other_bands(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = copy_of(area / "model", tmp_path / "model")
    card = yaml.safe_load((model / "model.yaml").read_text())
    card["bands"] = ["HH", "HV"]
    (model / "model.yaml").write_text(yaml.safe_dump(card))
    message = fails(capsys, 1, "detect", area / "cube.zarr", "--model", model, "--at", "2020-03-09",
                 "--to", tmp_path / "to")  # fmt: skip
    assert "HH" in message
    assert "VV" in message


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for name in ("model.yaml", "model.safetensors"):
        (target / name).write_bytes((folder / name).read_bytes())
    return target


def test_overwriting_needs_its_flag(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--quiet", "predict", area / "cube.zarr", "--model", area / "model",
             "--at", "2020-03-09", "--to", tmp_path / "to")  # fmt: skip
    run(*words)
    before = (tmp_path / "to" / "item.json").read_text()
    assert "add --overwrite to replace it" in fails(capsys, 1, *words)
    assert (tmp_path / "to" / "item.json").read_text() == before
    run(*words, "--set", "temperature=20", "--overwrite")
    assert json.loads((tmp_path / "to" / "item.json").read_text())["properties"]["sarcast:set"]


def test_progress_is_plain_where_there_is_no_terminal(area: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sarcast.cli", "cube", area / "catalogue", "--to", tmp_path / "c"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "building the cube: 10 of 10" in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stdout == ""


def test_an_area_that_is_a_raster(area: Path, tmp_path: Path) -> None:
    like = GeoBox((30, 40), Affine(10.0, 0, 500_200.0, 0, -10.0, 6_899_800.0), "EPSG:32635")
    write_cog(tmp_path / "like.tif", np.ones(like.shape, np.float32), like)
    run("--quiet", "cube", area / "catalogue", "--to", tmp_path / "c", "--area",
        tmp_path / "like.tif")  # fmt: skip
    cut, whole = open_cube(tmp_path / "c"), open_cube(area / "cube.zarr")
    np.testing.assert_array_equal(cut["backscatter"], whole["backscatter"][..., 20:50, 20:60])


def test_scenes_are_added_to_a_catalogue(scene_folder: Callable[..., Path], tmp_path: Path) -> None:
    """Adding scenes to a catalogue keeps its earlier scenes."""
    first = scene_folder({opera_name("20200301T154005"): np.full((2, *GRID.shape), 0.1)}, name="a")
    second = scene_folder({opera_name("20200302T154005"): np.full((2, *GRID.shape), 0.1)}, name="b")
    for folder in (first, second):
        run("--quiet", "index", folder, "--to", tmp_path / "catalogue")
    run("--quiet", "cube", tmp_path / "catalogue", "--to", tmp_path / "c")
    assert open_cube(tmp_path / "c").sizes["time"] == 2


def test_training_never_replaces_its_inputs_or_foreign_files(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cube = area / "cube.zarr"
    mine = tmp_path / "mine"
    (mine / "training").mkdir(parents=True)
    (mine / "training" / "thesis.txt").write_text("years of work")
    for message, words in {
        "which is an input": (cube, "--to", cube, "--overwrite"),
        "exists and is not empty": (cube, "--to", mine),
        "not a result of sarcast": (cube, "--to", mine, "--overwrite"),
    }.items():
        assert message in fails(capsys, 1, "train", *words, "--end", "2020-03-07", *QUICK)
    assert (mine / "training" / "thesis.txt").read_text() == "years of work"
    assert open_cube(cube).sizes["time"] == 10


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (2, "has over 4e+09 pixels", ("--resolution", "0.00001")),
        (2, "coarser than the whole area", ("--resolution", "1e9")),
        (2, "--area must be", ("--area", "500,10,600,20")),
        (2, "is not a date", ("--start", "20200715")),
        (1, "does not exist; name a NetCDF", ("--weather", "nowhere.nc")),
    ],
)
def test_impossible_grids_and_dates_are_one_line(
    area: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    status: int,
    message: str,
    words: tuple[str, ...],
) -> None:
    assert message in fails(
        capsys, status, "cube", area / "catalogue", "--to", tmp_path / "c", *words
    )
    assert not (tmp_path / "c").exists()


def test_a_damaged_catalogue(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "items.parquet").write_bytes(b"PAR1 but no more")
    message = fails(capsys, 1, "cube", tmp_path, "--to", tmp_path / "c")
    assert "is damaged or no stac-geoparquet" in message


def interrupt() -> None:
    raise KeyboardInterrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("end", "status", "word"), [(interrupt, 130, "interrupted"), (terminate, 143, "terminated")]
)
def test_a_stopped_run_is_one_line_and_leaves_nothing(
    area: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[], None],
    status: int,
    word: str,
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    for stopped, words in {
        "sarcast.cube.steps.StepWriter._commit": (
            "cube",
            area / "catalogue",
            "--to",
            tmp_path / "c",
        ),
        "sarcast.commands.world.write_world": ("world", tmp_path / "world"),
    }.items():
        monkeypatch.setattr(stopped, lambda *_, **__: end())
        message = fails(capsys, status, *words)
        assert f"{word}; no half-written result is left: run the same command again" in message
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "out of memory; no half-written result is left"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory; "),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of mem"),
        (RuntimeError("can't start new thread"), "out of memory; "),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "out of memory; "),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG), "/a/x"), "a file is too large for"),
        (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "/a/x"), "File name too lo"),
        (OSError(errno.ELOOP, os.strerror(errno.ELOOP), "/a/x"), "symbolic links: /a/x"),
        (OSError(errno.EIO, os.strerror(errno.EIO), "/a/x"), "Input/output error: /a/x"),
        (OSError(errno.EBUSY, os.strerror(errno.EBUSY), "/a/x"), "busy: /a/x"),
    ],
)
def test_a_limit_of_the_machine_is_one_line(
    error: Exception,
    line: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("sarcast.commands.world.write_world", fail)
    assert line in fails(capsys, 1, "world", tmp_path / "to")
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_the_program_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("sarcast.commands.world.write_world", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["world", str(tmp_path / "to")])


def test_memory_that_numpy_cannot_get_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sarcast.commands.world.write_world", lambda *_, **__: np.empty((1 << 50,), np.float64)
    )
    assert "out of memory; " in fails(capsys, 1, "world", tmp_path / "to")


def test_a_target_that_another_run_writes_is_refused_by_every_verb(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cube, to = area / "cube.zarr", tmp_path / "to"
    model = ("--model", area / "model")
    write_samples(tmp_path / "a.tfrecord.GZIP", [plain()])
    (tmp_path / "X.SAFE").mkdir()
    (tmp_path / "X.SAFE" / "manifest.safe").touch()
    write_cog(tmp_path / "dem.tif", np.zeros(GRID.shape, np.float32), GRID)
    commands = {
        "detect": ("detect", cube, *model, "--at", "2020-03-10", "--to", to),
        "predict": ("predict", cube, *model, "--at", "2020-03-10", "--to", to),
        "evaluate": ("evaluate", cube, *model, "--to", to),
        "train": ("train", cube, "--to", to, *QUICK),
        "train --recipe": ("train", "--recipe", RECIPE, "--to", to),
        "ablate": ("ablate", cube, "--to", to, *QUICK),
        "bench": ("bench", "--to", to),
        "demo": ("demo", "--to", to),
        "world": ("world", to),
        "import": ("tfrecord", "import", tmp_path / "a.tfrecord.GZIP", "--to", to),
        "export": ("tfrecord", "export", cube, "--to", to),
        "cube": ("cube", area / "catalogue", "--to", to),
        "index": ("index", area / "scenes", "--to", to),
        "rtc": ("rtc", tmp_path / "X.SAFE", "--dem", tmp_path / "dem.tif", "--to", to),
        "view": ("view", detection_folder(tmp_path / "detection"), "--export", to),
    }
    assert {name.split()[0] for name in commands} >= VERBS.keys() - {"monitor", "publish", "doctor"}
    with exclusive(to):
        for name, words in commands.items():
            refused = fails(capsys, 1, *words)
            assert f"another run is writing {to}; wait for it to end" in refused, name
    assert not to.exists()


def test_every_verb_that_writes_a_record_is_known_by_it() -> None:
    written = set()
    for path in Path(commands.__file__).parent.glob("*.py"):
        found = re.findall(
            r'(?:write_record|prepare_folder)\((?:[\w.]+, )?"(\w+)', path.read_text()
        )
        written |= {*found}
    assert written - {"monitor"} == {*RECORDED}


def test_overwriting_keeps_the_files_of_the_user(area: Path, tmp_path: Path) -> None:
    """As a nightly run does, whose record can be run again in spite of the list of files in it."""
    to = tmp_path / "to"
    words = ("--quiet", "predict", area / "cube.zarr", "--model", area / "model",
             "--at", "2020-03-09", "--to", to)  # fmt: skip
    run(*words)
    mine = {"map.qgz": "a map", ".DS_Store": "x", "expected.tif.aux.xml": "statistics"}
    for name, content in mine.items():
        (to / name).write_text(content)
    run("--quiet", "predict", "--config", to / "run.yaml", "--overwrite")
    assert (to / "map.qgz").read_text() == "a map"
    assert (to / ".DS_Store").read_text() == "x"
    assert not (to / "expected.tif.aux.xml").exists()
    listed = yaml.safe_load((to / "run.yaml").read_text())["files"]
    assert {*listed, "map.qgz", ".DS_Store"} == {path.name for path in to.iterdir()}


def test_training_again_keeps_the_files_of_the_user(area: Path, tmp_path: Path) -> None:
    to = tmp_path / "to"
    run("--quiet", "train", area / "cube.zarr", "--to", to, *QUICK)
    for name in ("notes.txt", "training/notes.txt"):
        (to / name).write_text("mine")
    run("--quiet", "train", area / "cube.zarr", "--to", to, *QUICK, "--seed", "3", "--overwrite")
    assert yaml.safe_load((to / "run.yaml").read_text())["train"]["seed"] == 3
    for name in ("notes.txt", "training/notes.txt"):
        assert (to / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("error", "path"),
    [
        (PermissionError(13, "Permission denied", "/a/c.zarr/x/0.7f.partial"), "/a/c.zarr/x"),
        (PermissionError(13, "Permission denied", "/a/run.yaml"), "/a/run.yaml"),
    ],
)
def test_a_system_error_names_a_path_that_the_user_knows(error: OSError, path: str) -> None:
    assert _system_error(error) == f"Permission denied: {path}"


def test_a_system_error_without_a_path_keeps_its_text() -> None:
    error = OSError("Failed to open local file '/a/items.parquet'.\n Permission denied")
    assert _system_error(error) == "Failed to open local file '/a/items.parquet'. Permission denied"


def test_circular_links_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, area: Path
) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert str(tmp_path) in fails(capsys, 1, "cube", area, "--to", tmp_path / "one")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("turned_into", [None, ValueError, SarcastError])
def test_a_stop_that_a_library_turns_into_another_error_is_a_stop(
    number: int,
    status: int,
    turned_into: type[Exception] | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def open_slowly(_: object) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5.0)
        except KeyboardInterrupt as stop:
            raise (turned_into or type(stop))("of a library") from stop

    monkeypatch.setattr("sarcast.commands.detect.open_cube", open_slowly)
    line = fails(capsys, status, "detect", "x", "--model", "mean", "--to", tmp_path / "to")
    assert line.startswith("sarcast: interrupted" if number == signal.SIGINT else "sarcast: termi")
    assert not (tmp_path / "to").exists()


def test_a_record_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def half(path: Path, text: str, **words: str) -> None:
        write(path, text[: len(text) // 2], **words)
        raise KeyboardInterrupt

    config = AblateConfig(to=tmp_path)
    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(KeyboardInterrupt):
        write_record(tmp_path, "ablate", {"source": "x"}, config)
    assert not [*tmp_path.iterdir()]
    monkeypatch.undo()
    write_record(tmp_path, "ablate", {"source": "x"}, config)
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]
