"""The benchmark of speed: what it predicts, and in which order it measures."""

import re

import numpy as np
import pytest
import torch

from benchmarks import speed


@pytest.fixture(autouse=True)
def _threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_targets_share_one_baseline_and_follow_one_another() -> None:
    windows = speed._windows(previous=3, targets=2, size=16)
    assert [len(window.previous) for window in windows] == [3, 3]
    assert windows[0].previous is windows[1].previous
    assert not np.array_equal(windows[0].target, windows[1].target)
    days = [np.diff(window.times) / np.timedelta64(1, "D") for window in windows]
    np.testing.assert_array_equal(days, [[12, 12, 12], [12, 12, 24]])


def test_works_are_measured_in_turns_after_one_that_does_not_count() -> None:
    done: list[str] = []
    works = {name: lambda name=name: done.append(name) for name in ("first", "second")}
    seconds = speed._seconds_in_turns(works, repeats=2)
    assert done == ["first", "second"] * 3
    assert [len(values) for values in seconds.values()] == [2, 2]


@pytest.mark.parametrize("model", [[], ["--model", "base"]])
def test_several_targets_are_compared_with_one(monkeypatch, capsys, model) -> None:
    words = "speed --previous 2 --targets 2 --size 32 --repeats 1 --threads 1 --precision float32"
    monkeypatch.setattr("sys.argv", [*words.split(), *model])
    speed.main()
    lines = capsys.readouterr().out.splitlines()
    assert [re.findall(r"(\d+) (?:previous images|targets)", line) for line in lines] == [
        ["2"],
        ["2", "2"],
    ]
    times = [float(re.search(r"([\d.]+) times the first", line)[1]) for line in lines]
    assert times[0] == 1.0 and times[1] > 0.0
