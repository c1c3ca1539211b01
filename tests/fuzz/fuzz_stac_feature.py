"""Mutated pages of a STAC API, recorded, searched as ``sarcast cube`` does."""

import json
from pathlib import Path
from unittest.mock import patch

import requests

from sarcast.catalogue import open_catalogue
from sarcast.ingest.scenes.profile import scene_profiles
from sarcast.ingest.scenes.stac import declare_nodata, normalise_items
from sarcast.io.footprint import footprint
from sarcast.io.grid import make_grid
from sarcast.io.remote import RemoteOptions

from .harness import Call, Kind
from .mutate import Rng, as_json, mutate_tree
from .seeds import GRID, TIMES, items_of, write_scene

URL = "https://stac.example.org"
_OPTIONS = RemoteOptions(tries=1, timeout=1.0, pause=0.0)


class StacFeature(Kind):
    """A landing page and a search of two pages; a feature, a page or the landing is mutated."""

    name = "stac-feature"

    def prepare(self) -> None:
        for number, time in enumerate(TIMES):
            write_scene(self.seeds / "scenes", time, number)
        items = items_of(self.seeds / "scenes")
        for item in items:
            item["links"] = [{"rel": "self", "href": f"{URL}/items/{item['id']}"}]
            for asset in item["assets"].values():
                asset["href"] = f"{URL}/data/{asset['href']}"
        (self.seeds / "items.json").write_text(json.dumps(items))

    def case(self, folder: Path, rng: Rng) -> Call:  # noqa: ARG002 - nothing is on disk
        items = json.loads((self.seeds / "items.json").read_text())
        next_link = {"rel": "next", "href": f"{URL}/search?token=1", "method": "GET"}
        pages = [_page(items[:2], next_link), _page(items[2:])]
        landing = _landing()
        what = rng.integers(10)
        if what == 0:
            landing = mutate_tree(landing, rng)
        elif what < 3:
            pages[0] = mutate_tree(pages[0], rng)
        else:
            pages[0]["features"][0] = mutate_tree(items[0], rng)
        first = as_json(pages[0], rng)
        answers = {"/": as_json(landing, rng) if what == 0 else json.dumps(landing).encode()}
        answers |= {"0": first, "1": json.dumps(pages[1]).encode()}
        area = footprint(GRID) if rng.integers(2) else None
        return lambda: _search(answers, area)


def _landing() -> dict[str, object]:
    return {
        "type": "Catalog", "id": "recorded", "description": "-", "stac_version": "1.0.0",
        "conformsTo": [
            "https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search",
        ],
        "links": [
            {"rel": "root", "href": URL, "type": "application/json"},
            {"rel": "search", "href": f"{URL}/search", "type": "application/geo+json",
             "method": "POST"},
        ],
    }  # fmt: skip


def _page(features: list[object], *links: object) -> dict[str, object]:
    return {"type": "FeatureCollection", "features": features, "links": list(links)}


def _search(answers: dict[str, bytes], area: object) -> None:
    def send(_: object, request: requests.PreparedRequest, **__: object) -> requests.Response:
        url = request.url or ""
        page = "1" if "token=1" in url else "0" if "/search" in url else "/"
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = 200, url, request
        answer.headers["content-type"] = "application/json"
        answer._content = answers[page]
        return answer

    with patch.object(requests.Session, "send", send):
        items = open_catalogue(URL, options=_OPTIONS).search(area)
    items = normalise_items(items, scene_profiles(()))
    make_grid(None, [declare_nodata(item, None) for item in items])
