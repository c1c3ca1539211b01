import asyncio
import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rio_cogeo.cogeo import cog_validate

from interrupts import interrupted_runs
from sarcast.errors import SarcastError
from sarcast.io import cogs, files, locks, partials, results
from sarcast.io.cogs import write_cog
from sarcast.io.files import exclusive, new_file, new_folder
from sarcast.io.folders import walk
from sarcast.io.partials import remove_stale

GRID_10M = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 6_900_000.0)


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


MODEL_CARD = "format: 2\nnetwork: unet\n"


@pytest.mark.parametrize(
    ("name", "content", "is_ours"),
    [
        ("run.yaml", "detect:\n  at: '2020-01-01'\n", True),
        ("run.yaml", "tfrecord:\n  import:\n    to: x\n", True),
        ("run.yaml", "model:\n  depth: 3\n", False),
        ("run.yaml", "detect: everything\n", False),
        ("run.yaml", "demo:\n  - {", False),
        ("model.yaml", MODEL_CARD, True),
        ("model.yaml", "format: onnx\nnetwork: unet\n", False),
        ("model.yaml", "layers: 3\n", False),
    ],
)
def test_a_result_is_known_by_its_content(
    tmp_path: Path, name: str, content: str, is_ours: bool
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / name).write_text(content)
    opened = new_folder(target, overwrite=True)
    if is_ours:
        with opened as folder:
            (folder / "new").touch()
        assert [path.name for path in target.iterdir()] == ["new"]
    else:
        with pytest.raises(SarcastError, match="not a result of sarcast and is not replaced"):
            opened.__enter__()
        assert (target / name).read_text() == content


def test_a_file_where_a_folder_is_expected(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SarcastError, match="is a file"):
        new_folder(tmp_path / "file", overwrite=True).__enter__()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match="no space left on the disk of .*result"):  # noqa: SIM117
        with new_folder(tmp_path / "result", overwrite=False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_large_for_the_disk_is_named(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with (
            pytest.raises(SarcastError, match="too large for the disk of .*result, or for the lim"),
            new_file(tmp_path / "result") as path,
        ):
            path.write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
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


def test_folders_of_killed_runs_are_deleted_and_those_of_other_targets_kept(
    tmp_path: Path,
) -> None:
    target = tmp_path / "result.v1"
    stale = make_stale(target, "partial", name="half")
    nested = tmp_path / ".result.v1-0123abcd.partial-4567cdef.partial"  # of earlier versions
    nested.mkdir()
    other = make_stale(tmp_path / "result.v2", "partial", name="half")
    with new_folder(target, overwrite=False) as folder:
        assert not stale.exists()
        (folder / "whole").write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "result.v1"]


def test_what_killed_runs_left_in_a_locked_folder_is_deleted(tmp_path: Path) -> None:
    make_stale(tmp_path / "items.parquet", "partial", name="items.parquet")
    make_stale(tmp_path / "detection", "replaced", name="older")
    with exclusive(tmp_path):
        names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert names == ["detection", "detection/older"]


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
    assert {path.suffix for path in tmp_path.iterdir()} == {".partial", ""}
    with new_folder(target, overwrite=False) as folder:
        (folder / "whole").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_folder_that_a_thread_still_writes_is_deleted_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of an interrupted run whose arrays are written in the background."""
    rmtree, attempts = shutil.rmtree, []

    def disturbed(folder: Path, *, ignore_errors: bool) -> None:
        attempts.append(folder)
        rmtree(folder, ignore_errors=ignore_errors)
        if len(attempts) < 3:
            (folder / "chunk").mkdir(parents=True)

    monkeypatch.setattr(shutil, "rmtree", disturbed)
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "result", overwrite=False):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_a_killed_run_moved_away_is_restored(tmp_path: Path) -> None:
    target = tmp_path / "result"
    make_stale(target, "replaced", name="model.yaml")
    with pytest.raises(SarcastError, match="not empty; add --overwrite"):
        new_folder(target, overwrite=False).__enter__()
    assert [path.name for path in target.iterdir()] == ["model.yaml"]
    (target / "model.yaml").write_text(MODEL_CARD)
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
from sarcast.io import files, locks
locks.FOLDERS_OPEN = sys.argv[1] == "True"
with getattr(files, sys.argv[2])(Path(sys.argv[3]), **eval(sys.argv[4])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=[True, False], ids=["lock of the folder", "lock file beside it"])
def folders_open(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways to lock a folder: that of Linux and macOS, and that of Windows."""
    monkeypatch.setattr(locks, "FOLDERS_OPEN", request.param)
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


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("first", ["new_folder", "exclusive"])
def test_a_target_is_locked_for_the_whole_run(
    tmp_path: Path, folders_open: bool, first: str, exists: bool
) -> None:
    target = tmp_path / "result"
    if exists:
        target.mkdir()
        (target / "run.yaml").write_text("demo:\n")
    process = hold(folders_open, first, target, **({"overwrite": True} if first[0] == "n" else {}))
    try:
        (target / "in place").touch()
        for second in (new_folder(target, overwrite=False), exclusive(target)):
            with (
                pytest.raises(SarcastError, match=f"another run is writing {target}; wait"),
                second,
            ):
                pytest.fail("two runs write one target")
    finally:
        kill(process)
    (target / "in place").unlink()
    with new_folder(target, overwrite=True) as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["result", "new"]


def test_a_run_that_is_about_to_replace_its_target_is_not_disturbed(
    tmp_path: Path, folders_open: bool
) -> None:
    """Between its two renames a run has no folder of the target's name."""
    target = tmp_path / "result"
    process = hold(folders_open, "new_folder", target, overwrite=False)
    try:
        target.rename(tmp_path / "elsewhere")
        with pytest.raises(SarcastError, match="another run is writing"), exclusive(target):
            pytest.fail("two runs write one target")
    finally:
        kill(process)


# --- a target that changes during the run, and the files of others in it --------------------------


def write_result(target: Path, name: str, *, overwrite: bool = False) -> None:
    with new_folder(target, overwrite=overwrite) as folder:
        (folder / "run.yaml").write_text("detect:\n")
        (folder / name).write_text(name)


def tree(folder: Path) -> dict[str, str]:
    """Content of all files below a folder, by their path."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_files_of_others_stay_in_a_result_that_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "result"
    write_result(target, "change.tif")
    mine = {".DS_Store": "", "map.qgz": "a map", "notes/today.md": "wind", "x.tif.aux.xml": "mine"}
    for name, content in mine.items():
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text(content)
    (target / "linked").symlink_to("notes")
    for name in ("change.tif.aux.xml", "change.tif-wal"):  # of no use to the new raster
        (target / name).write_text("of the older raster")
    write_result(target, "change-date.tif", overwrite=True)
    left = tree(target)
    assert "- change-date.tif" in left.pop("run.yaml")
    assert left == {**mine, "change-date.tif": "change-date.tif"}
    assert (target / "linked").readlink() == Path("notes")
    write_result(target, "change.tif", overwrite=True)
    assert tree(target).keys() == {*mine, "run.yaml", "change.tif"}
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_record_without_a_list_keeps_all_that_the_new_result_lacks(tmp_path: Path) -> None:
    target = tmp_path / "result"
    target.mkdir()
    for name in ("change.tif", "map.qgz"):
        (target / name).write_text("older")
    (target / "run.yaml").write_text("detect:\n  to: result\n")
    write_result(target, "change.tif", overwrite=True)
    left = tree(target)
    del left["run.yaml"]
    assert left == {"change.tif": "change.tif", "map.qgz": "older"}


def test_a_zarr_store_of_a_result_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "samples"
    for chunk in ("0", "1"):
        with new_folder(target, overwrite=True) as folder:
            (folder / "run.yaml").write_text("tfrecord:\n  import:\n")
            (folder / "arrays.zarr").mkdir()
            for name in ("zarr.json", chunk):
                (folder / "arrays.zarr" / name).touch()
    assert tree(target).keys() == {"run.yaml", "arrays.zarr/zarr.json", "arrays.zarr/1"}
    assert "- arrays.zarr/\n" in (target / "run.yaml").read_text()


def test_the_logs_of_a_model_go_with_it(tmp_path: Path) -> None:
    logs = tmp_path / "model" / "training" / "logs"
    logs.mkdir(parents=True)
    (logs / "events").touch()
    (tmp_path / "model" / "training" / "mine.txt").touch()
    (tmp_path / "model" / "model.yaml").write_text(MODEL_CARD)
    with new_folder(tmp_path / "model", overwrite=True) as folder:
        (folder / "model.yaml").write_text(MODEL_CARD)
    assert tree(tmp_path / "model").keys() == {"model.yaml", "training/mine.txt"}


def fill(target: Path) -> None:
    (target / "thesis.txt").write_text("years of work")


def replace(target: Path) -> None:
    target.rmdir()
    target.mkdir()
    (target / "run.yaml").write_text("detect:\n")


def replace_by_link(target: Path) -> None:
    target.rmdir()
    (target.parent / "elsewhere").mkdir()
    target.symlink_to("elsewhere")


def remove(target: Path) -> None:
    target.rmdir()


@pytest.mark.parametrize("change", [fill, replace, replace_by_link, remove])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_target_that_changes_during_the_run_is_left_as_it_is(
    tmp_path: Path, folders_open: bool, change: Callable[[Path], None], overwrite: bool
) -> None:
    target = tmp_path / "result"
    message = f"{target} was changed during the run.*the new result is in {target}-new: move it"
    with (
        pytest.raises(SarcastError, match=message),
        new_folder(target, overwrite=overwrite) as folder,
    ):
        (folder / "whole").write_text("whole")
        change(target)
        changed = tree(tmp_path / "result")
    assert tree(target) == changed
    assert tree(tmp_path / "result-new") == {"whole": "whole"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_link_may_get_the_number_of_the_folder_that_it_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "samestat", lambda _one, _other: True)
    target = tmp_path / "result"
    target.mkdir()
    message = "was changed during the run"
    with pytest.raises(SarcastError, match=message), new_folder(target, overwrite=False):
        replace_by_link(target)


def test_a_file_of_the_user_with_the_name_of_a_new_one(tmp_path: Path) -> None:
    target = tmp_path / "result"
    write_result(target, "a.tif")
    (target / "b.tif").write_text("mine")
    (tmp_path / "result-new").mkdir()
    with pytest.raises(SarcastError, match=r"has a file b.tif that sarcast .* is in .*-new-2: "):
        write_result(target, "b.tif", overwrite=True)
    assert tree(target)["b.tif"] == "mine"
    assert tree(tmp_path / "result-new-2")["b.tif"] == "b.tif"


@pytest.mark.parametrize("failing", [1, 2])
def test_a_result_that_cannot_be_renamed_is_kept_beside_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """As where a file of the older result is open on Windows, or it lies on another disk."""
    target, renames = tmp_path / "result", []
    write_result(target, "older")
    rename = Path.rename

    def fail_once(path: Path, to: Path) -> Path:
        renames.append(to)
        if len(renames) == failing:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(SarcastError, match="could not be replaced .*cross-device.*result-new"):
        write_result(target, "newer", overwrite=True)
    assert "older" in tree(target)
    assert "newer" in tree(tmp_path / "result-new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result", "result-new"]


def test_folders_that_cannot_be_renamed_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    for target in (Path(), tmp_path / "inside"):
        with pytest.raises(SarcastError, match="this command runs in it; name a folder inside it"):
            new_folder(target, overwrite=False).__enter__()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "disk")
    (tmp_path / "disk").mkdir()
    with pytest.raises(SarcastError, match="a disk is mounted there; name a folder inside it"):
        new_folder(tmp_path / "disk", overwrite=False).__enter__()


def test_parents_that_were_missing_are_removed_if_the_work_fails(
    tmp_path: Path, folders_open: bool
) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "a" / "b", overwrite=False):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    write_result(tmp_path / "a" / "b", "whole")
    assert "b/whole" in tree(tmp_path / "a")


def test_an_older_result_is_put_back_where_the_newer_did_not_take_its_place(
    tmp_path: Path,
) -> None:
    """Killed between its renames; then somebody makes a folder of the target's name."""
    target = tmp_path / "result"
    make_stale(target, "replaced", name="older")
    make_stale(target, "partial", name="newer")
    target.mkdir()
    (target / "mine").write_text("mine")
    with exclusive(target):
        pass
    assert tree(tmp_path) == {"result/mine": "mine", "result-2/older": "older"}


# --- interrupts -----------------------------------------------------------------------------------


def replace_result(target: Path) -> None:
    write_result(target, "newer", overwrite=True)


def replace_file(target: Path) -> None:
    with new_file(target / "older") as partial:
        partial.write_text("newer")


def clear(target: Path) -> None:
    remove_stale(target)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("work", "exists", "folders_open"),
    [
        (replace_result, True, True),
        (replace_result, False, False),
        (replace_file, True, True),
        (clear, True, True),
    ],
    indirect=["folders_open"],
)
def test_an_interrupt_at_any_line_loses_nothing(
    tmp_path: Path, folders_open: bool, work: Callable[[Path], None], exists: bool
) -> None:
    target, descriptors = tmp_path / "here" / "result", opened()
    prepare(target, exists=exists)
    for line in interrupted_runs(lambda: work(target), files, locks, partials, results):
        for descriptor in opened() - descriptors:  # as at the end of a process
            os.close(descriptor)
        if exists:
            assert tree(target).get("mine") == "mine", line
            assert tree(target).get("older") or tree(target).get("newer"), line
        replace_result(target)
        assert tree(target).keys() == {"run.yaml", "newer", *(["mine"] if exists else [])}, line
        assert [path.name for path in target.parent.iterdir()] == ["result"], line
        shutil.rmtree(target.parent)
        prepare(target, exists=exists)


def prepare(target: Path, *, exists: bool) -> None:
    """A result with a file of the user, and what killed runs left beside it."""
    target.parent.mkdir()
    if exists:
        target.mkdir()
        (target / "run.yaml").write_text("detect:\nfiles: [older, run.yaml]\n")
        for name in ("older", "mine"):
            (target / name).write_text(name)
    make_stale(target, "partial", name="half")


def opened() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/fd").iterdir() if path.exists()}


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


def test_what_zarr_still_writes_is_deleted_as_well(tmp_path: Path) -> None:
    """An interrupt ends the call, but not the thread that Zarr has given it to."""
    from zarr.core.sync import _get_loop

    folder = tmp_path / "half"
    folder.mkdir()

    async def write_later() -> None:
        await asyncio.sleep(0.4)
        (folder / "array").mkdir(parents=True)

    asyncio.run_coroutine_threadsafe(write_later(), _get_loop())
    partials.remove(folder)
    time.sleep(0.6)
    assert not folder.exists()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_large_image_is_written_part_by_part_as_at_once(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(1).uniform(0, 255, (2, 700, 900)).astype(dtype)
    if dtype == "float32":
        values[0, 10:300, 5:40] = np.nan
    grid = GeoBox(values.shape[1:], GRID_10M, "EPSG:32635")
    words = {"nodata": float("nan") if dtype == "float32" else 0, "bands": ("a", "b")}
    write_cog(tmp_path / "at-once.tif", values, grid, tags={"UNIT": "x"}, **words)
    monkeypatch.setattr(cogs, "MOST_IN_MEMORY", 1000)
    monkeypatch.setattr(cogs, "_PART_SIDE", 256)
    parts = cogs.Parts(values.shape, dtype, lambda box: values[(slice(None), *box)])
    write_cog(tmp_path / "by-parts.tif", parts, grid, tags={"UNIT": "x"}, **words)
    assert cog_validate(tmp_path / "by-parts.tif")[0]
    with (
        rasterio.open(tmp_path / "at-once.tif") as whole,
        rasterio.open(tmp_path / "by-parts.tif") as cut,
    ):
        np.testing.assert_array_equal(cut.read(), whole.read())
        assert (cut.tags(), cut.descriptions) == (whole.tags(), whole.descriptions)
        assert cut.overviews(1) == whole.overviews(1)
    assert {path.name for path in tmp_path.iterdir()} == {"at-once.tif", "by-parts.tif"}


def test_a_file_that_a_full_disk_cut_short_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL may report success."""
    monkeypatch.setattr(cogs, "MOST_IN_MEMORY", 1000)

    def zeros(source: object, target: str, **options: object) -> None:
        with rasterio.open(source.name) as plain:
            values, profile = np.zeros_like(plain.read()), plain.profile
        with rasterio.open(target, "w", **profile) as short:
            short.write(values)

    monkeypatch.setattr(cogs, "copy", zeros)
    values = np.ones((60, 80), np.float32)
    with pytest.raises(SarcastError, match=r"a\.tif could not be written completely"):
        write_cog(tmp_path / "a.tif", values, GeoBox(values.shape, GRID_10M, "EPSG:32635"))
    assert not [*tmp_path.iterdir()]
