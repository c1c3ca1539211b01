"""What is seen of long work."""

import sys

import pytest

from sarcast.io import progress


class Clock:
    """Every look at it is so many seconds after the one before."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now = seconds, 0.0

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def test_lines_come_at_times_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    def reached(count: int) -> tuple[float, str]:
        return count / 9, f"{count} of 9"

    found = progress._lines(iter("abcdef"), "working", reached, 3, now=Clock(4.0))
    assert list(found) == list("abcdef")
    said = capsys.readouterr().err.splitlines()
    assert said == ["working: 6 of 9", "working: 9 of 9"]


def test_nothing_is_said_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track([], "working", 0)) == []
    assert capsys.readouterr().err == ""


def test_a_bar_tells_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.track("abc", "working", 4, done=1)) == list("abc")
    assert "4 of 4" in capsys.readouterr().err
