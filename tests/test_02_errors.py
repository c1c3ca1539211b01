"""Messages: one line, of bounded length, without credentials even where they are cut."""

import time

import pytest

from sarcast.cli import main
from sarcast.errors import LONGEST, SarcastError, hide, one_line


def test_a_short_message_is_left_as_it_is() -> None:
    for text in ("plain  text, 'two  spaces'", "x" * LONGEST):
        assert str(SarcastError(text)) == text


def test_lines_are_joined() -> None:
    assert str(SarcastError("first\n  second\r\n\nthird\n")) == "first second third"


def test_a_long_message_keeps_its_start_and_end() -> None:
    line = str(SarcastError(f"a.yaml has {'9' * 5000!r}; correct it"))
    assert line.startswith("a.yaml has '999") and line.endswith("999'; correct it")
    assert len(line) == LONGEST and "[... 5025 characters ...]" in line


@pytest.mark.parametrize("token", ["9", "a:", "://", ":/", "@", "?a=", "x@y:", "'", "\n"])
def test_a_message_of_25_mb_is_cut_at_once(token: str) -> None:
    start = time.process_time()
    line = one_line(f"a.yaml has {token * (25_000_000 // len(token))}")
    assert time.process_time() - start < 2.0
    assert line.startswith("a.yaml has") and len(line) <= LONGEST and "\n" not in line


@pytest.mark.parametrize("before", [0, 1000, 1450, 9000, 9980, 10_000, 100_000])
@pytest.mark.parametrize("after", [0, 100, 9000, 100_000])
def test_no_cut_shows_a_part_of_a_password(before: int, after: int) -> None:
    text = f"{'x' * before} postgresql://user:{'secret' * 10}@host/name {'y' * after}"
    assert "secret" not in one_line(text)


def test_a_password_without_a_clear_end_is_hidden_whole() -> None:
    """Also before a part of it that another rule finds."""
    for url in ('http://first"#:?second@host:1/stac', "https://first:?second@host/a?b=third"):
        shown = hide(f"{url} cannot be read", url)
        assert not any(word in shown for word in ("first", "second", "third"))
        assert shown.endswith(" cannot be read")


def test_usage_errors_are_cut_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["index", "a", "--to", "b", "--nodata", "x" * 100_000])
    error = capsys.readouterr().err
    assert len(error) < LONGEST + 50 and error.count("\n") == 1
