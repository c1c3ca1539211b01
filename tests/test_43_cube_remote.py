"""A cube of rasters behind URLs that a STAC API names: gone, slow, or failing for a while."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from conftest import GRID, opera_name
from sarcast.catalogue import open_catalogue
from sarcast.cli import main
from services import Answer, Asked, web

DATES = ("20200301T153000", "20200307T153000", "20200313T153000")
PATIENT = ("--tries", 3, "--timeout", 1, "--pause", 0.05)
BAD = f"/{opera_name(DATES[1])}_VH.tif"


class Site:
    """A STAC API and the rasters that it names; those at one path may be spoiled some times."""

    def __init__(self, items: list[dict[str, Any]], folder: Path) -> None:
        self.items, self.folder = items, folder
        self.spoiled: Answer | None = None
        self.times = 0

    def __call__(self, asked: Asked) -> Answer:
        base = f"http://{asked.headers['host']}"
        if asked.path.endswith(".tif"):
            return self.raster(asked.path)
        told: dict[str, Any] = {"type": "FeatureCollection", "features": self.named(base)}
        if asked.path != "/search":
            link = {"rel": "search", "href": f"{base}/search", "type": "application/geo+json"}
            told = {"type": "Catalog", "id": "site", "description": "-", "stac_version": "1.1.0",
                    "conformsTo": ["https://api.stacspec.org/v1.0.0/item-search"],
                    "links": [link, link | {"method": "POST"}]}  # fmt: skip
        return Answer(json.dumps(told).encode())

    def named(self, base: str) -> list[dict[str, Any]]:
        """The items, their assets at this site, with a key as signed URLs have."""
        items: list[dict[str, Any]] = json.loads(json.dumps(self.items))
        for item in items:
            for asset in item["assets"].values():
                asset["href"] = f"{base}/{Path(asset['href']).name}?sig=hush"
        return items

    def raster(self, path: str) -> Answer:
        content = Answer((self.folder / path[1:]).read_bytes())
        if path != BAD or self.spoiled is None or self.times == 0:
            return content
        self.times -= 1
        return replace(self.spoiled, body=content.body if self.spoiled.status == 200 else b"")


@pytest.fixture
def site(tmp_path: Path, scene_folder: Callable[..., Path]) -> Site:
    rng = np.random.default_rng(1)
    scenes = {opera_name(date): rng.gamma(4.0, 0.05, (2, *GRID.shape)) for date in DATES}
    folder = scene_folder(scenes)
    assert run("index", folder, "--to", tmp_path / "catalogue") == 0
    items = open_catalogue(tmp_path / "catalogue").search()
    return Site([item.to_dict(transform_hrefs=False) for item in items], folder)


def run(*words: object) -> Any:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def cube(path: Path) -> xr.Dataset:
    return xr.open_zarr(path).load()


@pytest.mark.parametrize("fault", [Answer(b"", status=503), Answer(b"", after_s=1.5)])
def test_a_fault_that_passes_changes_nothing(fault: Answer, site: Site, tmp_path: Path) -> None:
    assert run("cube", tmp_path / "catalogue", "--to", tmp_path / "local.zarr") == 0
    site.spoiled, site.times = fault, 1
    with web(site) as (url, _):
        assert run("cube", url, "--to", tmp_path / "far.zarr", *PATIENT) == 0
    assert site.times == 0
    xr.testing.assert_identical(cube(tmp_path / "far.zarr"), cube(tmp_path / "local.zarr"))


@pytest.mark.parametrize(
    "fault", [Answer(b"", status=404), Answer(b"", status=500), Answer(b"", after_s=1.5)]
)
def test_a_raster_that_stays_away_is_named(
    fault: Answer, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.spoiled, site.times = fault, 99
    with web(site) as (url, _):
        assert run("cube", url, "--to", tmp_path / "far.zarr", *PATIENT) == 1
        told = capsys.readouterr().err
        assert f"{BAD}?sig=*** cannot be read after 3 tries" in told
        assert "--allow-missing" in told
        assert "hush" not in told
        assert run("cube", url, "--to", tmp_path / "far.zarr", "--allow-missing", *PATIENT) == 0
    told = capsys.readouterr().err
    assert BAD[1:-7] in told
    assert "hush" not in told
    built = cube(tmp_path / "far.zarr")
    assert sorted(built["scene_id"].values) == [opera_name(DATES[0]), opera_name(DATES[2])]
