"""A STAC API that fails in every way that servers do."""

import datetime as dt
import json
import logging
from base64 import b64encode
from typing import Any

import pytest
import shapely
from odc.geo.geom import box

from sarcast.catalogue import open_catalogue
from sarcast.catalogue.api import StacApi
from sarcast.errors import SarcastError, UsageError
from sarcast.io.remote import RemoteOptions
from services import Answer, Asked, web

PATIENCE = RemoteOptions(tries=3, timeout=1.0, pause=0.01)
ITEM_SEARCH = "https://api.stacspec.org/v1.0.0/item-search"
PAGES, PER_PAGE = 4, 3
AREA = box(24.0, 60.0, 25.0, 61.0, "EPSG:4326")
ALL = [f"item-{number:02d}" for number in range(PAGES * PER_PAGE)]


def feature(number: int, **changed: Any) -> dict[str, Any]:
    moment = dt.datetime(2020, 1, 1) + dt.timedelta(days=number)
    told = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"item-{number:02d}",
        "geometry": shapely.geometry.mapping(shapely.box(24.0, 60.0, 25.0, 61.0)),
        "bbox": [24.0, 60.0, 25.0, 61.0],
        "properties": {"datetime": moment.isoformat() + "Z"},
        "links": [{"rel": "self", "href": f"https://example.org/stac/items/{number}.json"}],
        "assets": {
            "vv": {"href": f"../cogs/{number}.tif"},
            "vh": {"href": "https://a.b/c.tif?d=e"},
        },
    }
    return {**told, **changed}


class Api:
    """A landing page and a search of four pages, some of which are spoiled, ``times`` or always."""

    def __init__(self, times: int | None = None, **landing: Any) -> None:
        self.spoiled: dict[int, Answer] = {}
        self.times = times
        self.landing = landing
        self.seen: dict[int, int] = {}
        self.method = "POST"
        self.matched: int | None = None

    def __call__(self, asked: Asked) -> Answer:
        base = f"http://{asked.headers['host']}"
        if asked.path != "/search":
            return self._landing(base)
        told = json.loads(asked.body or b"{}") | asked.query
        page = int(told.get("token", 0))
        self.seen[page] = self.seen.get(page, 0) + 1
        if page in self.spoiled and (self.times is None or self.seen[page] <= self.times):
            return self.spoiled[page]
        return self.page(page, base)

    def _landing(self, base: str) -> Answer:
        links = [
            {"rel": "root", "href": base, "type": "application/json"},
            {"rel": "search", "href": f"{base}/search", "type": "application/geo+json",
             "method": self.method},
        ]  # fmt: skip
        told = {"type": "Catalog", "id": "faulty", "description": "-", "stac_version": "1.0.0",
                "conformsTo": ["https://api.stacspec.org/v1.0.0/core", ITEM_SEARCH],
                "links": links}  # fmt: skip
        return json_answer(told | self.landing)

    def page(self, page: int, base: str, **changed: Any) -> Answer:
        features = [feature(page * PER_PAGE + place) for place in range(PER_PAGE)]
        told: dict[str, Any] = {"type": "FeatureCollection", "features": features, "links": []}
        if page < PAGES - 1:
            told["links"].append(self.following(page + 1, base))
        if self.matched is not None:
            told["numberMatched"] = self.matched
        return json_answer(told | changed)

    def following(self, page: int, base: str) -> dict[str, Any]:
        if self.method == "GET":
            return {"rel": "next", "href": f"{base}/search?token={page}"}
        return {"rel": "next", "href": f"{base}/search", "method": "POST", "merge": True,
                "body": {"token": str(page)}}  # fmt: skip


def json_answer(told: Any, **more: Any) -> Answer:
    return Answer(json.dumps(told).encode(), **more)


def found(url: str, **query: Any) -> list[str]:
    return [item.id for item in open_catalogue(url, options=PATIENCE).search(**query)]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_all_pages_are_read(method: str) -> None:
    api = Api()
    api.method = method
    with web(api) as (url, asked):
        time = (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None)
        items = open_catalogue(url, ["rtc"], PATIENCE).search(AREA, time)
    assert [item.id for item in items] == ALL
    searches = [one for one in asked if one.path == "/search"]
    assert [one.method for one in searches] == [method] * PAGES
    told = json.loads(searches[0].body or b"null") or searches[0].query
    assert told["datetime"] == "2020-01-01T00:00:00.000000Z/.."
    assert told["collections"] in (["rtc"], "rtc")
    shape = told["intersects"]
    shape = shapely.geometry.shape(json.loads(shape) if isinstance(shape, str) else shape)
    assert shape.equals(AREA.geom)


def test_hrefs_can_be_opened() -> None:
    with web(Api()) as (url, _):
        item = StacApi(url, (), PATIENCE).search()[1]
    assert item.assets["vv"].href == "https://example.org/stac/cogs/1.tif"
    assert item.assets["vh"].href == "https://a.b/c.tif?d=e"


# --- faults that pass ---------------------------------------------------------------------------

BODY = json.dumps({"type": "FeatureCollection", "features": [feature(7)], "links": []}).encode()
PASSING = {
    "server error": Answer(b"{}", status=500),
    "overloaded": Answer(b"busy", status=503),
    "too many requests": Answer(b"", status=429),
    "cut off": Answer(BODY[:50], cut=len(BODY) - 50),
    "cut off, unseen": Answer(BODY[:50], untold=True),
    "slow": Answer(BODY, after_s=1.6),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_waited_out(fault: str) -> None:
    api = Api(times=1)
    api.spoiled = {2: PASSING[fault]}
    with web(api) as (url, _):
        assert found(url) == ALL
    assert api.seen == {0: 1, 1: 1, 2: 2, 3: 1}


STAYING = {
    "server error": "HTTP 500, asked 3 times",
    "overloaded": "HTTP 503, asked 3 times: busy",
    "too many requests": "HTTP 429, asked 3 times",
    "cut off": "no whole answer, asked 3 times",
    "cut off, unseen": "no JSON, asked 3 times",
    "slow": r"no answer within 1 s, asked 3 times",
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_search_that_breaks_off_half_way_gives_nothing(fault: str) -> None:
    api = Api()
    api.spoiled = {2: PASSING[fault]}
    told = rf"http://127\.0\.0\.1:\d+ broke off after 2 pages of 6 items \({STAYING[fault]}"
    with web(api) as (url, _), pytest.raises(SarcastError, match=told) as error:
        found(url)
    assert "none of them is used" in str(error.value)
    assert "\n" not in str(error.value)
    assert api.seen[2] == PATIENCE.tries


def test_a_server_that_goes_away_half_way() -> None:
    """The next page is at a server that does not answer at all."""
    gone = {"rel": "next", "href": "http://127.0.0.1:1/search"}
    api = Api()
    api.spoiled = {0: json_answer({"features": [feature(0)], "links": [gone]})}
    with web(api) as (url, _), pytest.raises(SarcastError, match=r"1 pages of 1 items \(no whole"):
        found(url)


# --- faults that stay ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 501])
def test_a_refusal_is_not_asked_again(status: int) -> None:
    api = Api()
    api.spoiled = {0: Answer(b'{"detail": "give\\na collection"}', status=status)}
    told = rf"does not answer as a STAC API \(HTTP {status}: .*--collection"
    with web(api) as (url, _), pytest.raises(SarcastError, match=told):
        found(url)
    assert api.seen == {0: 1}


ODD: dict[str, tuple[Any, str]] = {
    "no features": ({"code": "Oops"}, "holds no features"),
    "no object": (["a"], "no JSON object but a list"),
    "a circle": ("circle", "its pages lead in a circle"),
    "no item": (
        [{"type": "Feature", "id": "x"}],
        r"of 4 items \('x' is no whole STAC item",
    ),
    "no time": ([feature(0, properties={})], r"4 items \('item-00' is no whole STAC item"),
}


@pytest.mark.parametrize("case", ODD)
def test_a_page_that_is_none(case: str) -> None:
    answer, told = ODD[case]
    api = Api()
    with web(api) as (url, _):
        if answer == "circle":
            api.spoiled[1] = api.page(1, url, links=[api.following(1, url)])
        elif case.startswith("no ") and isinstance(answer, list) and answer != ["a"]:
            api.spoiled[1] = api.page(1, url, features=answer, links=[])
        else:
            api.spoiled[1] = json_answer(answer)
        with pytest.raises(SarcastError, match=told):
            found(url)


def test_an_empty_page_is_not_the_last() -> None:
    api = Api()
    with web(api) as (url, _):
        api.spoiled[1] = api.page(1, url, features=[])
        assert found(url) == ALL[:PER_PAGE] + ALL[2 * PER_PAGE :]


def test_an_item_that_comes_twice_is_one() -> None:
    api = Api()
    with web(api) as (url, _):
        api.spoiled[1] = api.page(1, url, features=[feature(2), feature(3)])
        assert found(url) == [name for name in ALL if name not in ("item-04", "item-05")]


@pytest.mark.parametrize(("matched", "warned"), [(12, False), (13, True), (None, False)])
def test_fewer_items_than_told_are_said(
    matched: int | None, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api()
    api.matched = matched
    with web(api) as (url, _):
        assert found(url) == ALL
    assert ("told of 13 items, but gave 12" in capsys.readouterr().err) == warned


LANDINGS = {
    "no search": ({"conformsTo": [], "links": []}, "check the URL"),
    "an item": (feature(0), "check the URL"),
    "nothing": ({"type": None}, "check the URL"),
}


@pytest.mark.filterwarnings("ignore::pystac_client.warnings.PystacClientWarning")
@pytest.mark.parametrize("case", LANDINGS)
def test_what_is_no_stac_api(case: str) -> None:
    landing, told = LANDINGS[case]
    with web(Api(**landing)) as (url, _), pytest.raises(SarcastError, match=told) as error:
        found(url)
    assert f"{url} does not answer as a STAC API" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_url_of_nothing() -> None:
    with pytest.raises(SarcastError, match=r"127\.0\.0\.1:1 does not answer .*no whole answer"):
        found("http://127.0.0.1:1")
    with pytest.raises(UsageError, match="names no host"):
        open_catalogue("https:///stac")
    with pytest.raises(UsageError, match="ftp:// leads to no catalogue"):
        open_catalogue("ftp://example.org/stac")


def test_a_long_search_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with web(Api()) as (url, _):
        assert found(url) == ALL
        assert "so far" not in capsys.readouterr().err
        monkeypatch.setattr("sarcast.catalogue.api.SAID_S", 0.0)
        assert found(url) == ALL
    assert [int(line.split()[1]) for line in capsys.readouterr().err.splitlines()] == [3, 6, 9, 12]


# --- credentials --------------------------------------------------------------------------------

SECRETS = ("Rumpel", "stilz", "UnVfa2V5", "b3BlbiBz")


def keyed(url: str) -> str:
    return url.replace("://", "://Rumpel:s%40%E2%82%ACstilz@") + "/?key=UnVfa2V5"


def test_credentials_reach_their_host() -> None:
    with web(Api()) as (url, asked):
        assert found(keyed(url)) == ALL
    for one in asked:
        assert (
            one.headers["authorization"]
            == "Basic " + b64encode("Rumpel:s@€stilz".encode()).decode()
        )
        assert one.query["key"] == "UnVfa2V5"


def test_credentials_reach_no_other_host() -> None:
    """Not even a host that a page of the API leads to."""
    leading = Api()
    with web(Api()) as (other, asked_there), web(leading) as (url, _):
        link = {"rel": "next", "href": f"{other}/search?token=3"}
        leading.spoiled[0] = json_answer({"features": [feature(0)], "links": [link]})
        assert len(found(keyed(url))) == 1 + PER_PAGE
    assert asked_there
    for one in asked_there:
        assert "authorization" not in one.headers
        assert "key" not in one.query


@pytest.mark.parametrize("page", [0, 2, None])
def test_credentials_are_never_shown(
    page: int | None, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api()
    api.spoiled = {} if page is None else {page: Answer(b"", status=502)}
    caplog.set_level(logging.DEBUG)
    with web(api) as (url, _):
        if page is None:
            api.matched = 99
            found(keyed(url))
        else:
            with pytest.raises(SarcastError) as error:
                found(keyed(url))
            assert not [one for one in (*SECRETS, "key=U") if one in str(error.value)]
    said = caplog.text + "".join(capsys.readouterr())
    assert "POST /search?key=***" in caplog.text
    assert not [one for one in (*SECRETS, "UnVtcGVs") if one in said]
