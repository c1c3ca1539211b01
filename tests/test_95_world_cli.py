"""``sarcast world`` as used: help, records, bad input, an interrupt, a full disk."""

import filecmp
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from sarcast.catalogue import FolderCatalogue
from sarcast.catalogue.scene import Scene
from sarcast.cli import main
from sarcast.world import writer
from sarcast.world.options import WorldOptions

SMALL = ("--size-km", "0.6", "--start", "2020-05-01", "--end", "2020-05-14")


def run(*words: object) -> int:
    """Run the command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "area"
    more = ("--looks", "9", "--strips", "0.5", "--flattening", "1", "--seed", "3")
    assert run("--quiet", "world", folder, *SMALL, *more) == 0
    return folder


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_record_repeats_the_world_byte_by_byte(written: Path, tmp_path: Path) -> None:
    record = yaml.safe_load((written / "run.yaml").read_text())["world"]
    assert record["seed"] == 3 and record["looks"] == 9.0 and record["flattening"] == 1.0
    other = tmp_path / "other"
    assert run("--quiet", "--config", written / "run.yaml", "world", other) == 0
    names = files_of(written)
    assert files_of(other) == names
    assert filecmp.cmpfiles(written, other, names, shallow=False)[1:] == ([], [])


def test_flags_override_the_record(written: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    words = ("--config", written / "run.yaml", "world", other, "--end", "2020-05-04")
    assert run("--quiet", *words) == 0
    assert len(FolderCatalogue(other).search()) < len(FolderCatalogue(written).search())


def test_every_option_is_in_the_help_with_its_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("world", "--help") == 0
    shown = " ".join(re.sub(r"[│╭╰─╮╯]", " ", capsys.readouterr().out).split())
    for name, field in WorldOptions.model_fields.items():
        flag = "--" + name.replace("_", "-")
        assert flag in shown
        limits = {type(each).__name__: each for each in field.metadata}
        if {"Ge", "Le"} <= limits.keys():
            low, high = f"{limits['Ge'].ge:g}", f"{limits['Le'].le:g}"
            assert f"{low}..{high}" in field.description
    assert "boreal, temperate, monsoon, dryland, random" in shown
    assert "none, lee, refined-lee, tv" in shown
    assert "--start" in shown and "--end" in shown and "--from" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--start", "2021-05-01", "--end", "2020-01-01"),
         "the last day, 2020-01-01, must not lie before the first, 2021-05-01"),
        (("--size-km", "0"), "--size-km: Input should be greater than or equal to 0.5, but '0'"),
        (("--size-km", "nan"), "--size-km: Input should be"),
        (("--size-km", "90"), "16 to 4000 pixels a side, but 90 km at 10 m are 9000"),
        (("--preset", "tundra"), "--preset: Input should be 'boreal', 'temperate'"),
        (("--start", "yesterday"), "--start: Input should be a valid date"),
        (("--start", "2020-13-01"), "--start: Input should be a valid date"),
        (("--end", "soon"), "--end: Input should be a valid date"),
        (("--changes", "foo"), "Unknown option: --changes. Did you mean --changes-from?"),
        (("--changes-per-km2", "foo"), "--changes-per-km2: Input should be a valid number"),
        (("--speckle-filter", "box"), "--speckle-filter: Input should be 'none', 'lee'"),
        (("--strips", "2"), "--strips: Input should be less than or equal to 1, but '2'"),
        (("--seed", "-1"), "--seed: Input should be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_bad_usage_is_one_line_that_names_the_flag_as_it_was_typed(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("world", tmp_path / "area", *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("sarcast: ") and message in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("world: {looks: many}", "--looks: Input should be a valid number"),
        ("world: {start: 2020-05-09, end: 2020-05-01}", "the last day, 2020-05-01, must not"),
        ("world: {hills: 3}", 'Unknown option: "[hills]"'),
        ("size_km: 3", "must hold the options under the key 'world', but holds size_km"),
    ],
)
def test_a_bad_config_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text(text)
    assert run("--config", tmp_path / "run.yaml", "world", tmp_path / "area") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "area").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--start", "2014-01-01", "--end", "2014-02-01"), "no satellite was in service"),
        (("--start", "2020-05-01", "--end", "2020-05-01", "--tracks", "1", "--seed", "6"),
         "the time is shorter than its 6 to 12 days"),
    ],
)  # fmt: skip
def test_worlds_without_a_scene_are_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("world", tmp_path / "area", "--size-km", "0.6", *words) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_when_asked_and_only_a_world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    area, thesis = tmp_path / "area", tmp_path / "thesis"
    short = ("--size-km", "0.6", "--start", "2020-05-01", "--end", "2020-05-04")
    assert run("--quiet", "world", area, *short) == 0
    before = (area / "dem.tif").read_bytes()
    assert run("world", area, *short, "--seed", "1") == 1
    assert "add --overwrite to replace it" in capsys.readouterr().err
    assert (area / "dem.tif").read_bytes() == before
    assert run("--quiet", "world", area, *short, "--seed", "1", "--overwrite") == 0
    assert (area / "dem.tif").read_bytes() != before
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("years")
    assert run("world", thesis, *short, "--overwrite") == 1
    assert "is not replaced" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["area", "thesis"]


def test_progress_is_shown_unless_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ("--size-km", "0.6", "--start", "2020-05-01", "--end", "2020-05-04")
    assert run("world", tmp_path / "loud", *short) == 0
    output = capsys.readouterr()
    assert re.search(r"writing scenes: (\d+) of \1\n", output.err) and output.out == ""
    assert f"sarcast cube {tmp_path / 'loud'} --to CUBE" in output.err.replace("\n", "")
    assert run("--quiet", "world", tmp_path / "quiet", *short) == 0
    output = capsys.readouterr()
    assert output.err == "" and output.out == ""


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tiny_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--quiet", "world", tiny_disk / "area", *SMALL) == 1
    assert "no space left on the disk of" in capsys.readouterr().err
    assert list(tiny_disk.iterdir()) == []


def test_an_interrupt_leaves_nothing_and_the_same_command_runs_again(tmp_path: Path) -> None:
    words = ("world", tmp_path / "area", "--size-km", "2", "--end", "2021-12-31")
    command = [sys.executable, "-m", "sarcast.cli", *map(str, words)]
    # where tests run in the background of a shell, interrupts are ignored, and by children too
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, before)
        deadline = time.monotonic() + 150.0
        while not any(tmp_path.glob(".area-*.partial/scenes/*_VV.tif")):
            assert process.poll() is None
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60.0)
    assert process.returncode == 130
    assert "interrupted; no half-written result is left" in errors and "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
    assert run("--quiet", "world", tmp_path / "area", *SMALL) == 0
    assert (tmp_path / "area" / "items.parquet").is_file()


def test_an_interrupt_between_scenes_waits_for_those_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = writer._write_scene
    started: list[str] = []
    ended: list[str] = []

    def write_slowly(folder: Path, *others: Any) -> Scene:
        started.append(folder.name)
        time.sleep(0.3)
        scene = write(folder, *others)
        ended.append(folder.name)
        return scene

    def interrupted(scene: Scene) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "_write_scene", write_slowly)
    monkeypatch.setattr(Scene, "to_item", interrupted)
    assert run("--quiet", "world", tmp_path / "area", *SMALL[:-1], "2020-06-30") == 130
    assert started and ended == started
    assert list(tmp_path.iterdir()) == []
