"""Mutated inputs of every kind, read or refused by one line: a small campaign, the same each time.

The inputs of the long campaign are made by ``cd tests && python -m fuzz``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.fuzz_csv import Csv
from fuzz.harness import FAULTS, rng_of
from fuzz.kinds import KINDS

pytestmark = pytest.mark.timeout(1800)  # one campaign of all kinds

SLOW = {"cube", "geotiff", "geoparquet", "safe", "zip"}
SOME, MANY = 20, 80
SEED = 1


@pytest.fixture(scope="module")
def campaigns() -> dict[str, str]:
    """What is reported of each kind; a process without threads of its own makes the workers."""
    reports: dict[str, str] = {}
    numbered = [f"{kind}:{SOME if kind in SLOW else MANY}" for kind in KINDS]
    for line in _run("fuzz", *numbered, "--seed", str(SEED)).splitlines():
        name = line.partition(":")[0]
        if name in KINDS:
            reports[name], current = "", name
        reports[current] += line + "\n"
    return reports


def _run(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=Path(__file__).parent, env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_mutated_inputs_are_read_or_refused_by_one_line(
    kind: str, campaigns: dict[str, str]
) -> None:
    report = campaigns[kind]
    if "left out" in report:
        pytest.skip(report.strip())
    first = report.splitlines()[0]
    assert not [fault for fault in FAULTS if fault in first], report
    assert " 0 ok" not in first and " 0 refused" not in first, report


def test_the_harness_finds_every_kind_of_fault() -> None:
    found = json.loads(_run("fuzz.faulty"))
    assert found["found"] == found["expected"]


def test_an_input_is_always_the_same(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b", "c"):
        kind, folder = Csv(tmp_path), tmp_path / name
        folder.mkdir()
        kind.case(folder, rng_of(kind.name, 7 if name == "c" else 8, SEED))
        made.append((folder / "weather.csv").read_bytes())
    assert made[0] == made[1] != made[2]
