"""Which hrefs of items are opened, and which are not, whoever wrote them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio.shutil

from conftest import GRID, opera_name
from sarcast.catalogue import FolderCatalogue, open_catalogue
from sarcast.catalogue.hrefs import Places, lies_inside
from sarcast.catalogue.unusable import UnusableError
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.add import add_scenes
from sarcast.ingest.scenes.fuse import Layer, UnreadableError, read_layer
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog
from sarcast.io.rasters import open_raster
from sarcast.io.remote import RemoteOptions
from services import Answer, Request, web

ITEM = "https://stac.example.org/items/a.json"
VRT = '<VRTDataset rasterXSize="1" rasterYSize="1"/>'
NEVER = [
    VRT,
    "/vsicurl/https://example.org/a.tif",
    "/vsizip/a.zip/a.tif",
    "//vsimem/a.tif",
    "NETCDF:/data/a.nc:VV",
    "NETCDF:https://example.org/a.nc:VV",
    "WMS:https://example.org/wms",
    "DERIVED_SUBDATASET:LOGAMPLITUDE:/data/a.tif",
    "GTIFF_DIR:1:/data/a.tif",
    "vrt:///data/a.tif?bands=1",
    "vrt://https://example.org/a.tif",
    "zip+https://example.org/a.zip!a.tif",
    "ftp://example.org/a.tif",
    "file://other/data/a.tif",
    "https:example.org/a.tif",
    "https://exam\\ple.org/a.tif",
    "https://%31%32%37.0.0.1/a.tif",
    "https://example.org/a\nb.tif",
    '{"type": "FeatureCollection"}',
    "/data/a\0.tif",
]
REMOTE = [
    "https://example.org/a.tif?sig=a%2Bb",
    "http://example.org:8080/a.tif",
    "https://8.8.8.8/a.tif",
    "s3://bucket_1/a.tif",
    "gs://bucket/a.tif",
    "az://container/a.tif",
    "abfs://container@account.dfs.core.windows.net/a.tif",
    "relative.tif",
    "../up.tif",
]
INSIDE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "0", "0.0.0.0",
    "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "2852039166", "100.64.0.1",
    "localhost", "LOCALHOST.", "a.localhost", "metadata.google.internal", "printer.local",
    "[::1]", "[::]", "[fe80::1]", "[fe80::1%eth0]", "[fd00::1]", "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "１２７.0.0.1", "ⓛocalhost",
]  # fmt: skip


@pytest.mark.parametrize("href", NEVER)
@pytest.mark.parametrize("any_place", [False, True])
def test_names_that_only_gdal_understands_are_never_opened(href: str, any_place: bool) -> None:
    places = Places("/data", any_place=any_place, allowed=("/vsicurl/", "/data"))
    with pytest.raises(UnusableError, match="is not opened"):
        places.check(href, ITEM, "item a, asset vv")


@pytest.mark.parametrize("href", REMOTE)
def test_rasters_of_known_schemes_are_opened(href: str) -> None:
    found = Places("https://stac.example.org").check(href, ITEM, "a")
    assert found == (href if ":" in href else f"https://stac.example.org/{href.strip('./')}") or (
        found == "https://stac.example.org/items/relative.tif"
    )


@pytest.mark.parametrize("host", INSIDE)
def test_addresses_inside_are_opened_only_where_the_catalogue_lies_there(host: str) -> None:
    assert lies_inside(host)
    for url in (f"https://{host}/a.tif", f"http://me:x@{host}:80/a.tif"):
        with pytest.raises(UnusableError, match=r"is not opened"):
            Places("https://stac.example.org").check(url, ITEM, "a")


def test_the_host_of_the_catalogue_and_what_is_allowed() -> None:
    local = Places("http://127.0.0.1:8080/stac")
    assert local.check("http://127.0.0.1:9/a.tif", ITEM, "a")
    with pytest.raises(UnusableError, match=r"add --allow-href http://127\.0\.0\.2/"):
        local.check("http://127.0.0.2/a.tif", ITEM, "a")
    allowed = Places(ITEM, allowed=("http://10.0.0.5/data", "/data/scenes"))
    assert allowed.check("http://10.0.0.5/data/a.vrt", ITEM, "a")
    assert allowed.check("/data/scenes/a.vrt", ITEM, "a")
    for href in ("http://10.0.0.5/database/a.tif", "http://10.0.0.5/data@10.0.0.6/a.tif",
                 "http://10.0.0.5:1/data/a.tif", "/data/scenes2/a.tif",
                 "/data/scenes/../a.tif"):  # fmt: skip
        with pytest.raises(UnusableError):
            allowed.check(href, ITEM, "a")


def test_a_message_shows_no_credentials() -> None:
    with pytest.raises(UnusableError) as error:
        Places("/data").check("http://me:it's s3cret@10.0.0.1/a.tif?sig=s3cret'x", ITEM, "a")
    assert "s3cret" not in str(error.value)


def test_a_virtual_raster_of_somebody_else_is_not_opened() -> None:
    with pytest.raises(UnusableError, match="it is a virtual raster"):
        Places("https://stac.example.org").check("https://example.org/a.vrt?x=1", ITEM, "a")


# --- files ----------------------------------------------------------------------------------------


def test_files_below_the_folder_alone(tmp_path: Path) -> None:
    """Neither beside it, nor through links that lead out of it, nor devices in it."""
    inside, outside = tmp_path / "catalogue", tmp_path / "catalogue2"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.tif").touch()
    (inside / "link.tif").symlink_to(outside / "a.tif")
    (inside / "folder").symlink_to(outside)
    os.mkfifo(inside / "pipe.tif")
    places, base = Places(str(inside)), f"{inside}/"
    for href in ("a.tif", "./x/../a.tif", f"file://{inside}/a.tif", str(inside / "a.tif")):
        assert places.check(href, base, "a") == str(inside / "a.tif")
    for href in ("../catalogue2/a.tif", "link.tif", "folder/a.tif", "pipe.tif", "/etc/passwd",
                 f"file://{outside}/a.tif", "a.vrt"):  # fmt: skip
        with pytest.raises(UnusableError):
            places.check(href, base, "a")
    named = Places(folders=(str(inside),), follow_links=True)
    assert named.check("link.tif", base, "a") == str(inside / "link.tif")
    with pytest.raises(UnusableError, match="lies outside the catalogue"):
        named.check("../catalogue2/a.tif", base, "a")


@pytest.fixture
def indexed(tmp_path: Path, scene_folder: Callable[..., Path]) -> Path:
    """A catalogue of a scene that lies outside of it."""
    scenes = scene_folder({opera_name("20200301T154005"): np.full((2, *GRID.shape), 0.1)})
    add_scenes((scenes,), str(tmp_path / "catalogue"), IndexOptions())
    return tmp_path / "catalogue"


def test_scenes_that_index_read_elsewhere_are_opened_without_a_flag(indexed: Path) -> None:
    """Also after the catalogue was moved, and after more scenes were added."""
    assert len(FolderCatalogue(indexed).search()) == 1
    moved = indexed.rename(indexed.with_name("moved"))
    (item,) = FolderCatalogue(moved).search()
    FolderCatalogue(moved).add([item])
    assert len(FolderCatalogue(moved).search()) == 1


def test_the_record_of_another_machine_does_not_count(indexed: Path, tmp_path: Path) -> None:
    """A catalogue that was handed over names folders, but was not written here."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("items.parquet", "folders.json"):
        (other / name).write_bytes((indexed / name).read_bytes())
    with pytest.raises(SarcastError, match=r"lies outside the catalogue; .*--allow-href") as error:
        FolderCatalogue(other).search()
    place = str(error.value).rpartition("--allow-href ")[2].split()[0]
    assert len(open_catalogue(other, allow=(place,)).search()) == 1
    for damaged in (b"{", b"[]", b'{"path": 1}', json.dumps({"path": str(other)}).encode()):
        (other / "folders.json").write_bytes(damaged)
        with pytest.raises(SarcastError, match="lies outside the catalogue"):
            FolderCatalogue(other).search()


def test_an_item_with_rasters_elsewhere_is_indexed_where_they_are_named(
    tmp_path: Path, scene_folder: Callable[..., Path]
) -> None:
    scenes = scene_folder({opera_name("20200301T154005"): np.full((2, *GRID.shape), 0.1)})
    (made,) = find_items([scenes], IndexOptions())
    items = tmp_path / "items"
    items.mkdir()
    (items / "item.json").write_text(json.dumps(made.to_dict(transform_hrefs=False)))
    with pytest.raises(SarcastError, match="lies outside the catalogue"):
        find_items([items], IndexOptions())
    assert len(find_items([items], IndexOptions(allow_href=(str(scenes),)))) == 1
    assert len(find_items([items, scenes], IndexOptions())) == 1


def test_an_asset_that_is_no_image_and_lies_elsewhere_is_left_off(
    tmp_path: Path, scene_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """A world's items name their truth, which lies beside the folder of the scenes."""
    scenes = scene_folder({opera_name("20200301T154005"): np.full((2, *GRID.shape), 0.1)})
    (made,) = find_items([scenes], IndexOptions())
    made.add_asset("truth", pystac.Asset("../truth.tif", roles=["truth"]))
    (scenes / "item.json").write_text(json.dumps(made.to_dict(transform_hrefs=False)))
    (item,) = find_items([scenes], IndexOptions(strict=True))
    assert sorted(item.assets) == sorted({*made.assets} - {"truth"})
    assert "asset truth: " in caplog.text
    assert "lies outside the catalogue" in caplog.text
    made.assets["truth"].roles = ["truth", "data"]
    (scenes / "item.json").write_text(json.dumps(made.to_dict(transform_hrefs=False)))
    with pytest.raises(SarcastError, match="strict refuses .* may not be opened"):
        find_items([scenes], IndexOptions(strict=True))


# --- formats --------------------------------------------------------------------------------------


def test_a_virtual_raster_that_calls_itself_a_tiff_is_not_opened(tmp_path: Path) -> None:
    real = tmp_path / "real.tif"
    write_cog(real, np.ones(GRID.shape, np.float32), GRID)
    with rasterio.open(real) as source:
        rasterio.shutil.copy(source, tmp_path / "named.vrt", driver="VRT")
    (tmp_path / "hidden.tif").write_bytes((tmp_path / "named.vrt").read_bytes())
    with open_raster(tmp_path / "named.vrt") as source:
        assert source.driver == "VRT"
    with pytest.raises(SarcastError, match=r"hidden\.tif cannot be read"):
        open_raster(tmp_path / "hidden.tif")
    layer = Layer(str(tmp_path / "hidden.tif"), 1, "", "scene")
    with pytest.raises(UnreadableError, match=r"hidden\.tif cannot be read"):
        read_layer(layer, GRID, "nearest", RemoteOptions(tries=1))


# --- requests -------------------------------------------------------------------------------------


def landing(base: str) -> dict[str, Any]:
    search = {"rel": "search", "type": "application/geo+json", "method": "POST"}
    links = [{**search, "href": f"{base}/search"}]
    conforms = ["https://api.stacspec.org/v1.0.0/core",
                "https://api.stacspec.org/v1.0.0/item-search"]  # fmt: skip
    return {"type": "Catalog", "id": "a", "description": "-", "stac_version": "1.0.0",
            "conformsTo": conforms, "links": links}  # fmt: skip


@pytest.mark.parametrize("way", ["next", "search"])
def test_pages_lead_to_no_other_address_inside(way: str) -> None:
    """The API lies at 127.0.0.1; a page of it, or its search, at another address of the machine."""
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        base = f"http://{request.headers['host']}"
        other = f"http://0x7f.2:{base.rpartition(':')[2]}"
        if request.path != "/search":
            return Answer(json.dumps(landing(other if way == "search" else base)).encode())
        page = {"type": "FeatureCollection", "features": [],
                "links": [{"rel": "next", "href": f"{other}/search?token=1"}]}  # fmt: skip
        return Answer(json.dumps(page).encode())

    with web(answer) as (url, _), pytest.raises(SarcastError, match="is not opened, its server"):
        open_catalogue(url, options=RemoteOptions(tries=1)).search()
    assert not [request for request in asked if "0x7f" in request.headers["host"]]
