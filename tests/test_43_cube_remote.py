"""A cube of rasters at URLs of a STAC API: missing, slow, or failing temporarily."""

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
from services import Answer, Request, web

DATES = ("20200301T153000", "20200307T153000", "20200313T153000")
PATIENT = ("--tries", 3, "--timeout", 1, "--pause", 0.05)
BAD = f"/{opera_name(DATES[1])}_VH.tif"


class Site:
    """A STAC API and its rasters; requests for one path may fail a number of times."""

    def __init__(self, items: list[dict[str, Any]], folder: Path) -> None:
        self.items, self.folder = items, folder
        self.fault: Answer | None = None
        self.failures = 0

    def __call__(self, request: Request) -> Answer:
        base = f"http://{request.headers['host']}"
        if request.path.endswith(".tif"):
            return self.raster(request.path)
        answer: dict[str, Any] = {"type": "FeatureCollection", "features": self.named(base)}
        if request.path != "/search":
            link = {"rel": "search", "href": f"{base}/search", "type": "application/geo+json"}
            answer = {"type": "Catalog", "id": "site", "description": "-", "stac_version": "1.1.0",
                    "conformsTo": ["https://api.stacspec.org/v1.0.0/item-search"],
                    "links": [link, link | {"method": "POST"}]}  # fmt: skip
        return Answer(json.dumps(answer).encode())

    def named(self, base: str) -> list[dict[str, Any]]:
        """The items with assets at this site, with a key as in signed URLs."""
        items: list[dict[str, Any]] = json.loads(json.dumps(self.items))
        for item in items:
            for asset in item["assets"].values():
                asset["href"] = f"{base}/{Path(asset['href']).name}?sig=secret"
        return items

    def raster(self, path: str) -> Answer:
        content = Answer((self.folder / path[1:]).read_bytes())
        if path != BAD or self.fault is None or self.failures == 0:
            return content
        self.failures -= 1
        return replace(self.fault, body=content.body if self.fault.status == 200 else b"")


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
def test_a_temporary_fault_has_no_effect(fault: Answer, site: Site, tmp_path: Path) -> None:
    assert run("cube", tmp_path / "catalogue", "--to", tmp_path / "local.zarr") == 0
    site.fault, site.failures = fault, 1
    with web(site) as (url, _):
        assert run("cube", url, "--to", tmp_path / "far.zarr", *PATIENT) == 0
    assert site.failures == 0
    xr.testing.assert_identical(cube(tmp_path / "far.zarr"), cube(tmp_path / "local.zarr"))


@pytest.mark.parametrize(
    "fault", [Answer(b"", status=404), Answer(b"", status=500), Answer(b"", after_s=1.5)]
)
def test_a_raster_that_remains_unavailable_is_reported(
    fault: Answer, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.fault, site.failures = fault, 99
    with web(site) as (url, _):
        assert run("cube", url, "--to", tmp_path / "far.zarr", *PATIENT) == 1
        output = capsys.readouterr().err
        assert f"{BAD}?sig=*** cannot be read after 3 tries" in output
        assert "--allow-missing" in output
        assert "secret" not in output
        assert run("cube", url, "--to", tmp_path / "far.zarr", "--allow-missing", *PATIENT) == 0
    output = capsys.readouterr().err
    assert BAD[1:-7] in output
    assert "secret" not in output
    built = cube(tmp_path / "far.zarr")
    assert sorted(built["scene_id"].values) == [opera_name(DATES[0]), opera_name(DATES[2])]
