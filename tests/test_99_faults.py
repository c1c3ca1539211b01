"""Kills, interrupts and pairs of runs, a few of each verb; ``faults`` does as many as one likes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults.contents import contents, differences
from faults.verbs import MOST

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not Path("/proc/locks").is_file(), reason="forks and locks of Linux"),
]


def lines_of(module: str, *words: str) -> list[str]:
    """Run a module of ``faults`` in a process without threads; its output must name no fault."""
    ended = subprocess.run(
        [sys.executable, "-m", f"faults.{module}", *words],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr[-3000:]}"
    return ended.stdout.splitlines()


def test_after_a_kill_or_an_interrupt_the_same_command_gives_the_undisturbed_result() -> None:
    words = ("--verbs", ",".join(MOST), "--signals", "KILL,INT,TERM", "--number", "1")
    assert len(lines_of("kills", *words)) >= 3 * (len(MOST) - 1)


def test_of_two_runs_on_one_target_the_second_is_refused() -> None:
    words = ("--first", "predict,train", "--second", "detect,cube,train", "--races", "1")
    assert lines_of("together", *words) == [
        "predict and: 3 of 3 right",
        "races of predict: 1 of 1 right",
        "train and: 3 of 3 right",
        "races of train: 1 of 1 right",
    ]


def test_the_comparison_sees_what_is_missing_differs_or_is_left_over(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.yaml").write_text("seconds: 3\nsteps: 3\n")
    (tmp_path / "b").touch()
    before = contents(tmp_path)
    (tmp_path / "a" / "run.yaml").write_text("seconds: 4\nsteps: 3\n")
    assert differences(contents(tmp_path), before) == []
    (tmp_path / "a" / "run.yaml").write_text("seconds: 4\nsteps: 4\n")
    (tmp_path / "b").rename(tmp_path / ".b.partial")
    found = differences(contents(tmp_path), before)
    assert found == [".b.partial (left over)", "a/run.yaml (differs)", "b (missing)"]
