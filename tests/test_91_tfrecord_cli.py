from dataclasses import replace

import numpy as np
import pytest

from fuzz.fuzz_tfrecord import plain, simulated
from sarcast.cli import main
from sarcast.errors import SarcastError
from sarcast.evaluation import Evaluation
from sarcast.tfrecord import SampleStore, encode, read_samples, write_records, write_samples
from sarcast.tfrecord.store import write_store
from test_54_tfrecord import same


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["--quiet", *map(str, arguments)])
    return ended.value.code


def several(count, make=simulated, size=16):
    """Samples that differ, in the order of their dates but for the first two."""
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
    for one, other in zip(store, samples, strict=True):
        same(one, other)
    code = run("tfrecord", "export", tmp_path / "store", "--to", tmp_path / "out", "--samples", 2)
    assert code == 0
    files = sorted((tmp_path / "out").glob("*.tfrecord.GZIP"))
    assert len(files) == 3
    for one, other in zip(read_samples(files), samples, strict=True):
        same(one, other)


def test_published_samples_come_through_the_store(data_dir, tmp_path):
    folder = data_dir / "tfrecord" / "simulated-change-with-prediction"
    assert run("tfrecord", "import", folder, "--to", tmp_path / "store") == 0
    for one, other in zip(
        SampleStore(tmp_path / "store"), read_samples(sorted(folder.glob("*"))), strict=True
    ):
        same(one, other)


def test_evaluation_of_files_and_of_their_import_is_one(tmp_path, capsys):
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


def test_samplers_part_the_dates_and_draw_from_their_own(tmp_path):
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
    with pytest.raises(SarcastError, match="the store holds 1"):
        write_store(tmp_path / "one", several(2)[:1])
        SampleStore(tmp_path / "one").split(0.3)


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
    with pytest.raises(SarcastError, match="holds no imported samples"):
        SampleStore(tmp_path / "x")


def test_ablation_trains_on_samples_and_goes_on(tmp_path, capsys):
    write_store(tmp_path / "store", several(12, size=32))
    arguments = ["ablate", tmp_path / "store", "--to", tmp_path / "out", "--conditions", "heading"]
    arguments += ["--size", 32, "--steps", 3, "--batch", 2, "--fit-windows", 2]
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


def test_ablation_of_an_unknown_condition_is_told(tmp_path, capsys):
    write_store(tmp_path / "store", several(2))
    code = run("ablate", tmp_path / "store", "--to", tmp_path / "o", "--conditions", "wind")
    assert code == 1
    assert "there is no condition 'wind'" in capsys.readouterr().err
