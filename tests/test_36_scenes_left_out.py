"""Scenes that cannot be used are left out by one policy, counted and named, and nothing else is."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine

from conftest import GRID, opera_name
from sarcast.catalogue import FolderCatalogue
from sarcast.catalogue.unusable import LeftOut, UnusableError
from sarcast.cli import main
from sarcast.cube import open_cube
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.ingest.scenes.profile import scene_profiles
from sarcast.ingest.scenes.stac import normalise_items
from sarcast.io.cogs import write_cog

POWER = 0.1 * np.random.default_rng(5).gamma(20.0, 1 / 20.0, (2, *GRID.shape)).astype(np.float32)
DECIBELS = 10.0 * np.log10(POWER)
TIMES = [f"202003{day:02d}T051122" for day in range(1, 10)]

Write = Callable[[Path], str]
"""Writes a scene that cannot be used into a folder, and returns its name in the warning."""


def earth_engine(
    folder: Path, time: str, bands: tuple[str, ...] = ("VV", "VH"), mode: str = "IW"
) -> str:
    """Write a scene as Earth Engine exports it; returns its id."""
    name = f"S1A_{mode}_GRDH_1SDV_{time}_{time}_031480_03A0C1_AB12"
    write_cog(folder / f"{name}.tif", DECIBELS[: len(bands)], GRID, bands=list(bands))
    return name


def usable(folder: Path) -> list[str]:
    return [earth_engine(folder, time) for time in TIMES[:2]]


def hh_hv(folder: Path) -> str:
    return earth_engine(folder, TIMES[5], ("HH", "HV"))


def extra_wide(folder: Path) -> str:
    return earth_engine(folder, TIMES[5], mode="EW")


def truncated(folder: Path) -> str:
    name = earth_engine(folder, TIMES[5])
    path = folder / f"{name}.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return name


def without_crs(folder: Path) -> str:
    name = earth_engine(folder, TIMES[5])
    shape = {"height": 60, "width": 80, "count": 2, "dtype": "float32"}
    moved = Affine(10.0, 0.0, 1.0, 0.0, -10.0, 1.0)
    with rasterio.open(folder / f"{name}.tif", "w", "GTiff", transform=moved, **shape) as target:
        target.write(DECIBELS)
    return name


def in_a_local_crs(folder: Path) -> str:
    name = earth_engine(folder, TIMES[5])
    shape = {"height": 60, "width": 80, "count": 2, "dtype": "float32"}
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    options = {"crs": local, "transform": GRID.transform, **shape}
    with rasterio.open(folder / f"{name}.tif", "w", "GTiff", **options) as target:
        target.write(DECIBELS)
    return name


def empty(folder: Path) -> str:
    name = earth_engine(folder, TIMES[5])
    none = np.full((2, *GRID.shape), np.nan, np.float32)
    write_cog(folder / f"{name}.tif", none, GRID, bands=["VV", "VH"])
    return name


def in_another_unit(folder: Path) -> str:
    """The second band alone has other values than declared."""
    name = earth_engine(folder, TIMES[5])
    bands = np.stack([DECIBELS[0], POWER[1]])
    write_cog(folder / f"{name}.tif", bands, GRID, bands=["VV", "VH"])
    return name


def without_bands(folder: Path) -> str:
    name = earth_engine(folder, TIMES[5])
    write_cog(folder / f"{name}.tif", DECIBELS, GRID)
    return name


def without_unit(folder: Path) -> str:
    write_cog(folder / f"S1A_{TIMES[5]}_VV.tif", DECIBELS[0], GRID)
    return f"S1A_{TIMES[5]}"


def level_1_item(folder: Path) -> str:
    return item(folder, "level-1", collection="sentinel-1-grd")


def unknown_collection(folder: Path) -> str:
    return item(folder, "unknown", collection="my-own")


def item_without_time(folder: Path) -> str:
    return item(folder, "timeless", properties={"datetime": None})


def item_without_footprint(folder: Path) -> str:
    return item(folder, "placeless", geometry=None)


def level_1_folder(folder: Path) -> str:
    safe = folder / "S1A_IW_GRDH_1SDV_X.SAFE"
    (safe / "measurement").mkdir(parents=True)
    write_cog(safe / "measurement" / f"S1A_{TIMES[5]}_VV.tif", DECIBELS[0], GRID)
    return str(safe)


def level_1_zip(folder: Path) -> str:
    path = folder / "S1A_IW_GRDH_1SDV_X.SAFE.zip"
    path.touch()
    return str(path)


def broken_link(folder: Path) -> str:
    (folder / f"S1A_{TIMES[5]}_VV.tif").symlink_to(folder / "gone.tif")
    return str(folder / f"S1A_{TIMES[5]}_VV.tif")


def loop(folder: Path) -> str:
    (folder / "loop").symlink_to(folder)
    return str(folder / "loop")


def item(folder: Path, name: str, **changed: object) -> str:
    """Write a STAC item of another provider, and its rasters."""
    write_cog(folder / f"{name}-a.tif", POWER[0], GRID)
    box = GRID.geographic_extent
    content = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "sentinel-1-rtc",
        "bbox": list(box.boundingbox.bbox),
        "geometry": json.loads(json.dumps(box.json)),
        "properties": {"datetime": "2020-03-06T05:11:22Z", "platform": "SENTINEL-1A"},
        "assets": {"vv": {"href": f"./{name}-a.tif"}},
        "links": [],
        **changed,
    }
    (folder / f"{name}.json").write_text(json.dumps(content))
    return name


def truncated_item(folder: Path) -> str:
    path = folder / f"{item(folder, 'half')}.json"
    path.write_text(path.read_text()[:300])
    return str(path)


UNUSABLE: dict[Write, str] = {
    truncated_item: "no valid STAC item",
    hh_hv: "polarisation HH or HV, where VV or VH is used",
    extra_wide: "mode EW, where IW is used",
    truncated: "unreadable, or without a location",
    without_crs: "unreadable, or without a location",
    in_a_local_crs: "unreadable, or without a location",
    empty: "no data, every pixel is 0 or missing",
    in_another_unit: "values that contradict the declared unit",
    without_bands: "polarisation unknown",
    without_unit: "unit or quantity unknown",
    level_1_item: "level-1 product in radar geometry; convert it with sarcast rtc",
    unknown_collection: "collection without a profile; describe it with --profile",
    item_without_time: "no valid STAC item",
    item_without_footprint: "no valid STAC item",
    level_1_folder: "level-1 product in radar geometry; convert it with sarcast rtc",
    level_1_zip: "level-1 product in radar geometry; convert it with sarcast rtc",
    broken_link: "link to a file that does not exist",
    loop: "link to a folder that contains it",
}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("write", UNUSABLE, ids=lambda write: write.__name__)
def test_an_unusable_scene_is_left_out_and_named(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside usable ones a warning names it; with --strict, or alone, the run fails."""
    used = usable(tmp_path)
    name = write(tmp_path)
    assert [found.id for found in find_items([tmp_path], IndexOptions())] == used
    output = capsys.readouterr().err.splitlines()
    lines = [line for line in output if "warning" in line and "(raster whose" not in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"warning: 1 left out ({UNUSABLE[write]}): {name}")
    with pytest.raises(SarcastError, match="--strict refuses scenes that cannot be used: 1 left"):
        find_items([tmp_path], IndexOptions(strict=True))
    for scene in used:
        (tmp_path / f"{scene}.tif").unlink()
    if write not in (hh_hv, extra_wide):
        with pytest.raises(SarcastError) as raised:
            find_items([tmp_path], IndexOptions())
        assert "\n" not in str(raised.value)


def test_several_reasons_give_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = usable(tmp_path)
    others = [earth_engine(tmp_path, time, ("HH", "HV")) for time in TIMES[3:4]]
    others += [earth_engine(tmp_path, time, ("VV",), "EW") for time in TIMES[4:5]]
    for time in TIMES[5:]:
        write_cog(tmp_path / f"S1B_{time}_VV.tif", DECIBELS[0], GRID)
    assert [found.id for found in find_items([tmp_path], IndexOptions())] == used
    output = capsys.readouterr().err
    assert output.count("warning: ") == 3
    assert "4 left out (unit or quantity unknown): S1B_20200306T051122, " in output
    assert " and 1 more; the first: " in output
    with pytest.raises(SarcastError) as raised:
        find_items([tmp_path], IndexOptions(strict=True))
    for name in (*others, "S1B_20200306T051122"):
        assert name in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("bands", "mode"), [(("HH", "HV"), "EW"), (("HH",), "EW"), (("VV",), "IW"), (("VH",), "S3")]
)
def test_a_folder_of_one_kind_is_indexed_whatever_the_kind(
    bands: tuple[str, ...], mode: str, tmp_path: Path
) -> None:
    for time in TIMES[:2]:
        earth_engine(tmp_path, time, bands, mode)
    items = find_items([tmp_path], IndexOptions(strict=True))
    assert len(items) == 2
    for found in items:
        assert found.properties["sar:polarizations"] == list(bands)
        assert found.properties["sar:instrument_mode"] == mode.replace("S3", "SM")
        assert set(found.assets) == {"-".join(bands).lower()}


def test_the_kind_of_most_scenes_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Among VV and VH, scenes with one of both are used; of three HH and two VV, those of HH."""
    names = [earth_engine(tmp_path, time, ("HH", "HV")) for time in TIMES[:3]]
    other = [
        earth_engine(tmp_path, time, bands)
        for time, bands in zip(TIMES[3:5], (("VV",), ("VV", "VH")), strict=True)
    ]
    assert [found.id for found in find_items([tmp_path], IndexOptions())] == names
    assert f"2 left out (polarisation VV or VH, where HH or HV is used): {other[0]}" in (
        capsys.readouterr().err
    )
    (tmp_path / f"{names[0]}.tif").unlink()  # now as many of each: VV and VH
    assert [found.id for found in find_items([tmp_path], IndexOptions())] == other


def test_items_of_a_catalogue_follow_the_same_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usable(tmp_path)
    items = find_items([tmp_path], IndexOptions())
    grd = items[0].clone()
    grd.id = "grd"
    for asset in grd.assets.values():
        asset.extra_fields.pop("sarcast:quantity")
    grd.collection_id = "sentinel-1-grd"
    wide = items[0].clone()
    wide.id, wide.properties["sar:instrument_mode"] = "wide", "EW"
    found = normalise_items([*items, grd, wide], scene_profiles())
    assert [one.id for one in found] == [one.id for one in items]
    output = capsys.readouterr().err
    assert "1 left out (level-1 product in radar geometry; convert it with sarcast rtc): grd" in (
        output
    )
    assert "1 left out (mode EW, where IW is used): wide" in output
    with pytest.raises(SarcastError, match=r"--strict refuses .*: grd; 1 left out \(mode .*wide;"):
        normalise_items([*items, grd, wide], scene_profiles(), strict=True)
    with pytest.raises(SarcastError, match="grd is a level-1 product in radar geometry"):
        normalise_items([grd], scene_profiles())


def test_a_cube_keeps_the_kind_that_it_has() -> None:
    """More scenes of another kind are left out if the cube's own scenes decide."""
    box = [27.0, 62.0, 28.0, 62.5]
    items = []
    for number, mode in enumerate(("IW", "EW", "EW")):
        made = pystac.Item(str(number), None, box, dt.datetime(2020, 3, 1, tzinfo=dt.UTC), {})
        made.properties["sar:instrument_mode"] = mode
        bands = [{"name": "VV", "unit": "dB"}]
        fields = {"bands": bands, "sarcast:quantity": "sigma0"}
        made.add_asset("vv", pystac.Asset("vv.tif", extra_fields=fields))
        items.append(made)
    assert [one.id for one in normalise_items(items, [])] == ["1", "2"]
    assert [one.id for one in normalise_items(items, [], known={"0"})] == ["0"]


def test_a_folder_that_a_cube_has_in_part_is_used_as_the_cube_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cube of VV and VH is extended by VV and VH, though most files are now HH and HV."""
    scenes, cube = tmp_path / "scenes", tmp_path / "cube.zarr"
    earth_engine(scenes, TIMES[0])
    assert run(capsys, "cube", scenes, "--to", cube)[0] == 0
    earth_engine(scenes, TIMES[1])
    for time in TIMES[2:6]:
        earth_engine(scenes, time, ("HH", "HV"))
    assert run(capsys, "cube", scenes, "--to", cube)[0] == 0
    built = open_cube(cube)
    assert built.sizes["time"] == 2
    assert np.isfinite(built["backscatter"]).all()
    assert run(capsys, "cube", scenes, "--to", cube, "--strict")[0] == 1


# --- files of one scene ---------------------------------------------------------------------------


def test_linked_scenes_are_found_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders and files that are links, to scenes elsewhere and to scenes in the same folder."""
    scenes, elsewhere = tmp_path / "scenes", tmp_path / "elsewhere"
    names = [
        earth_engine(folder, time)
        for folder, time in ((scenes, TIMES[0]), (elsewhere / "a", TIMES[1]))
    ]
    stored = elsewhere / "objects" / "5f3c"
    names.append(earth_engine(elsewhere / "objects", TIMES[2]))
    (elsewhere / "objects" / f"{names[2]}.tif").rename(stored)
    (scenes / "2020").symlink_to(elsewhere / "a")
    (scenes / "again").symlink_to(elsewhere / "a")
    (scenes / f"{names[2]}.tif").symlink_to(stored)  # as git-annex and DVC store files
    (scenes / "latest.tif").symlink_to(f"{names[0]}.tif")
    (scenes / "copy").mkdir()
    (scenes / "copy" / f"{names[0]}.tif").symlink_to(scenes / f"{names[0]}.tif")
    items = find_items([scenes, elsewhere], IndexOptions(strict=True))
    assert [found.id for found in items] == names
    assert "copy" not in capsys.readouterr().err


def test_other_rasters_in_the_folder_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are no loss that --strict refuses; files of a known product are not named."""
    used = usable(tmp_path)
    write_cog(tmp_path / "S1-5-March.tif", DECIBELS, GRID)
    base = opera_name(TIMES[0])
    write_cog(tmp_path / f"{base}_mask.tif", np.zeros(GRID.shape, np.uint8), GRID, nodata=None)
    items = find_items([tmp_path], IndexOptions(strict=True))
    assert [found.id for found in items] == used
    output = capsys.readouterr().err
    assert f"1 left out (raster whose name matches no profile): {tmp_path}/S1-5-M" in output


def test_scenes_in_archives_and_other_formats_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the archive of a scene that is used, nor that of an orbit file."""
    used, other = (f"S1A_IW_{time}_DVP_RTC20_G_gpuned_AB12" for time in (TIMES[0], TIMES[7]))
    write_cog(tmp_path / f"{used}_VV.tif", POWER[0], GRID)
    orbit = f"S1A_OPER_AUX_POEORB_OPOD_{TIMES[0]}_V{TIMES[0]}_{TIMES[1]}.EOF.zip"
    for name in (f"{used}.zip", orbit, f"{other}.zip", f"S1A_{TIMES[7]}_VV.vrt"):
        (tmp_path / name).touch()
    items = find_items([tmp_path], IndexOptions(strict=True))
    assert [found.id for found in items] == [used]
    output = capsys.readouterr().err
    assert f"1 left out (archive; unpack it): {tmp_path / other}.zip" in output
    assert "1 left out (format that is not read; convert it to GeoTIFF): " in output
    (tmp_path / f"{used}_VV.tif").unlink()
    with pytest.raises(SarcastError, match="no Sentinel-1 raster in"):
        find_items([tmp_path], IndexOptions())
    assert "2 left out (archive; unpack it): " in capsys.readouterr().err


def test_files_that_macos_adds_are_no_scenes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = usable(tmp_path)
    (tmp_path / "__MACOSX").mkdir()
    for name in (f"__MACOSX/._{used[0]}.tif", f"._{used[1]}.tif", "._item.json"):
        (tmp_path / name).write_bytes(b'\0\5\x16\7 "stac_version"')
    items = find_items([tmp_path], IndexOptions(strict=True))
    assert [found.id for found in items] == used
    assert "3 left out (metadata of macOS, no raster): " in capsys.readouterr().err


def test_a_scene_of_the_same_name_elsewhere_is_no_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one image cut to several areas, each in its own folder, the others are named as lost."""
    name, _ = usable(tmp_path / "a")
    usable(tmp_path / "copy")
    moved = tmp_path / "b" / f"{name}.tif"
    write_cog(moved, DECIBELS, GRID.translate_pix(100, 0), bands=["VV", "VH"])
    find_items([tmp_path], IndexOptions())
    output = capsys.readouterr().err
    assert "1 left out (same name as a scene that is used, but other pixels; rename it" in output
    assert f"to use both): {moved}" in output
    assert f"2 left out (copy of a scene that is used): {tmp_path}/copy" in output
    with pytest.raises(SarcastError, match="--strict refuses .*same name as a scene"):
        find_items([tmp_path], IndexOptions(strict=True))


def test_an_item_that_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / f"{item(tmp_path, 'marked')}.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert [found.id for found in find_items([tmp_path], IndexOptions())] == ["marked"]


def test_items_in_a_feature_collection(tmp_path: Path) -> None:
    for name in ("a", "b"):
        item(tmp_path, name)
    paths = [tmp_path / f"{name}.json" for name in ("a", "b")]
    features = [json.loads(path.read_text()) for path in paths]
    (tmp_path / "search.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    for path in paths:
        path.unlink()
    assert [found.id for found in find_items([tmp_path], IndexOptions())] == ["a", "b"]


# --- the commands ---------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize("verb", ["index", "cube"])
def test_strict_is_an_option_of_both_commands(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usable(tmp_path / "scenes")
    hh_hv(tmp_path / "scenes")
    code, output = run(capsys, verb, tmp_path / "scenes", "--to", tmp_path / "to", "--strict")
    assert code == 1
    assert "sarcast: --strict refuses scenes that cannot be used: 1 left out (polar" in output
    code, output = run(capsys, verb, tmp_path / "scenes", "--to", tmp_path / "to")
    assert code == 0
    assert output.count("left out (polarisation HH or HV") == 1


def test_strict_applies_to_a_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usable(tmp_path)
    items = find_items([tmp_path], IndexOptions())
    items[1].properties["sar:instrument_mode"] = "EW"
    FolderCatalogue(tmp_path / "catalogue").add(items)
    command = ("cube", tmp_path / "catalogue", "--to", tmp_path / "to")
    code, output = run(capsys, *command, "--strict")
    assert code == 1 and "--strict refuses" in output
    code, output = run(capsys, *command)
    assert code == 0 and "1 left out (mode EW, where IW is used)" in output


@pytest.mark.parametrize("words", [("--unit", "dB"), ("--unit", "dB", "--strict"), ()])
def test_a_source_that_does_not_exist(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("cube", "index"):
        code, output = run(capsys, verb, tmp_path / "nosuch", "--to", tmp_path / "to", *words)
        assert code == 1
        assert "nosuch does not exist; name" in output


def test_the_first_and_last_date_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the order of names is not that of dates, and where only the date is known."""
    name = "S1B_IW_GRDH_1SDV_20190301T051122_20190301T051147_031480_03A0C1_AB12"
    write_cog(tmp_path / f"{name}.tif", DECIBELS, GRID, bands=["VV", "VH"])
    usable(tmp_path)
    _, output = run(capsys, "index", tmp_path, "--to", tmp_path / "catalogue")
    assert "3 scenes found (2019-03-01 05:11:22+00:00 to 2020-03-02 05:11:22+00:00)" in output
    tile = tmp_path / "tile" / "s1a_33NWB_vv_DES_007_20200108txxxxxx_sigma.tif"
    write_cog(tile, POWER[0], GRID)
    _, output = run(capsys, "index", tile, "--to", tmp_path / "other")
    assert "1 scene found (2020-01-08 00:00:00+00:00 to 2020-01-08 00:00:00+00:00)" in output


# --- the collector --------------------------------------------------------------------------------


def test_what_is_no_loss_is_never_refused(capsys: pytest.CaptureFixture[str]) -> None:
    left_out = LeftOut()
    left_out.add("copy", "a", refused=False)
    left_out.report(any_used=True, strict=True)
    assert "warning: 1 left out (copy): a" in capsys.readouterr().err
    left_out.report(any_used=True, strict=True)  # reported once
    assert capsys.readouterr().err == ""


def test_the_error_of_all_scenes_is_that_of_the_first() -> None:
    left_out = LeftOut()
    for name in ("a", "b", "c"):
        with left_out.unusable(name):
            raise UnusableError("too dark", f"{name} is too dark; look elsewhere")
    with pytest.raises(SarcastError, match=r"a is too dark; look elsewhere \(and 2 more like this"):
        left_out.report(any_used=False, strict=False)
