"""Damage a file of a cube, which ``cube --check`` must notice unless all values are as before.

    python -m tests.fuzz.fuzz_cube_damage [--number 10000] [--seed 0]

Any file of the store is damaged, metadata included: a byte is changed, the file is truncated, or it
is deleted. Opening and reading the damaged cube must give data or a one-line error, too.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import xarray as xr

from sarcast.catalogue import FolderCatalogue
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.cube.check.report import check_cube
from sarcast.cube.executor import WorkerOptions
from sarcast.errors import SarcastError
from sarcast.io.grid import make_grid
from sarcast.world.options import WorldOptions
from sarcast.world.writer import write_world

BAD = ("MISSED", "TRACEBACK")
"""How outcomes begin that must not occur."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        cube = small_cube(Path(folder))
        rng = np.random.default_rng(arguments.seed)
        outcomes = damage_repeatedly(cube, arguments.number, rng)
    bad = sum(count for line, count in outcomes.items() if line.startswith(BAD))
    seconds = time.monotonic() - start
    sys.stdout.write(f"{arguments.number} damages in {seconds:.0f} s, {bad} missed or crashed\n")
    for line, count in outcomes.most_common():
        sys.stdout.write(f"{count:7d} {line}\n")
    sys.exit(bad > 0)


def small_cube(folder: Path) -> Path:
    """Build a cube of a world, which has every variable, on few dates."""
    world, to = folder / "world", folder / "cube.zarr"
    world.mkdir()
    options = WorldOptions(size_km=0.5, tracks=1, start="2020-05-18", end="2020-06-01")
    write_world(world, options, seed=0)
    sources = Sources(
        dem=(world / "dem.tif",), weather=(world / "weather.nc",), cover=(world / "cover.tif",)
    )
    items = FolderCatalogue(world).search()
    build_cube(items, to, make_grid(None, items), CubeOptions(), sources)
    return to


def damage_repeatedly(cube: Path, number: int, rng: np.random.Generator) -> Counter[str]:
    """Damage a file, judge what the check says of it, and restore it, again and again."""
    files = sorted(path for path in cube.rglob("*") if path.is_file())
    values = open_cube(cube).load()
    assert not check_cube(cube).faults
    outcomes: Counter[str] = Counter()
    for _ in range(number):
        path = files[rng.integers(len(files))]
        content = path.read_bytes()
        what = damage(path, rng)
        try:
            outcomes[outcome(cube, values, f"{path.relative_to(cube)} {what}", rng)] += 1
        finally:
            path.write_bytes(content)
    return outcomes


def damage(path: Path, rng: np.random.Generator) -> str:
    """Change a byte of a file, truncate it or delete it; say which."""
    content = bytearray(path.read_bytes())
    offset, kind = int(rng.integers(len(content))), rng.integers(5)
    if kind == 0:
        path.unlink()
        return "deleted"
    if kind == 1:
        path.write_bytes(content[:offset])
        return f"truncated to {offset}"
    flip = 1 << int(rng.integers(8)) if kind < 4 else int(rng.integers(1, 256))
    content[offset] ^= flip
    path.write_bytes(content)
    return f"byte {offset} ^ {flip}"


def outcome(cube: Path, values: xr.Dataset, what: str, rng: np.random.Generator) -> str:
    """One line: noticed, harmless, missed, or an error that is not the project's own.

    Of the damages that are noticed, one in four is read as well.
    """
    try:
        noticed = _is_noticed(cube)
        same = (not noticed or rng.integers(4) == 0) and _reads_as(cube, values)
    except Exception as error:
        return f"TRACEBACK {what}: {type(error).__name__} {error}"
    if noticed:
        return "noticed"
    return "harmless: every value and attribute is read as before" if same else f"MISSED {what}"


def _reads_as(cube: Path, values: xr.Dataset) -> bool:
    try:
        return bool(open_cube(cube).load().identical(values))
    except SarcastError as error:
        assert "\n" not in str(error)
        return False


def _is_noticed(cube: Path) -> bool:
    try:
        return bool(check_cube(cube, workers=WorkerOptions(workers=1)).faults)
    except SarcastError as error:
        assert "\n" not in str(error)
        return True


if __name__ == "__main__":
    main()
