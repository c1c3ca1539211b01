"""A kind of input that shows every outcome, to test the harness: ``python -m fuzz.faulty``."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sarcast.errors import SarcastError, UsageError

from . import harness
from .harness import AcceptedError, Call, Kind, campaign, rng_of


def _refuse(line: str) -> None:
    raise SarcastError(line)


def _misuse() -> None:
    raise UsageError("one line")


def _write(path: str, *, then_refuse: bool = False) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text("x")
    if then_refuse:
        _refuse("too late")


def _say(line: str, *, then_refuse: bool = False) -> None:
    sys.stderr.write(line + "\n")
    if then_refuse:
        _refuse("one line")


def _accept() -> None:
    raise AcceptedError("nonsense")


def _loop() -> None:
    while True:
        time.monotonic()


BEHAVIOURS: list[tuple[str, Callable[[], object]]] = [
    ("ok", lambda: None),
    ("ok", lambda: _write("out/result")),
    ("refused", lambda: _refuse("one line")),
    ("refused", _misuse),
    ("TRACEBACK", lambda: 1 / 0),
    ("LINE", lambda: _say("a second line", then_refuse=True)),
    ("LINE", lambda: _say("a success that speaks")),
    ("LITTER", lambda: _write("out/result", then_refuse=True)),
    ("LITTER", lambda: _write("../escaped")),
    ("LITTER", lambda: _write("input")),
    ("ACCEPTED", _accept),
    ("CRASH", os.abort),
    ("NOISE", lambda: os.write(2, b"Warning 1: from C")),
    ("MEMORY", lambda: np.ones(harness.MEMORY_BYTES // 8)),
    ("HANG", _loop),
]
"""Each outcome, and what causes it."""


class Faulty(Kind):
    """The random numbers of an input choose what it does."""

    name = "faulty"

    def case(self, folder: Path, rng: np.random.Generator) -> Call:
        (folder / "input").write_text("valid")
        return BEHAVIOURS[rng.integers(len(BEHAVIOURS))][1]


def main() -> None:
    """Print what was found of each behaviour, once, and what should have been."""
    harness.HANG_S, harness.MEMORY_BYTES = 4.0, 700 << 20
    chosen = {int(rng_of("faulty", n, 0).integers(len(BEHAVIOURS))): n for n in range(500)}
    tally = campaign(Faulty, sorted(chosen.values()), 0)
    expected = sorted(outcome for outcome, _ in BEHAVIOURS)
    json.dump({"found": sorted(tally.counts.elements()), "expected": expected}, sys.stdout)


if __name__ == "__main__":
    main()
