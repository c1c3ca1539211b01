"""``sarcast doctor``, and the log of a run."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sarcast
from sarcast.cli import VERBS, main
from sarcast.diagnosis import diagnose


def ends(status: int, *words: object) -> None:
    """Run the command line and expect this status."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert (ended.value.code or 0) == status


# --- doctor ---------------------------------------------------------------------------------------


def test_a_report_for_people(world_cube: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends(0, "--quiet", "doctor", world_cube)
    shown = " ".join(capsys.readouterr().out.split())
    found = diagnose(world_cube)
    assert found.cube is not None
    assert f"sarcast {sarcast.__version__} in" in shown
    assert f"{found.cube.dates} dates from {found.cube.first} to {found.cube.last}" in shown
    assert "base (temporal): error 1.07 dB in 4 synthetic windows" in shown
    assert "no fault, " in shown


def test_a_report_for_programs(world_cube: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends(0, "--quiet", "doctor", world_cube, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["faults"] == []
    assert found["cube"] == json.loads(diagnose(world_cube).model_dump_json())["cube"]
    assert found["installation"]["packages"]["numpy"]
    assert found["model"]["name"] == "base"


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_fault_is_shown_and_is_the_exit_status(
    form: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(1, "doctor", tmp_path, "--model", tmp_path / "nowhere", *form)
    shown = capsys.readouterr()
    report = " ".join(shown.out.split())
    assert "is not a cube" in report and "is not a model folder" in report
    assert shown.err.splitlines()[-1].startswith("sarcast: 2 faults")


def test_a_report_that_is_piped_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    ends(0, "doctor")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert all(line.isprintable() for line in shown.splitlines())


# --- log ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [*VERBS, "tfrecord import", "tfrecord export"])
def test_every_verb_takes_a_log(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before and after the verb; the log contains what was wrong with the command line."""
    log = tmp_path / "log"
    ends(2, *verb.split(), "--no-such-flag", "--log", log)
    ends(2, "--log", log, *verb.split(), "--no-such-flag")
    text = log.read_text()
    assert f"INFO sarcast: sarcast {verb} --no-such-flag --log {log}\n" in text
    failed = re.findall(r" ERROR sarcast: exit status 2 after .* s: (.*)\n", text)
    assert len(failed) == 2
    assert capsys.readouterr().err.splitlines() == [f"sarcast: {line}" for line in failed]


def test_the_log_of_a_run_that_succeeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    size = ("--size-km", "0.64", "--end", "2020-04-20", "--tracks", "1")
    ends(0, "--quiet", "world", tmp_path / "world", *size, "--log", log)
    assert capsys.readouterr().err == ""
    text = log.read_text()
    first, *_, last = text.splitlines()
    assert f"sarcast --quiet world {tmp_path / 'world'} --size-km 0.64" in first
    assert f"sarcast {sarcast.__version__}, affine " in text
    assert " INFO sarcast.commands.world: " in text
    assert " INFO sarcast: finished after " in last
    assert "ERROR" not in text


def test_the_log_has_the_traceback_of_a_fault_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes differ at https://me:secret@host/a")

    monkeypatch.setattr("sarcast.commands.world.write_world", fail)
    with pytest.raises(RuntimeError):
        main(["world", str(tmp_path / "to"), "--log", str(tmp_path / "log")])
    text = (tmp_path / "log").read_text()
    assert re.search(r"ERROR sarcast: exit status 1 after .* s: a fault of the program", text)
    assert "ERROR sarcast: Traceback (most recent call last):\n" in text
    assert text.endswith("    RuntimeError: shapes differ at https://host/a\n")


def test_an_error_of_the_user_is_one_line_and_its_cause_a_detail(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ends(1, "cube", tmp_path / "nowhere", "--to", tmp_path / "to", "--log", log)
    text = log.read_text()
    assert re.search(r"ERROR sarcast: exit status 1 after .*nowhere does not exist", text)
    assert "DEBUG sarcast: Traceback" in text and "ERROR sarcast: Traceback" not in text


def interrupt() -> None:
    raise KeyboardInterrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def close_output() -> None:
    raise BrokenPipeError


@pytest.mark.parametrize(
    ("end", "status", "expected"),
    [
        (interrupt, 130, "interrupted; no half-written result"),
        (terminate, 143, "terminated; no half-written result"),
        (close_output, 1, "the reader of the output ended"),
    ],
)
def test_the_log_says_what_ended_a_run(
    end: Callable[[], None],
    status: int,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sarcast.commands.world.write_world", lambda *_, **__: end())
    ends(status, "world", tmp_path / "to", "--log", tmp_path / "log")
    text = (tmp_path / "log").read_text()
    assert re.search(f"ERROR sarcast: exit status {status} after .* s: {expected}", text)


def test_a_log_that_cannot_be_written_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(2, "world", tmp_path / "to", "--log", tmp_path / "nowhere" / "log")
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


def test_the_log_and_the_traceback_hide_credentials_of_flags_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a library repeats only the password."""
    config, log = tmp_path / "options.yaml", tmp_path / "log"
    config.write_text("publish:\n  events: postgresql://me:secret-one@host/a\n")

    def fail(*_: object) -> None:
        raise ValueError("neither secret-one nor secret-two is right")

    monkeypatch.setattr("sarcast.commands.publish.open_event_database", fail)
    words = ["publish", str(tmp_path), "--config", str(config), "--log", str(log)]
    words += ["--catalogue", "postgresql://me:secret-two@host/b"]
    before = sys.excepthook
    try:
        with pytest.raises(ValueError) as raised:
            main(words)
        sys.excepthook(raised.type, raised.value, raised.tb)
    finally:
        sys.excepthook = before
    for text in (log.read_text(), capsys.readouterr().err):
        assert "neither *** nor *** is right" in text
        assert "secret" not in text
