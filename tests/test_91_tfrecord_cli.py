import shlex
from dataclasses import replace

import numpy as np
import pytest

from fuzz.fuzz_tfrecord import plain, simulated
from sarcast.cli import main
from sarcast.cube import open_cube
from sarcast.errors import SarcastError
from sarcast.evaluation.metrics import Evaluation
from sarcast.prediction import load_model
from sarcast.prediction.strategies import STRATEGIES
from sarcast.prediction.training.adapt import ADAPTATION_DEFAULTS
from sarcast.tfrecord import SampleStore, encode, read_samples, write_records, write_samples
from sarcast.tfrecord.store import write_store
from sarcast.tfrecord.wire import read_example, write_example, write_tensor
from test_62_tfrecord import assert_same


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["--quiet", *map(str, arguments)])
    return ended.value.code


def main_ok(*arguments):
    assert run(*arguments) == 0, arguments


def several(count, make=simulated, size=16):
    """Samples that differ, in the order of their dates except for the first two."""
    rng = np.random.default_rng(0)
    made = []
    for number in [1, 0, *range(2, count)]:
        sample = make(size)
        images = rng.normal(-12, 2, (5, 2, size, size)).astype(np.float32)
        window = replace(
            sample.window,
            previous=images[:4],
            target=images[4],
            times=sample.window.times + np.timedelta64(30 * number, "D"),
        )
        sample = replace(sample, window=window, location=f"POINT ({number} 62)")
        if sample.shapes is not None:
            sample = replace(sample, superpixels=rng.integers(0, 9, (size, size)))
        made.append(sample)
    return made


@pytest.mark.parametrize("make", [plain, simulated])
def test_import_and_export_change_no_value(tmp_path, make):
    samples = several(5, make)
    write_samples(tmp_path / "in" / "a.tfrecord.GZIP", samples[:3])
    write_samples(tmp_path / "in" / "b.tfrecord.GZIP", samples[3:])
    assert run("tfrecord", "import", tmp_path / "in", "--to", tmp_path / "store") == 0
    store = SampleStore(tmp_path / "store")
    assert len(store) == 5
    for sample, other in zip(store, samples, strict=True):
        assert_same(sample, other)
    code = run("tfrecord", "export", tmp_path / "store", "--to", tmp_path / "out", "--samples", 2)
    assert code == 0
    files = sorted((tmp_path / "out").glob("*.tfrecord.GZIP"))
    assert len(files) == 3
    for sample, other in zip(read_samples(files), samples, strict=True):
        assert_same(sample, other)


def test_a_cube_and_its_exported_samples_give_one_evaluation(world_cube, tmp_path):
    """The same windows, changed by the same shapes; only the cube has the oracle."""
    main_ok("tfrecord", "export", world_cube, "--to", tmp_path / "out", "--window", 32)
    main_ok("tfrecord", "import", tmp_path / "out", "--to", tmp_path / "store")
    found = {}
    for name, source in {"cube": world_cube, "store": tmp_path / "store"}.items():
        words = [
            "--window",
            32,
            "--shapes.least",
            1,
            "--changes",
            "offset",
            "--changes",
            "gaussian",
        ]
        main_ok("evaluate", source, "--to", tmp_path / f"of-{name}", *words)
        evaluation = Evaluation.read(tmp_path / f"of-{name}" / "evaluation.json")
        found[name] = {(r.method, r.change): r for r in evaluation.results if r.role == "strategy"}
    assert len(found["store"]) == 2 * len(STRATEGIES)
    assert found["store"].keys() == found["cube"].keys()
    for key, ours in found["store"].items():
        theirs = found["cube"][key]
        assert (ours.windows, ours.pixels) == (theirs.windows, theirs.pixels)
        assert ours.changed_pixels == theirs.changed_pixels > 0
        assert ours.auc == pytest.approx(theirs.auc, abs=1e-6)
        assert ours.mse_db2 == pytest.approx(theirs.mse_db2, rel=1e-5)


def test_exported_samples_have_their_location_and_take_ids(world_cube, tmp_path):
    main_ok(
        "tfrecord", "export", world_cube, "--to", tmp_path / "out", "--window", 64, "--previous", 2
    )
    samples = list(read_samples(sorted((tmp_path / "out").glob("*.GZIP"))))
    opened = open_cube(world_cube)
    assert len(samples) == opened.sizes["time"] - 2
    assert samples[-1].take_ids == tuple(str(name) for name in opened["scene_id"].values[-3:])
    x, y = (float(part) for part in samples[0].location.strip("POINT ()").split())
    west, south, east, north = opened.odc.geobox.geographic_extent.boundingbox.bbox
    assert (x, y) == pytest.approx(((west + east) / 2, (south + north) / 2), abs=2e-4)
    np.testing.assert_allclose(samples[0].window.target, opened["backscatter"][2], atol=1e-6)


def test_imports_and_exports_can_be_replaced_and_run_again(tmp_path, capsys):
    write_samples(tmp_path / "a.tfrecord.GZIP", several(3))
    words = ["tfrecord", "import", tmp_path / "a.tfrecord.GZIP", "--to", tmp_path / "store"]
    main_ok(*words)
    assert run(*words) == 1
    assert "add --overwrite to replace it" in capsys.readouterr().err
    main_ok(*words, "--overwrite")
    main_ok(
        "tfrecord", "import", "--config", tmp_path / "store" / "run.yaml", "--to", tmp_path / "b"
    )
    assert len(SampleStore(tmp_path / "b")) == 3
    words = ["tfrecord", "export", tmp_path / "store", "--to", tmp_path / "out"]
    main_ok(*words)
    assert run(*words) == 1
    main_ok(*words, "--overwrite", "--samples", 1)
    assert len(list((tmp_path / "out").glob("*.GZIP"))) == 3
    assert run("tfrecord", "export", tmp_path / "store", "--to", tmp_path / "store") == 1


def test_published_samples_come_through_the_store(data_dir, tmp_path):
    folder = data_dir / "tfrecord" / "simulated-change-with-prediction"
    assert run("tfrecord", "import", folder, "--to", tmp_path / "store") == 0
    for sample, other in zip(
        SampleStore(tmp_path / "store"), read_samples(sorted(folder.glob("*"))), strict=True
    ):
        assert_same(sample, other)


def test_files_and_their_import_give_the_same_evaluation(tmp_path, capsys):
    samples = several(6)
    write_samples(tmp_path / "a.tfrecord.GZIP", samples)
    write_store(tmp_path / "store", samples)
    found = []
    for source in (tmp_path / "a.tfrecord.GZIP", tmp_path / "store"):
        assert run("evaluate", source, "--to", tmp_path / f"of-{source.name}") == 0
        found.append(Evaluation.read(tmp_path / f"of-{source.name}" / "evaluation.json"))
    assert found[0].results == found[1].results
    assert {r.method for r in found[0].results} >= {"recorded prediction", "latest"}
    assert "recorded prediction" in capsys.readouterr().out


def test_paper_tables_are_printed(tmp_path, capsys):
    write_samples(tmp_path / "a.tfrecord.GZIP", several(6))
    assert run("evaluate", tmp_path / "a.tfrecord.GZIP", "--to", tmp_path / "e", "--paper") == 0
    shown = capsys.readouterr().out
    for title in ("Table II", "Table III", "Table IV"):
        assert title in shown


def test_samplers_split_the_dates_and_draw_from_their_own(tmp_path):
    write_store(tmp_path / "store", several(10))
    training, validation = SampleStore(tmp_path / "store").split(0.3)
    assert training.dates()[1] < validation.dates()[0]
    drawn = training.draw(50, rng=np.random.default_rng(0))
    last = max(window.times[-1] for window in drawn)
    first = min(w.times[-1] for w in validation.draw(50, rng=np.random.default_rng(0)))
    assert last < first
    assert [s.window.times[-1] for s in validation.samples()] == sorted(
        {w.times[-1] for w in validation.draw(50, rng=np.random.default_rng(0))}
    )
    assert len({window.times[-1] for window in drawn}) == 7
    with pytest.raises(SarcastError, match="the store contains 1, all of one date"):
        write_store(tmp_path / "one", several(2)[:1])
        SampleStore(tmp_path / "one").split(0.3)


def test_samples_of_one_date_are_not_split(tmp_path):
    """The date that straddles the given share goes to the side nearest to it."""
    samples = [replace(one) for one in several(10)]
    first = samples[2].window.times
    same = [replace(one, window=replace(one.window, times=first)) for one in samples[2:8]]
    write_store(tmp_path / "store", [*samples[:2], *same, *samples[8:]])
    training, validation = SampleStore(tmp_path / "store").split(0.5)
    times = [[one.window.times[-1] for one in part.samples()] for part in (training, validation)]
    assert (len(times[0]), len(times[1])) in {(2, 8), (8, 2)}
    assert max(times[0]) < min(times[1])
    write_store(tmp_path / "one", same)
    with pytest.raises(SarcastError, match="the store contains 6, all of one date"):
        SampleStore(tmp_path / "one").split(0.5)


def test_files_are_read_once_and_an_argument_without_files_is_an_error(tmp_path, capsys):
    file = tmp_path / "in" / "a.tfrecord.GZIP"
    write_samples(file, several(3))
    assert run("tfrecord", "import", file.parent, file, "--to", tmp_path / "store") == 0
    assert len(SampleStore(tmp_path / "store")) == 3
    assert run("tfrecord", "import", file, tmp_path / "no", "--to", tmp_path / "other") == 1
    assert f"no TFRecord file in {tmp_path / 'no'}" in capsys.readouterr().err.replace("\n", "")


def test_a_network_of_another_shape_than_the_samples_is_an_error(tmp_path, capsys):
    write_store(tmp_path / "store", several(4, size=32))
    words = ["train", tmp_path / "store", "--to", tmp_path / "m", "--network", "unet"]
    assert run(*words, "--window", 64) == 1
    said = capsys.readouterr().err
    assert "hold 4 previous images of 32 x 32 pixels, but the network takes 4 of 64 x 64" in said
    assert run(*words, "--window", 32, "--previous", 3) == 1
    assert "takes 3 of 32 x 32" in capsys.readouterr().err


def loud(capsys, *arguments):
    """Run a command and return what it logs."""
    capsys.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main([str(word) for word in arguments])
    return capsys.readouterr().err


def test_options_without_effect_are_warned_of(tmp_path, capsys):
    """Options of cubes on samples, changes that no window allows, classifiers without a fit."""
    bare = [replace(one, window=replace(one.window, open_land=None)) for one in several(3, plain)]
    write_store(tmp_path / "store", bare)
    said = loud(capsys, "evaluate", tmp_path / "store", "--to", tmp_path / "e", "--previous", 3,
                "--classifiers", "--changes", "offset", "--changes", "statistical", "--within",
                "anywhere", "--shapes.least", 1, "--start", "2020")  # fmt: skip
    assert "samples are used as they are: --previous, --start have an effect on cubes only" in said
    assert "the change 'statistical' was not simulated" in said
    no_classifier = "no classifier was evaluated: they are fitted on the first 16 windows"
    assert said.count(f"warning: {no_classifier}") == 1
    said = loud(capsys, "tfrecord", "export", tmp_path / "store", "--to", tmp_path / "x",
                "--window", 8)  # fmt: skip
    assert "--window have an effect on cubes only" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--offset", "-2.5"], "--offset: one value per band is needed, VV and VH, but ['-2.5']"),
        (["--offset", "nan", "--offset", "1"], "--offset: Input should be a finite number"),
        (["--gaussian", "inf"], "--gaussian: Input should be a finite number"),
    ],
)
def test_impossible_changes_are_bad_usage(tmp_path, capsys, words, said):
    assert run("evaluate", tmp_path, "--to", tmp_path / "e", *words) == 2
    assert said in capsys.readouterr().err.replace("\n", "")


def test_bad_input_is_one_line(tmp_path, capsys):
    assert run("tfrecord", "import", tmp_path, "--to", tmp_path / "x") == 1
    assert "there is no TFRecord file in" in capsys.readouterr().err
    path = tmp_path / "bad.tfrecord"
    write_records(path, [encode(plain()), encode(plain())])
    path.write_bytes(path.read_bytes()[:-30])
    assert run("tfrecord", "import", path, "--to", tmp_path / "x") == 1
    error = capsys.readouterr().err
    assert f"{path}, record at byte" in error.replace("\n", "")
    assert not (tmp_path / "x").exists()
    assert run("tfrecord", "import", path, "--to", tmp_path / "x", "--faults", "skip") == 0
    assert len(SampleStore(tmp_path / "x")) == 1


def test_samples_of_two_schemas_are_refused(tmp_path):
    with pytest.raises(SarcastError, match="sample 1 differs from the first in prediction, shapes"):
        write_store(tmp_path / "x", [plain(), simulated()])
    with pytest.raises(SarcastError, match="differs from the first in elevation"):
        write_store(tmp_path / "x", [plain(4), plain(5)])
    with pytest.raises(SarcastError, match="no sample to import"):
        write_store(tmp_path / "x", [])
    assert not (tmp_path / "x").exists()
    with pytest.raises(SarcastError, match="contains no imported samples"):
        SampleStore(tmp_path / "x")


def test_ablation_trains_on_samples_and_resumes(tmp_path, capsys):
    write_store(tmp_path / "store", several(12, size=32))
    arguments = ["ablate", tmp_path / "store", "--to", tmp_path / "out", "--conditions", "heading"]
    arguments += ["--window", 32, "--steps", 3, "--batch", 2, "--fit-windows", 2]
    arguments += ["--validation-share", 0.5]
    assert run(*arguments) == 0
    shown = capsys.readouterr().out
    assert "Table V" in shown
    found = Evaluation.read(tmp_path / "out" / "evaluation.json")
    assert {r.method for r in found.results if r.role == "network"} == {
        "all conditions",
        "without heading",
    }
    written = (tmp_path / "out" / "without-heading" / "model.yaml").stat().st_mtime_ns
    assert run(*arguments) == 0
    again = (tmp_path / "out" / "without-heading" / "model.yaml").stat().st_mtime_ns
    assert again == written
    assert Evaluation.read(tmp_path / "out" / "evaluation.json").results == found.results
    capsys.readouterr()
    assert run(*arguments, "--learning-rate", 0.5, "--warmup", 4) == 1
    assert (
        "trained with other options, by their record: learning_rate, warmup"
        in capsys.readouterr().err
    )


def test_ablation_of_an_unknown_condition_is_an_error(tmp_path, capsys):
    write_store(tmp_path / "store", several(2))
    code = run("ablate", tmp_path / "store", "--to", tmp_path / "o", "--conditions", "wind")
    assert code == 1
    assert "there is no condition 'wind'" in capsys.readouterr().err


def test_an_ablation_that_trained_nothing_can_be_run_with_other_options(tmp_path, capsys):
    """A test set without samples is an error before any training; then all options may change."""
    write_store(tmp_path / "store", several(2))
    words = ["ablate", tmp_path / "store", "--to", tmp_path / "o", "--network", "temporal"]
    assert run(*words, "--test", tmp_path / "nowhere") == 1
    assert "nowhere holds no sample" in capsys.readouterr().err.replace("\n", "")
    assert not (tmp_path / "o").exists()
    assert run(*words, "--without", "wind") == 1
    assert "there is no condition 'wind'" in capsys.readouterr().err
    assert run(*words, "--without", "rain") == 1
    assert "there is no condition 'rain'" in capsys.readouterr().err


ABLATION = ["--window", 32, "--steps", 2, "--batch", 2, "--validation-windows", 2]
ABLATION += ["--conditions", "heading", "--fit-windows", 2, "--shapes.least", 1]


def test_ablation_of_a_cube_shows_the_papers_table(world_cube, tmp_path, capsys):
    """Each network lacks its condition, in training and in evaluation, on dates after training."""
    words = [world_cube, "--to", tmp_path / "out", "--network", "temporal", "--from", "base"]
    words += [*ABLATION, "--end", "2020-05-15", "--without", "platform"]
    main_ok("ablate", *words)
    assert "Table V" in capsys.readouterr().out
    cards = [load_model(tmp_path / "out" / name).training for name in NETWORKS]
    assert [card["without"] for card in cards] == [["platform"], ["platform", "heading"]]
    assert cards[0]["validation_dates"][-1] <= "2020-05-15"
    found = Evaluation.read(tmp_path / "out" / "evaluation.json")
    auc = {r.method: r.auc for r in found.results if r.difference == "norm"}
    assert set(auc) == {"all conditions", "without heading", "closest-geometry", "oracle"}
    assert auc["all conditions"] > auc["closest-geometry"]
    assert auc["all conditions"] != auc["without heading"]
    assert {c.classifier for c in found.classifiers} == {"linear SVC"}
    assert "report.html" in {path.name for path in (tmp_path / "out").iterdir()}
    command = shlex.split(found.provenance["command"])
    assert (command[:3], sorted(command[3:])) == (
        ["sarcast", "ablate", str(world_cube)],
        sorted(str(word) for word in words[1:]),
    )
    assert cards[0]["adapted"]["options"]["batch"] == 2
    assert cards[0]["adapted"]["options"]["learning_rate"] == ADAPTATION_DEFAULTS["learning_rate"]


NETWORKS = ("all-conditions", "without-heading")


def test_an_ablation_replaces_only_its_own(world_cube, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    words = ["ablate", world_cube, "--to", tmp_path / "mine"]
    assert run(*words) == 1
    assert "exists and is not empty" in capsys.readouterr().err
    assert run(*words, "--overwrite") == 1
    assert "not a result of sarcast" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert run("ablate", tmp_path / "nowhere", "--to", tmp_path / "new") == 1
    assert "is not a cube" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert run("ablate", world_cube, "--to", world_cube, "--overwrite") == 1
    assert "which is an input" in capsys.readouterr().err


def unchanged(sample):
    return replace(sample, shapes=np.zeros_like(sample.shapes))


def changed_everywhere(sample):
    return replace(sample, shapes=np.ones_like(sample.shapes))


def without_data(sample):
    blank = np.full_like(sample.window.target, np.nan)
    return replace(sample, window=replace(sample.window, target=blank))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            unchanged,
            "there are 0 changed and 1536 unchanged ones; use more windows with simulated change",
        ),
        (changed_everywhere, "there are 1536 changed and 0 unchanged ones"),
        (without_data, "nothing was evaluated; no window was valid for every method"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_samples_that_cannot_be_evaluated_are_one_line(tmp_path, capsys, spoil, message):
    """Masks without change, one class alone, images that are all NaN: also with classifiers."""
    write_samples(tmp_path / "a.tfrecord.GZIP", [spoil(sample) for sample in several(6)])
    for more in ((), ("--classifiers", "--fit-windows", 2)):
        words = ["evaluate", tmp_path / "a.tfrecord.GZIP", "--to", tmp_path / "out", *more]
        assert run(*words) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert message in lines[0] or "a classifier learns from changed and unchanged" in lines[0]
        assert not (tmp_path / "out").exists()


def test_no_simulated_shape_is_one_line(world_cube, tmp_path, capsys):
    words = ["evaluate", world_cube, "--to", tmp_path / "out", "--shapes.most", 0, "--window", 32]
    assert run(*words) == 1
    assert "needs changed and unchanged pixels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("dem_rast", None, "the sample has no feature 'dem_rast'"),
        ("dem_rast", np.zeros((16, 16), "f8"), "dem_rast must be of type float32"),
        ("target_image", np.zeros((2, 16, 15), "f4"), "must have shape"),
        ("target_image", b"\x08\x63", "unknown type 99"),
    ],
)
def test_a_record_that_is_not_a_sample_is_named_or_skipped(tmp_path, capsys, name, value, said):
    features = dict(read_example(memoryview(encode(plain()))))
    if value is None:
        del features[name]
    else:
        features[name] = [value if isinstance(value, bytes) else write_tensor(value)]
    path = tmp_path / "a.tfrecord"
    good = encode(plain())
    write_records(path, [good, write_example(features), good])
    for words in (("tfrecord", "import"), ("evaluate",)):
        assert run(*words, path, "--to", tmp_path / "out") == 1
        error = capsys.readouterr().err
        assert said in error
        assert f"{path}, record at byte {len(good) + 16}: " in error
    main_ok("tfrecord", "import", path, "--to", tmp_path / "out", "--faults", "skip")
    assert len(SampleStore(tmp_path / "out")) == 2
    main_ok("evaluate", path, "--to", tmp_path / "proof", "--faults", "skip", *SMALL)
    found = Evaluation.read(tmp_path / "proof" / "evaluation.json")
    assert {result.windows for result in found.results} == {2}


SMALL = ("--shapes.least", 3, "--shapes.size", 0.9)
