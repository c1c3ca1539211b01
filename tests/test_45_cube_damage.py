"""Damages of any file of a cube, and claims of its metadata that cannot be true."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from fuzz.fuzz_cube_damage import BAD, damage_repeatedly, outcome, small_cube
from sarcast.cube import open_cube
from sarcast.cube.check.report import check_cube
from sarcast.errors import SarcastError


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cube with every variable."""
    return small_cube(tmp_path_factory.mktemp("damage"))


@pytest.fixture
def cube(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "cube.zarr")


def test_damages_of_any_file_are_noticed(cube: Path) -> None:
    outcomes = damage_repeatedly(cube, 30, np.random.default_rng(1))
    assert not [line for line in outcomes if line.startswith(BAD)]
    assert outcomes["noticed"] > 20


def test_the_loss_of_any_file_is_noticed(cube: Path) -> None:
    values, rng = open_cube(cube).load(), np.random.default_rng(0)
    for path in sorted(each for each in cube.rglob("*") if each.is_file()):
        content = path.read_bytes()
        path.unlink()
        assert outcome(cube, values, str(path), rng) == "noticed", path
        path.write_bytes(content)


def change(cube: Path, edit: Callable[[str, dict[str, Any]], None], version: int = 1) -> None:
    """Edit the metadata of each array, in zarr.json and in its own file alike."""
    root = json.loads((cube / "zarr.json").read_text())
    root["attributes"]["sarcast_cube"] = version
    if version == 1:
        root["attributes"].pop("checksum")
    for name, entry in root["consolidated_metadata"]["metadata"].items():
        edit(name, entry)
        (cube / name / "zarr.json").write_text(json.dumps(entry))
    (cube / "zarr.json").write_text(json.dumps(root))


def resized(sizes: dict[str, int]) -> Callable[[str, dict[str, Any]], None]:
    def edit(_: str, entry: dict[str, Any]) -> None:
        dims = entry.get("dimension_names") or []
        entry["shape"] = [
            sizes.get(dim, size) for dim, size in zip(dims, entry["shape"], strict=True)
        ]

    return edit


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"time": 10**9}, r"claims the shape \[1000000000, .* larger than any cube"),
        ({"time": 10**6}, r"time is stated to have the shape \[1000000\], but values of it are"),
        ({"y": 10**6, "x": 10**6}, r"y is stated to have the shape \[1000000\], but values of"),
        ({"cy": 10**6, "cx": 10**6}, r"cy is stated to have the shape \[1000000\], but values of"),
        ({"y": 10**12}, r"larger than any cube"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_claims_of_gigantic_sizes_are_refused_at_once(
    cube: Path, sizes: dict[str, int], message: str, version: int
) -> None:
    change(cube, resized(sizes), version)
    start = time.monotonic()
    for read in (open_cube, check_cube):
        with pytest.raises(SarcastError, match=message):
            read(cube)
    assert time.monotonic() - start < 20.0


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("incidence", "dimension_names", ["time", None, "cx"], "incidence has the dims .*not"),
        ("backscatter", "dimension_names", ["time", "b", "y", "x"], "backscatter has the dims"),
        ("y", "dimension_names", ["why"], "y has the dims"),
        ("heading", "attributes", "none", "heading lacks its attributes"),
        ("forest", "attributes", None, "forest lacks its attributes"),
    ],
)
def test_metadata_that_no_build_writes_is_refused(
    cube: Path, name: str, key: str, value: object, message: str
) -> None:
    def edit(array: str, entry: dict[str, Any]) -> None:
        if array == name:
            entry[key] = value

    change(cube, edit)
    for read in (open_cube, check_cube):
        with pytest.raises(SarcastError, match=message):
            read(cube)


def test_a_gigantic_cube_without_images_is_checked_quickly(cube: Path) -> None:
    """Its coordinates are really as long as it claims, and only its images are not there."""
    change(cube, resized({"y": 10**6, "x": 10**6}))
    for name in ("y", "x"):
        values = 10.0 * np.arange(10**6)
        attrs = json.loads((cube / name / "zarr.json").read_text())["attributes"]
        shutil.rmtree(cube / name)
        zarr.create_array(cube / name, data=values, dimension_names=(name,), attributes=attrs)
    for name in ("elevation", "forest", "open_land", "expected", "backscatter"):
        shutil.rmtree(cube / name / "c")
    root = json.loads((cube / "zarr.json").read_text())
    for name in ("y", "x"):
        own = json.loads((cube / name / "zarr.json").read_text())
        root["consolidated_metadata"]["metadata"][name] = own
    (cube / "zarr.json").write_text(json.dumps(root))
    assert "has [0, 0] valid pixels, not the" in check_cube(cube).faults[0]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scene_id", "twice", r"scene_id 'twice' stands at 2 dates"),
        ("orbit_direction", "sideways", r"orbit_direction has the value 'sideways'"),
        ("relative_orbit", 400, r"relative_orbit has values outside 0 to 175"),
        ("band", "XX", r"band has the values \['XX', 'XX'\], not"),
        ("lag", 7, r"lag has the values \[7, 7, 7, 7\], not 0 to 3"),
    ],
)
def test_values_that_no_build_writes_are_faults(
    cube: Path, name: str, value: object, message: str
) -> None:
    zarr.open_array(cube / name, mode="r+")[:] = value
    (fault,) = check_cube(cube).faults
    assert re.match(message, fault)


def test_an_unknown_platform_is_a_warning(cube: Path) -> None:
    zarr.open_array(cube / "platform", mode="r+")[:] = "sentinel-1z"
    report = check_cube(cube)
    assert report.faults == ()
    assert "'sentinel-1z' is no known platform; it counts as missing" in report.warnings


@pytest.mark.parametrize("depth", [10, 100_000])
def test_metadata_of_another_form_is_one_line(cube: Path, depth: int) -> None:
    (cube / "zarr.json").write_text("[" * depth + "]" * depth)
    with pytest.raises(SarcastError, match=r"its zarr\.json cannot be read"):
        check_cube(cube)
