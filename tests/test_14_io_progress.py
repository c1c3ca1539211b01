"""Progress of long work."""

import sys

import pytest

from sarcast.io import progress


class Clock:
    """A clock that advances by a fixed number of seconds at each reading."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now = seconds, 0.0

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def test_lines_are_printed_at_intervals_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    def reached(count: int) -> tuple[float, str]:
        return count / 9, f"{count} of 9"

    items = progress._lines(iter("abcdef"), "working", reached, 3, now=Clock(4.0))
    assert list(items) == list("abcdef")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["working: 6 of 9", "working: 9 of 9"]


def test_no_items_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track([], "working", 0)) == []
    assert capsys.readouterr().err == ""


def test_a_bar_shows_the_count(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.track("abc", "working", 4, done=1)) == list("abc")
    assert "4 of 4" in capsys.readouterr().err
