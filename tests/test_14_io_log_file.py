"""Messages of a run in a file."""

import errno
import logging
import os
import re
from pathlib import Path

import pytest

from sarcast.errors import UsageError
from sarcast.io.log_file import log_to
from sarcast.io.progress import show_progress

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\d+) (\w+) ([\w.]+): (.*)")
OURS, FOREIGN = logging.getLogger("sarcast.cube.build"), logging.getLogger("rasterio._env")


def entries(path: Path) -> list[tuple[str, ...]]:
    """Level, logger and text of each line."""
    found = [LINE.fullmatch(line) for line in path.read_text().splitlines()]
    return [match.groups()[2:] for match in found if match]


def test_messages_have_a_time_a_process_a_level_and_a_name(tmp_path: Path) -> None:
    with log_to(tmp_path / "log"):
        OURS.warning("first\nsecond")
    first, second = (tmp_path / "log").read_text().splitlines()
    match = LINE.fullmatch(first)
    assert match is not None
    assert match.groups()[1:] == (str(os.getpid()), "WARNING", "sarcast.cube.build", "first")
    assert second == "    second"


def test_a_time_is_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_600_000_000_250_000_000)
    monkeypatch.setattr("time.time", lambda: 1_600_000_000.25)
    with log_to(tmp_path / "log"):
        OURS.info("x")
    assert (tmp_path / "log").read_text().startswith("2020-09-13T12:26:40.250Z ")


def test_what_is_hidden_on_the_terminal_is_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_progress(False)
    with log_to(tmp_path / "log") as only:
        OURS.debug("a detail")
        OURS.info("a message")
        only.error("for the file alone")
        FOREIGN.warning("of another library")
        FOREIGN.info("of no interest")
    assert capsys.readouterr().err == ""
    assert entries(tmp_path / "log") == [
        ("DEBUG", "sarcast.cube.build", "a detail"),
        ("INFO", "sarcast.cube.build", "a message"),
        ("ERROR", "sarcast", "for the file alone"),
        ("WARNING", "rasterio._env", "of another library"),
    ]


def test_details_are_not_shown_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with log_to(tmp_path / "log"):
        OURS.debug("a detail")
        OURS.info("a message")
    assert capsys.readouterr().err == "a message\n"


def test_logging_is_as_before_afterwards(tmp_path: Path) -> None:
    sarcast = logging.getLogger("sarcast")
    before = [*logging.getLogger().handlers], [*sarcast.handlers], sarcast.level
    with pytest.raises(RuntimeError), log_to(tmp_path / "log"):
        raise RuntimeError
    OURS.warning("after the end")
    assert ([*logging.getLogger().handlers], [*sarcast.handlers], sarcast.level) == before
    assert (tmp_path / "log").read_text() == ""


def test_a_log_is_continued_also_after_it_was_renamed(tmp_path: Path) -> None:
    """As logrotate does."""
    path = tmp_path / "log"
    with log_to(path):
        OURS.info("one")
    with log_to(path):
        OURS.info("two")
        path.rename(tmp_path / "log.1")
        OURS.info("three")
    assert [text for *_, text in entries(tmp_path / "log.1")] == ["one", "two"]
    assert [text for *_, text in entries(path)] == ["three"]


def test_another_file_is_not_added_to(tmp_path: Path) -> None:
    raster = tmp_path / "dem.tif"
    raster.write_bytes(b"II*\0 and more")
    with pytest.raises(UsageError, match=r"dem.tif is not a log of sarcast"), log_to(raster):
        raise AssertionError
    assert raster.read_bytes() == b"II*\0 and more"


@pytest.mark.parametrize("name", ["nowhere/log", ".", "a\0b"])
def test_a_file_that_cannot_be_written_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"), log_to(tmp_path / name):
        raise AssertionError


def test_credentials_are_not_written(tmp_path: Path) -> None:
    known: list[str] = []
    with log_to(tmp_path / "log", known) as only:
        OURS.info("postgresql://me:secret-one@host/db refused")
        known.append("https://me:secret-two@host/stac")
        only.error("the password secret-two is wrong\nand password='secret-three'")
    text = (tmp_path / "log").read_text()
    assert "secret" not in text
    assert "postgresql://host/db refused" in text


def test_names_that_are_no_text_are_written_escaped(tmp_path: Path) -> None:
    with log_to(tmp_path / "log"):
        OURS.info("file %s", os.fsdecode(b"a\xff.tif"))
    assert (tmp_path / "log").read_text().endswith("file a\\udcff.tif\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_a_full_disk_ends_the_log_and_not_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to(Path("/dev/full")):
        OURS.info("one")
        OURS.info("two")
    shown = capsys.readouterr().err.splitlines()
    reason = os.strerror(errno.ENOSPC)
    assert sorted(shown) == sorted(
        [
            "one",
            "two",
            f"warning: the log /dev/full ends here, since it cannot be written ({reason})",
        ]
    )
