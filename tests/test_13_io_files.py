import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rio_cogeo.cogeo import cog_validate

from sarcast.errors import SarcastError
from sarcast.io import files
from sarcast.io.files import exclusive, new_file, new_folder
from sarcast.io.folders import walk
from sarcast.io.rasters import write_cog


def test_a_folder_is_complete_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "result"
    with pytest.raises(ZeroDivisionError), new_folder(target, overwrite=False) as folder:
        (folder / "half").write_text("half")
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    with new_folder(target, overwrite=False) as folder:
        (folder / "whole").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_an_existing_result_is_kept_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "result"
    target.mkdir()
    (target / "run.yaml").write_text("demo:\n")
    with pytest.raises(SarcastError, match="not empty; add --overwrite"):
        new_folder(target, overwrite=False).__enter__()
    with pytest.raises(ZeroDivisionError), new_folder(target, overwrite=True):
        _ = 1 / 0
    assert (target / "run.yaml").read_text() == "demo:\n"
    with new_folder(target, overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_is_no_result_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SarcastError, match="not a result of sarcast and is not replaced"):
        new_folder(tmp_path, overwrite=True).__enter__()
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_where_a_folder_is_expected(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SarcastError, match="is a file"):
        new_folder(tmp_path / "file", overwrite=True).__enter__()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match="no space left on the disk of .*result"):  # noqa: SIM117
        with new_folder(tmp_path / "result", overwrite=False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_raster_on_a_full_disk(tiny_disk: Path) -> None:
    noise = np.random.default_rng(0).random((512, 512)).astype(np.float32)
    grid = GeoBox((512, 512), Affine(10.0, 0, 5e5, 0, -10.0, 6.9e6), "EPSG:32635")
    with pytest.raises(SarcastError, match="no space left on the disk"):
        write_cog(tiny_disk / "noise.tif", noise, grid)
    assert list(tiny_disk.iterdir()) == []


def test_a_file_is_complete_or_absent(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "a" / "file.txt") as partial:
        partial.write_text("half")
        _ = 1 / 0
    assert list((tmp_path / "a").iterdir()) == []


def test_rasters_are_valid_cogs_with_the_written_values(tmp_path: Path, grid: GeoBox) -> None:
    values = np.arange(2 * 60 * 80, dtype=np.float32).reshape(2, 60, 80)
    values[0, 3, 4] = np.nan
    path = tmp_path / "two.tif"
    write_cog(path, values, grid, bands=["VV", "VH"], tags={"UNIT": "dB"})
    valid, errors, _ = cog_validate(path)
    assert valid, errors
    with rasterio.open(path) as source:
        np.testing.assert_array_equal(source.read(), values)
        assert source.transform == grid.transform
        assert source.crs.to_epsg() == 32635
        assert source.descriptions == ("VV", "VH")
        assert source.tags()["UNIT"] == "dB"
        assert np.isnan(source.nodata)


def test_a_colour_table_is_written(tmp_path: Path, grid: GeoBox) -> None:
    values = np.zeros((60, 80), dtype=np.uint8)
    values[3, 4] = 1
    path, colours = tmp_path / "classes.tif", {0: (9, 8, 7, 255), 1: (194, 65, 12, 255)}
    write_cog(path, values, grid, nodata=255, colours=colours)
    assert cog_validate(path)[0]
    with rasterio.open(path) as source:
        assert source.colorinterp == (ColorInterp.palette,)
        table = source.colormap(1)
        np.testing.assert_array_equal(source.read(1), values)
    assert {value: table[value] for value in colours} == colours
    assert table[2][:3] == (0, 0, 0)
    assert table[255][3] == 0


def test_overviews_are_means_of_power_and_existing_classes(tmp_path: Path) -> None:
    grid = GeoBox((1024, 1024), Affine(10.0, 0.0, 0.0, 0.0, -10.0, 0.0), "EPSG:32635")
    rng = np.random.default_rng(1)
    power = rng.gamma(0.5, 2.0, (1024, 1024)).astype(np.float32)
    classes = np.where(rng.random((1024, 1024)) < 0.7, 10, 80).astype(np.uint8)
    half = {}
    for name, layer in (("power", power), ("classes", classes)):
        write_cog(tmp_path / f"{name}.tif", layer, grid, nodata=None)
        with rasterio.open(tmp_path / f"{name}.tif", overview_level=0) as source:
            half[name] = source.read(1)
    assert half["power"] == pytest.approx(power.reshape(512, 2, 512, 2).mean((1, 3)), rel=1e-5)
    assert set(np.unique(half["classes"])) == {10, 80}


def test_inputs_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.yaml").write_text("weights")
    for target in (tmp_path / "model", tmp_path, tmp_path / "model" / "inside"):
        with pytest.raises(SarcastError, match="which is an input; name another target"):
            new_folder(target, overwrite=True, inputs=[tmp_path / "model"]).__enter__()
    assert (tmp_path / "model" / "model.yaml").read_text() == "weights"


def test_a_folder_with_a_foreign_run_yaml_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("name: my experiment\n")
    with pytest.raises(SarcastError, match="not a result of sarcast and is not replaced"):
        new_folder(tmp_path, overwrite=True).__enter__()


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with new_folder(tmp_path / "link", overwrite=False) as folder:
        (folder / "whole").write_text("whole")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "whole").read_text() == "whole"


def make_stale(target: Path, end: str, *, name: str) -> Path:
    stale = target.with_name(f".{target.name}-0123abcd.{end}")
    stale.mkdir()
    (stale / name).write_text(name)
    return stale


def test_folders_of_killed_runs_are_deleted_and_those_of_live_ones_kept(tmp_path: Path) -> None:
    target = tmp_path / "result.v1"
    with new_folder(target, overwrite=False) as live:
        stale = make_stale(target, "partial", name="half")
        other = make_stale(tmp_path / "result.v2", "partial", name="half")
        with new_folder(target, overwrite=False) as folder:
            (folder / "whole").write_text("whole")
        assert live.is_dir()
        assert not stale.exists()
        assert other.is_dir()
        (target / "whole").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "result.v1"]


def test_the_next_run_deletes_what_a_killed_run_left(tmp_path: Path) -> None:
    target = tmp_path / "result"
    killed = (
        "import os, signal, sys; from pathlib import Path\n"
        "from sarcast.io.files import new_folder\n"
        "with new_folder(Path(sys.argv[1]), overwrite=False) as folder:\n"
        "    (folder / 'half').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", killed, str(target)], check=False)
    assert ended.returncode < 0
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    with new_folder(target, overwrite=False) as folder:
        (folder / "whole").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_result_that_a_killed_run_moved_away_is_restored(tmp_path: Path) -> None:
    target = tmp_path / "result"
    make_stale(target, "replaced", name="model.yaml")
    with pytest.raises(SarcastError, match="not empty; add --overwrite"):
        new_folder(target, overwrite=False).__enter__()
    assert [path.name for path in target.iterdir()] == ["model.yaml"]
    stale = make_stale(target, "replaced", name="older")
    with new_folder(target, overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert not stale.exists()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_an_unwritable_target_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "result", tmp_path / ("n" * 250)):
        for opened in (new_folder(target, overwrite=False), new_file(target)):
            with pytest.raises(SarcastError, match="cannot be written") as error, opened:
                pass
            assert str(error.value).startswith(f"{target} cannot be written: ")
            assert ".partial" not in str(error.value)


# --- locks ----------------------------------------------------------------------------------------

HOLD = """
import sys, time; from pathlib import Path
from sarcast.io import files
files._FOLDERS_OPEN = sys.argv[1] == "True"
with getattr(files, sys.argv[2])(Path(sys.argv[3]), **eval(sys.argv[4])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=[True, False], ids=["lock of the folder", "lock file beside it"])
def folders_open(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways to lock a folder: that of Linux and macOS, and that of Windows."""
    monkeypatch.setattr(files, "_FOLDERS_OPEN", request.param)
    opened: bool = request.param
    return opened


def hold(folders_open: bool, lock: str, path: Path, **options: bool) -> "subprocess.Popen[str]":
    """Start a process that holds a lock until it is killed."""
    words = [sys.executable, "-c", HOLD, str(folders_open), lock, str(path), repr(options)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_a_locked_folder_is_refused_until_its_process_is_killed(
    tmp_path: Path, folders_open: bool
) -> None:
    folder = tmp_path / "cube.zarr"
    process = hold(folders_open, "exclusive", folder)
    try:
        for _ in range(2):  # a refused attempt leaves the lock
            with pytest.raises(SarcastError, match="another run is writing"), exclusive(folder):
                pytest.fail("two processes hold one lock")
    finally:
        kill(process)
    with exclusive(folder):
        (folder / "data").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["cube.zarr", "data"]


def test_the_partial_folder_of_a_living_process_is_kept(tmp_path: Path, folders_open: bool) -> None:
    target = tmp_path / "result"
    process = hold(folders_open, "new_folder", target, overwrite=False)
    (partial,) = tmp_path.glob(".*.partial")
    try:
        with new_folder(target, overwrite=False) as folder:
            (folder / "run.yaml").write_text("demo:\n")
        assert partial.is_dir()
    finally:
        kill(process)
    with new_folder(target, overwrite=True) as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["result", "new"]


# --- folders searched recursively -----------------------------------------------------------------


def names_below(folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of all files found, sorted, and the problems reported."""
    problems: list[tuple[str, str]] = []
    found = list(walk(folder, lambda reason, path: problems.append((reason, path.name))))
    return sorted(file.name for _, files in found for file in files), problems


def test_links_are_followed_and_each_folder_is_searched_once(tmp_path: Path) -> None:
    for path in ("top/a", "top/b/e", "elsewhere/c", "elsewhere/d/d"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    top = tmp_path / "top"
    (top / "folder").symlink_to(tmp_path / "elsewhere")
    (top / "again").symlink_to("folder")
    (top / "file").symlink_to(tmp_path / "elsewhere" / "c")
    (top / "beside").symlink_to("b")
    assert names_below(top) == (["a", "c", "d", "e", "file"], [])
    (tmp_path / "linked").symlink_to(top)
    assert names_below(tmp_path / "linked")[0] == ["a", "c", "d", "e", "file"]


def test_links_that_lead_nowhere_or_in_a_loop_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "itself").symlink_to("itself")
    (tmp_path / "a" / "gone").symlink_to("nothing")
    names, problems = names_below(tmp_path)
    assert names == ["file"]
    broken = "link to a file that does not exist"
    assert sorted(problems) == [
        (broken, "gone"), (broken, "itself"), ("link to a folder that contains it", "up"),
    ]  # fmt: skip


def test_a_folder_that_cannot_be_read_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open", "shut"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.tif").touch()
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names_below(tmp_path) == (["open.tif"], [("permission denied", "shut")])
