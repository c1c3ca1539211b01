"""The STAC API catalogue against a server with faults."""

import datetime as dt
import json
import logging
import re
from base64 import b64encode
from typing import Any

import pytest
import shapely
from odc.geo.geom import box

from sarcast.catalogue import open_catalogue
from sarcast.catalogue.api import StacApi
from sarcast.catalogue.unusable import LeftOut
from sarcast.errors import SarcastError, UsageError
from sarcast.io.remote import RemoteOptions
from services import Answer, Request, web

OPTIONS = RemoteOptions(tries=3, timeout=1.0, pause=0.01)
ITEM_SEARCH = "https://api.stacspec.org/v1.0.0/item-search"
PAGES, PER_PAGE = 4, 3
AREA = box(24.0, 60.0, 25.0, 61.0, "EPSG:4326")
ALL = [f"item-{number:02d}" for number in range(PAGES * PER_PAGE)]


def feature(number: int, **changed: Any) -> dict[str, Any]:
    moment = dt.datetime(2020, 1, 1) + dt.timedelta(days=number)
    content = {
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
    return {**content, **changed}


class Api:
    """A landing page and a search of four pages; faulty pages fail ``times`` times, or always."""

    def __init__(self, times: int | None = None, **landing: Any) -> None:
        self.faults: dict[int, Answer] = {}
        self.times = times
        self.landing = landing
        self.requests: dict[int, int] = {}
        self.method = "POST"
        self.matched: int | None = None

    def __call__(self, request: Request) -> Answer:
        base = f"http://{request.headers['host']}"
        if request.path != "/search":
            return self._landing(base)
        query = json.loads(request.body or b"{}") | request.query
        page = int(query.get("token", 0))
        self.requests[page] = self.requests.get(page, 0) + 1
        if page in self.faults and (self.times is None or self.requests[page] <= self.times):
            return self.faults[page]
        return self.page(page, base)

    def _landing(self, base: str) -> Answer:
        links = [
            {"rel": "root", "href": base, "type": "application/json"},
            {"rel": "search", "href": f"{base}/search", "type": "application/geo+json",
             "method": self.method},
        ]  # fmt: skip
        content = {"type": "Catalog", "id": "faulty", "description": "-", "stac_version": "1.0.0",
                "conformsTo": ["https://api.stacspec.org/v1.0.0/core", ITEM_SEARCH],
                "links": links}  # fmt: skip
        return json_answer(content | self.landing)

    def page(self, page: int, base: str, **changed: Any) -> Answer:
        features = [feature(page * PER_PAGE + index) for index in range(PER_PAGE)]
        content: dict[str, Any] = {"type": "FeatureCollection", "features": features, "links": []}
        if page < PAGES - 1:
            content["links"].append(self.next_link(page + 1, base))
        if self.matched is not None:
            content["numberMatched"] = self.matched
        return json_answer(content | changed)

    def next_link(self, page: int, base: str) -> dict[str, Any]:
        if self.method == "GET":
            return {"rel": "next", "href": f"{base}/search?token={page}"}
        return {"rel": "next", "href": f"{base}/search", "method": "POST", "merge": True,
                "body": {"token": str(page)}}  # fmt: skip


def json_answer(content: Any, **options: Any) -> Answer:
    return Answer(json.dumps(content).encode(), **options)


def found_ids(url: str, **query: Any) -> list[str]:
    return [item.id for item in open_catalogue(url, options=OPTIONS).search(**query)]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_all_pages_are_read(method: str) -> None:
    api = Api()
    api.method = method
    with web(api) as (url, requests):
        time = (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None)
        items = open_catalogue(url, ["rtc"], OPTIONS).search(AREA, time)
    assert [item.id for item in items] == ALL
    searches = [request for request in requests if request.path == "/search"]
    assert [search.method for search in searches] == [method] * PAGES
    query = json.loads(searches[0].body or b"null") or searches[0].query
    assert query["datetime"] == "2020-01-01T00:00:00.000000Z/.."
    assert query["collections"] in (["rtc"], "rtc")
    shape = query["intersects"]
    shape = shapely.geometry.shape(json.loads(shape) if isinstance(shape, str) else shape)
    assert shape.equals(AREA.geom)


def test_hrefs_can_be_opened() -> None:
    with web(Api()) as (url, _):
        item = StacApi(url, (), OPTIONS).search()[1]
    assert item.assets["vv"].href == "https://example.org/stac/cogs/1.tif"
    assert item.assets["vh"].href == "https://a.b/c.tif?d=e"


# --- transient faults ---------------------------------------------------------------------------

BODY = json.dumps({"type": "FeatureCollection", "features": [feature(7)], "links": []}).encode()
TRANSIENT = {
    "server error": Answer(b"{}", status=500),
    "overloaded": Answer(b"busy", status=503),
    "too many requests": Answer(b"", status=429),
    "cut off": Answer(BODY[:50], cut=len(BODY) - 50),
    "cut off, no length": Answer(BODY[:50], without_length=True),
    "slow": Answer(BODY, after_s=1.6),
}


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_transient_fault_is_retried(fault: str) -> None:
    api = Api(times=1)
    api.faults = {2: TRANSIENT[fault]}
    with web(api) as (url, _):
        assert found_ids(url) == ALL
    assert api.requests == {0: 1, 1: 1, 2: 2, 3: 1}


PERSISTENT = {
    "server error": "HTTP 500, tried 3 times",
    "overloaded": "HTTP 503, tried 3 times: busy",
    "too many requests": "HTTP 429, tried 3 times",
    "cut off": "incomplete answer, tried 3 times",
    "cut off, no length": "no JSON, tried 3 times",
    "slow": r"no answer within 1 s, tried 3 times",
}


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_search_that_fails_half_way_returns_nothing(fault: str) -> None:
    api = Api()
    api.faults = {2: TRANSIENT[fault]}
    message = rf"http://127\.0\.0\.1:\d+ failed after 2 pages with 6 items \({PERSISTENT[fault]}"
    with web(api) as (url, _), pytest.raises(SarcastError, match=message) as error:
        found_ids(url)
    assert "none of them is used" in str(error.value)
    assert "\n" not in str(error.value)
    assert api.requests[2] == OPTIONS.tries


def test_a_server_that_disappears_half_way() -> None:
    """The next page is on a server that does not answer."""
    gone = {"rel": "next", "href": "http://127.0.0.1:1/search"}
    api = Api()
    api.faults = {0: json_answer({"features": [feature(0)], "links": [gone]})}
    with (
        web(api) as (url, _),
        pytest.raises(SarcastError, match=r"1 pages with 1 items \(incomplete"),
    ):
        found_ids(url)


# --- persistent faults ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 501])
def test_a_refusal_is_not_retried(status: int) -> None:
    api = Api()
    api.faults = {0: Answer(b'{"detail": "give\\na collection"}', status=status)}
    message = rf"does not answer as a STAC API \(HTTP {status}: .*--collection"
    with web(api) as (url, _), pytest.raises(SarcastError, match=message):
        found_ids(url)
    assert api.requests == {0: 1}


BAD_PAGES: dict[str, tuple[Any, str]] = {
    "no features": ({"code": "Oops"}, "contains no features"),
    "no object": (["a"], "no JSON object but a list"),
    "a circle": ("circle", "its pages link in a circle"),
}


@pytest.mark.parametrize("case", BAD_PAGES)
def test_a_page_with_bad_content(case: str) -> None:
    answer, message = BAD_PAGES[case]
    api = Api()
    with web(api) as (url, _):
        if answer == "circle":
            api.faults[1] = api.page(1, url, links=[api.next_link(1, url)])
        else:
            api.faults[1] = json_answer(answer)
        with pytest.raises(SarcastError, match=message):
            found_ids(url)


BAD_ITEMS: dict[str, tuple[Any, str]] = {
    "no item": ({"type": "Feature", "id": "item-04"}, "item-04 .*: stac_version: field required"),
    "no time": (feature(4, properties={}), "item-04 is not a valid STAC item: .*datetime"),
    "no object": ("item", "item 5 without an id"),
    "no footprint": (feature(4, geometry=None), "item-04 has no footprint"),
}


@pytest.mark.parametrize("case", BAD_ITEMS)
def test_a_malformed_item_does_not_end_a_search(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    content, line = BAD_ITEMS[case]
    api = Api()
    with web(api) as (url, _):
        features = [feature(3), content, feature(5)]
        api.faults[1] = api.page(1, url, features=features)
        assert found_ids(url) == [name for name in ALL if name != "item-04"]
        assert re.search(rf"1 left out \(no valid STAC item\): .*{line}", caplog.text)
        left_out = LeftOut()
        open_catalogue(url, options=OPTIONS).search(left_out=left_out)
    with pytest.raises(SarcastError, match="--strict refuses"):
        left_out.report(any_used=True, strict=True)


def test_an_empty_page_is_not_the_last() -> None:
    api = Api()
    with web(api) as (url, _):
        api.faults[1] = api.page(1, url, features=[])
        assert found_ids(url) == ALL[:PER_PAGE] + ALL[2 * PER_PAGE :]


def test_an_item_on_two_pages_counts_once() -> None:
    api = Api()
    with web(api) as (url, _):
        api.faults[1] = api.page(1, url, features=[feature(2), feature(3)])
        assert found_ids(url) == [name for name in ALL if name not in ("item-04", "item-05")]


@pytest.mark.parametrize(("matched", "warned"), [(12, False), (13, True), (None, False)])
def test_fewer_items_than_announced_give_a_warning(
    matched: int | None, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api()
    api.matched = matched
    with web(api) as (url, _):
        assert found_ids(url) == ALL
    assert ("announced 13 items, but returned 12" in capsys.readouterr().err) == warned


LANDINGS = {
    "no search": ({"conformsTo": [], "links": []}, "check the URL"),
    "an item": (feature(0), "check the URL"),
    "nothing": ({"type": None}, "check the URL"),
}


@pytest.mark.filterwarnings("ignore::pystac_client.warnings.PystacClientWarning")
@pytest.mark.parametrize("case", LANDINGS)
def test_a_server_that_is_no_stac_api(case: str) -> None:
    landing, message = LANDINGS[case]
    with web(Api(**landing)) as (url, _), pytest.raises(SarcastError, match=message) as error:
        found_ids(url)
    assert f"{url} does not answer as a STAC API" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_url_without_a_server() -> None:
    with pytest.raises(SarcastError, match=r"127\.0\.0\.1:1 does not answer .*incomplete answer"):
        found_ids("http://127.0.0.1:1")
    with pytest.raises(UsageError, match="names no host"):
        open_catalogue("https:///stac")
    with pytest.raises(UsageError, match="ftp:// is not a catalogue"):
        open_catalogue("ftp://example.org/stac")


def test_a_long_search_reports_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with web(Api()) as (url, _):
        assert found_ids(url) == ALL
        assert "so far" not in capsys.readouterr().err
        monkeypatch.setattr("sarcast.catalogue.api.REPORT_S", 0.0)
        assert found_ids(url) == ALL
    assert [int(line.split()[1]) for line in capsys.readouterr().err.splitlines()] == [3, 6, 9, 12]


# --- 180 degrees --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("ends", [(179.5, 180.5), (-180.5, -179.5), (539.5, 540.5)])
def test_an_area_across_180_degrees_is_asked_for_in_two_parts(
    method: str, ends: tuple[float, float]
) -> None:
    api = Api()
    api.method = method
    with web(api) as (url, requests):
        found_ids(url, area=box(ends[0], -17.0, ends[1], -16.0, "EPSG:4326"))
    search = next(request for request in requests if request.path == "/search")
    query = json.loads(search.body or b"{}") | search.query
    asked = query["intersects"]
    asked = shapely.geometry.shape(json.loads(asked) if isinstance(asked, str) else asked)
    parts = sorted(part.bounds for part in asked.geoms)
    assert parts == [(-180.0, -17.0, -179.5, -16.0), (179.5, -17.0, 180.0, -16.0)]


def test_items_of_a_server_get_canonical_footprints() -> None:
    """One beyond 180 degrees, one that goes the other way around the globe, one elsewhere."""
    beyond, jumping = shapely.box(179.0, 1.0, 182.0, 2.0), shapely.box(-178.0, 1.0, 179.0, 2.0)
    footprints = [(beyond, [179.0, 1.0, 182.0, 2.0]), (jumping, [-178.0, 1.0, 179.0, 2.0])]
    features = [
        feature(number, geometry=shapely.geometry.mapping(shape), bbox=bbox)
        for number, (shape, bbox) in enumerate(footprints)
    ]
    api = Api()
    api.faults[0] = json_answer({"features": [*features, feature(2)], "links": []})
    with web(api) as (url, _):
        *across, plain = open_catalogue(url, options=OPTIONS).search()
    for item in across:
        assert item.bbox == [179.0, 1.0, -178.0, 2.0]
        assert shapely.geometry.shape(item.geometry).area == pytest.approx(3.0)
    assert plain.bbox == [24.0, 60.0, 25.0, 61.0]
    assert across[0].assets["vv"].href == "https://example.org/stac/cogs/0.tif"


# --- credentials --------------------------------------------------------------------------------

SECRETS = ("Rumpel", "stilz", "UnVfa2V5", "b3BlbiBz")


def keyed(url: str) -> str:
    return url.replace("://", "://Rumpel:s%40%E2%82%ACstilz@") + "/?key=UnVfa2V5"


def test_credentials_reach_their_host() -> None:
    with web(Api()) as (url, requests):
        assert found_ids(keyed(url)) == ALL
    for request in requests:
        assert (
            request.headers["authorization"]
            == "Basic " + b64encode("Rumpel:s@€stilz".encode()).decode()
        )
        assert request.query["key"] == "UnVfa2V5"


def test_credentials_reach_no_other_host() -> None:
    """Not even a host that a page of the API links to."""
    leading = Api()
    with web(Api()) as (other, other_requests), web(leading) as (url, _):
        link = {"rel": "next", "href": f"{other}/search?token=3"}
        leading.faults[0] = json_answer({"features": [feature(0)], "links": [link]})
        assert len(found_ids(keyed(url))) == 1 + PER_PAGE
    assert other_requests
    for request in other_requests:
        assert "authorization" not in request.headers
        assert "key" not in request.query


@pytest.mark.parametrize("page", [0, 2, None])
def test_credentials_are_never_shown(
    page: int | None, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api()
    api.faults = {} if page is None else {page: Answer(b"", status=502)}
    caplog.set_level(logging.DEBUG)
    with web(api) as (url, _):
        if page is None:
            api.matched = 99
            found_ids(keyed(url))
        else:
            with pytest.raises(SarcastError) as error:
                found_ids(keyed(url))
            assert not [secret for secret in (*SECRETS, "key=U") if secret in str(error.value)]
    logged = caplog.text + "".join(capsys.readouterr())
    assert "POST /search?key=***" in caplog.text
    assert not [secret for secret in (*SECRETS, "UnVtcGVs") if secret in logged]
