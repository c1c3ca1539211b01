"""The report for people who help: what it says is so, and what is broken is named."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import rasterio
import torch
import xarray as xr

from sarcast.diagnosis import diagnose, installation, machine
from sarcast.diagnosis import diagnose as report
from sarcast.diagnosis.installation import EXTRAS, describe_installation
from sarcast.diagnosis.machine import describe_machine
from sarcast.prediction import load_model, save_model
from sarcast.windows import Expected, Window
from sarcast.windows.synthetic import reference_windows

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


# --- installation ---------------------------------------------------------------------------------


def test_the_installation_of_the_tests_has_no_fault() -> None:
    found, faults = describe_installation()
    assert faults == []
    assert found.libraries["GDAL of rasterio"] == rasterio.__gdal_version__
    assert found.libraries["HDF5 of h5py"] == h5py.version.hdf5_version
    assert {"GTiff", "COG"} <= {*found.formats.rasters}
    assert not {*found.formats.rasters} & {*found.formats.missing_rasters}


def test_all_extras_of_users_are_reported() -> None:
    text = PYPROJECT.read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    listed = [line.split(" = ")[0] for line in text.split("\n[")[0].splitlines() if " = [" in line]
    assert {*EXTRAS} == {*listed} - {"dev", "docs", "dist"}


def test_an_extra_that_is_missing_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(extra: str = "") -> list[str]:
        return ["sarsen>=0.9.6 (missing)"] if extra == "grd" else []

    monkeypatch.setattr(installation, "unmet", lacks)
    found, faults = describe_installation()
    assert found.extras["grd"] == ("sarsen>=0.9.6 (missing)",)
    assert found.extras["postgis"] == ()
    assert faults == []


def test_packages_that_are_missing_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "unmet", lambda _="": ["zarr>=99 (3.1.6)"])
    (fault,) = describe_installation()[1]
    assert "missing or too old: zarr>=99 (3.1.6)" in fault


@pytest.mark.parametrize(
    ("found", "is_fault"), [("0.1.0.dev0", False), ("0.1.0dev0", False), ("0.0.9", True)]
)
def test_two_copies_of_the_package_are_a_fault(
    found: str, is_fault: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sarcast.__version__", "0.1.0.dev0")
    monkeypatch.setattr(installation, "installed", lambda _: found)
    faults = describe_installation()[1]
    assert any("two copies" in line for line in faults) == is_fault


def test_a_package_that_is_not_installed_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "requirements", lambda: [])
    assert "is not installed" in describe_installation()[1][0]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"GDAL_SKIP": "COG"}, "GDAL lacks the formats COG;"),
        ({"PROJ_DATA": "/nowhere", "PROJ_LIB": "/nowhere"}, "cannot read its database"),
    ],
)
def test_settings_of_other_programs_are_a_fault(setting: dict[str, str], expected: str) -> None:
    code = (
        "from sarcast.diagnosis.installation import describe_installation\n"
        "print(*describe_installation()[1])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **setting}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert expected in done.stdout


# --- machine --------------------------------------------------------------------------------------


def test_the_machine_is_as_the_system_says(tmp_path: Path) -> None:
    found, _ = describe_machine([tmp_path])
    disk = os.statvfs(Path.cwd())
    assert found.disks[0].folder == str(Path.cwd())
    assert found.disks[0].total_bytes == disk.f_frsize * disk.f_blocks
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < found.memory.free_bytes <= found.memory.total_bytes <= pages
    assert found.processor.cores == len(os.sched_getaffinity(0))
    assert found.processor.threads == torch.get_num_threads()


def test_each_disk_is_described_once(tmp_path: Path) -> None:
    folders = [Path.cwd(), Path(tempfile.gettempdir()), tmp_path, tmp_path, Path("/proc")]
    found = describe_machine(folders[2:])[0].disks
    assert len(found) == len({folder.stat().st_dev for folder in folders}) < len(folders)


def test_a_container_with_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MEMORY_LIMIT", 2**30)
    found, warnings = describe_machine()
    assert found.memory.total_bytes == 2**30
    assert any("building a cube needs 2.0 GB" in line for line in warnings)


def test_a_full_disk_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(total=10 * 2**30, free=2**29)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert any("0.5 GB are free on the disk of" in line for line in describe_machine()[1])


def test_values_of_the_environment_that_may_be_secret_are_not_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-one")
    monkeypatch.setenv("PGPASSWORD", "secret-two")
    monkeypatch.setenv("GDAL_HTTP_USERPWD", "me:secret-three")
    monkeypatch.setenv("PYTHONPATH", "https://me:secret-four@host/x")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("UNRELATED", "value")
    found = describe_machine()[0].environment
    assert "secret" not in " ".join(found.values())
    assert found["PGPASSWORD"] == "(set)"
    assert found["OMP_NUM_THREADS"] == "3"
    assert "UNRELATED" not in found


class FakeGpus:
    """Two GPUs, of which the second cannot be used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cuda: str | None, driver: bool) -> None:
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(machine.shutil, "which", lambda _: "/bin/x" if driver else None)


def test_gpus_that_torch_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpus(monkeypatch, "12.8", driver=True)

    def memory(index: int) -> tuple[int, int]:
        if index == 1:
            raise RuntimeError("CUDA error: the device is busy\nmore")
        return 3 * 2**30, 4 * 2**30

    properties = SimpleNamespace(name="A GPU", major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    found, warnings = describe_machine()
    (gpu,) = found.gpus
    assert (gpu.name, gpu.capability) == ("A GPU", "9.0")
    assert (gpu.free_bytes, gpu.memory_bytes) == (3 * 2**30, 4 * 2**30)
    assert "GPU 1 cannot be used: CUDA error: the device is busy" in warnings


@pytest.mark.parametrize(
    ("cuda", "driver", "expected"),
    [
        (None, True, "installed without CUDA"),
        ("12.8", True, "finds no GPU although"),
        (None, False, None),
        ("12.8", False, None),
    ],
)
def test_why_a_gpu_is_not_used(
    cuda: str | None, driver: bool, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeGpus(monkeypatch, cuda, driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found, warnings = describe_machine()
    assert found.gpus == ()
    assert [line for line in warnings if expected and expected in line] or expected is None
    assert expected is not None or not any("CUDA" in line or "GPU" in line for line in warnings)


# --- cube and model -------------------------------------------------------------------------------


def test_a_sound_cube_and_the_shipped_weights(world_cube: Path) -> None:
    found = diagnose(world_cube, "base")
    assert found.faults == ()
    assert found.cube is not None and found.model is not None
    with xr.open_zarr(world_cube) as cube:
        times = np.sort(cube["time"].values).astype("datetime64[D]")
        assert (found.cube.rows, found.cube.columns) == (cube.sizes["y"], cube.sizes["x"])
    assert (found.cube.first, found.cube.last) == (str(times[0]), str(times[-1]))
    assert found.cube.dates == len(times)
    scene = next((world_cube.parent / "world" / "scenes").glob("*_VV.tif"))
    with rasterio.open(scene) as source:
        assert found.cube.crs == f"EPSG:{source.crs.to_epsg()}"
    sizes = (
        Path(folder, name).stat().st_size
        for folder, _, names in os.walk(world_cube)
        for name in names
    )
    assert found.cube.size_bytes == sum(sizes)
    assert found.model.network == "temporal"
    windows = [window for window, _, _ in reference_windows("boreal-2-small", range(1))]
    squares = [
        np.mean((each.mean - window.expected) ** 2)
        for each, window in zip(load_model("base").expect(windows), windows, strict=True)
    ]
    assert found.model.error_db == pytest.approx(np.sqrt(np.mean(squares)), abs=1e-4)
    means = [np.mean((w.previous.mean(axis=0) - w.expected) ** 2) for w in windows]
    assert found.model.mean_error_db == pytest.approx(np.sqrt(np.mean(means)), abs=0.2)


def test_a_damaged_cube_is_a_fault_and_the_report_is_whole(
    world_cube: Path, tmp_path: Path
) -> None:
    cube = tmp_path / "cube.zarr"
    shutil.copytree(world_cube, cube)
    chunk = max((cube / "backscatter").rglob("*"), key=lambda path: path.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:-7])
    found = diagnose(cube, "base")
    assert any(line.startswith("the cube: ") for line in found.faults)
    assert found.cube is not None and found.model is not None


def test_what_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    found = diagnose(tmp_path / "nowhere", tmp_path)
    assert (found.cube, found.model) == (None, None)
    assert "the cube: " in found.faults[0] and "nowhere is not a cube" in found.faults[0]
    assert "the model: " in found.faults[1] and "is not a model folder" in found.faults[1]


def test_weights_that_predict_badly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the shipped ones; others may have been trained for other areas."""
    model = load_model("base", device="cpu", precision="float32")
    generator = torch.Generator().manual_seed(0)
    for weights in model.network.parameters():
        weights.data = 0.3 * torch.randn(weights.shape, generator=generator)
    save_model(model, tmp_path / "bad")
    found = diagnose(model=tmp_path / "bad")
    assert any("no better than the mean" in line for line in found.warnings)
    assert found.faults == ()
    monkeypatch.setattr(report_module(), "load_model", lambda _: model)
    found = diagnose(model="base")
    assert any("its weights are damaged" in line for line in found.faults)


def test_numbers_that_are_none_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model("base", device="cpu", precision="float32")
    parameters = [*model.network.parameters()]
    parameters[-1].data.fill_(torch.nan)
    monkeypatch.setattr(report_module(), "load_model", lambda _: replace(model))
    assert any("that are no numbers in float32" in line for line in diagnose(model="base").faults)


class Demanding:
    """A model that takes windows of one size with some previous images, and expects the target."""

    name, precision = "demanding", "float32"

    def __init__(self, size: int, previous: int) -> None:
        self.size, self.previous, self.given = size, previous, list[Window]()
        self.network = SimpleNamespace(kind="own", parameters=lambda: iter([torch.zeros(1)]))

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        self.given = [*windows]
        return [Expected(window.target) for window in windows]


@pytest.mark.parametrize(("size", "name"), [(32, "boreal-2-small"), (128, "boreal-2")])
def test_a_model_is_given_the_windows_that_it_takes(
    size: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Demanding(size, previous=2)
    monkeypatch.setattr(report_module(), "load_model", lambda _: model)
    found = diagnose(model="own").model
    assert found is not None and (found.size, found.windows) == (size, len(model.given))
    for window, (drawn, _, _) in zip(model.given, reference_windows(name, range(1)), strict=True):
        np.testing.assert_array_equal(window.previous, drawn.previous[2:, :, :size, :size])
        np.testing.assert_array_equal(window.target, drawn.target[:, :size, :size])
        np.testing.assert_array_equal(window.conditions, drawn.conditions[2:])
        np.testing.assert_array_equal(window.times, drawn.times[2:])


def test_a_model_that_takes_many_previous_images_is_given_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Demanding(64, previous=12)
    monkeypatch.setattr(report_module(), "load_model", lambda _: model)
    found = diagnose(model="own").model
    assert {window.previous.shape for window in model.given} == {(12, 2, 64, 64)}
    errors = [window.target - window.expected for window in model.given]
    assert found is not None
    assert found.error_db == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-5)


def test_a_cube_with_fewer_dates_than_a_model_needs(
    world_cube: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last date can be predicted from all others, but not from as many as there are dates."""
    with xr.open_zarr(world_cube) as cube:
        dates = cube.sizes["time"]
    for previous, is_fault in ((dates - 1, False), (dates, True)):
        model = Demanding(32, previous)
        monkeypatch.setattr(report_module(), "load_model", lambda _, model=model: model)
        faults = diagnose(world_cube, "own").faults
        assert any(f"but the cube has {dates} dates" in line for line in faults) == is_fault


def report_module() -> object:
    return sys.modules[report.__module__]
