"""A STAC API, public or one's own, through pystac-client."""

import datetime as dt
import json
import logging
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

import pystac
import requests
from odc.geo.geom import Geometry
from pystac_client import Client, ItemSearch
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import DoesNotConformTo
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth

from sarcast.catalogue.protocol import MALFORMED, TimeRange, in_order, span, utc
from sarcast.errors import SarcastError, UsageError
from sarcast.io.remote import PASSING, RemoteOptions, hide_credentials, is_remote, patiently

_log = logging.getLogger(__name__)


PAGE = 100
"""Items a page asks for: few enough for every API, whose own default is often ten."""

SAID_S = 10.0
"""Seconds after which a long search says how far it is."""

_REASON_LENGTH = 200


class StacApi:
    """A STAC API that offers item search.

    What a search gives is whole: a page that fails is asked for again, and one that stays away ends
    the search with an error.

    Parameters
    ----------
    url
        Its landing page. User, password and query are sent to its host alone, and never shown.
    collections
        Collections that are searched; none for all, which some APIs refuse.
    options
        How patiently it is asked.
    """

    def __init__(self, url: str, collections: Sequence[str], options: RemoteOptions) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            raise UsageError(f"{url} names no host; expected the landing page of a STAC API")
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, host, parts.path, "", ""))
        self.collections = tuple(collections)
        self._options = options
        self._io = _PatientIO(options)
        if parts.username is not None or parts.query:
            self._io.session.mount(f"{parts.scheme}://{host}/", _Keyed(_login(parts), parts.query))
            hide_credentials("urllib3.connectionpool")

    def search(
        self, area: Geometry | None = None, time: TimeRange | None = None
    ) -> list[pystac.Item]:
        """Items that touch ``area`` and ``time``, oldest first; see ``Catalogue.search``."""
        features: list[dict[str, Any]] = []
        matched, pages, said = None, 0, monotonic()
        try:
            search = self._asked(area, time)
            for page in self._io.pages(search):
                pages += 1
                features += page["features"]
                matched = matched if matched is not None else _matched(page)
                if monotonic() - said >= SAID_S:
                    said = monotonic()
                    _log.info(f"{self.url}: {len(features)} items so far")
            items = in_order(_item(one) for one in features)
        except (APIError, DoesNotConformTo, ClientTypeError, *MALFORMED) as error:
            raise self._failed(error, pages, len(features)) from error
        if matched is not None and len(items) < matched:
            _log.warning(f"{self.url} told of {matched} items, but gave {len(items)}")
        return items

    def _asked(self, area: Geometry | None, time: TimeRange | None) -> ItemSearch:
        client = Client.open(self.url, stac_io=self._io, timeout=self._options.timeout)
        offered = {
            link.extra_fields.get("method", "GET") for link in client.links if link.rel == "search"
        }
        return client.search(
            method="POST" if "POST" in offered or not offered else "GET",
            limit=PAGE,
            collections=list(self.collections) or None,
            intersects=None if area is None else area.to_crs("EPSG:4326").json,
            datetime=interval(time),
        )

    def _failed(self, error: Exception, pages: int, items: int) -> SarcastError:
        reason = _reason(error, self._options)
        if pages:
            return SarcastError(
                f"{self.url} broke off after {pages} pages of {items} items ({reason}); none of "
                f"them is used: try again later, or ask for fewer scenes"
            )
        return SarcastError(
            f"{self.url} does not answer as a STAC API ({reason}); check the URL, "
            f"and name its collections with --collection"
        )


def interval(time: TimeRange | None) -> str | None:
    """A range of time as STAC APIs read it: RFC 3339, open sides as ``..``; None for all."""
    if time is None or time == (None, None):
        return None
    return "/".join(".." if moment is None else _rfc3339(moment) for moment in time)


def _rfc3339(moment: dt.datetime) -> str:
    return utc(moment).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _login(parts: SplitResult) -> HTTPBasicAuth | None:
    if parts.username is None:
        return None
    user, password = (unquote(one or "").encode() for one in (parts.username, parts.password))
    return HTTPBasicAuth(user, password)


class _Keyed(HTTPAdapter):
    """Gives its host's requests their credentials, after all that could log them."""

    def __init__(self, auth: HTTPBasicAuth | None, query: str) -> None:
        super().__init__()
        self._auth = auth
        self._query = query

    def add_headers(self, request: requests.PreparedRequest, **kwargs: Any) -> None:
        super().add_headers(request, **kwargs)
        if self._auth is not None:
            self._auth(request)

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        url = super().request_url(request, proxies)
        if not self._query:
            return url
        return f"{url}{'&' if '?' in url else '?'}{self._query}"


class _PatientIO(StacApiIO):
    """Asks again after faults that may pass, and reads pages to the last one."""

    def __init__(self, options: RemoteOptions) -> None:
        super().__init__(max_retries=None)
        self._patience = options

    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        read = super().read_json

        def call() -> dict[str, Any]:
            found = read(source, *args, **kwargs)
            if not isinstance(found, dict):
                raise ValueError(f"its answer is no JSON object but a {type(found).__name__}")
            return found

        return patiently(call, self._patience, _passes)

    def pages(self, search: ItemSearch) -> Iterator[dict[str, Any]]:
        """Pages of a search, until one has no next."""
        parameters = search.get_parameters()
        page = self.read_json(search.url, method=search.method, parameters=parameters)
        followed: set[str] = set()
        while True:
            if not isinstance(page.get("features"), list):
                raise ValueError("a page of its search holds no features")
            yield page
            following = next((o for o in page.get("links", []) if o.get("rel") == "next"), None)
            if following is None:
                return
            key = json.dumps(following, sort_keys=True)
            if key in followed:
                raise ValueError("its pages lead in a circle")
            followed.add(key)
            page = self.read_json(pystac.Link.from_dict(following), parameters=parameters)


_NO_ANSWER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
"""What requests raises where no answer comes, or half of one."""


def _passes(fault: Exception) -> bool:
    """Whether a fault may pass: no or half an answer, or a server that says so."""
    if not isinstance(fault, APIError):
        return isinstance(fault, json.JSONDecodeError)
    return _status(fault) in PASSING or isinstance(fault.__context__, _NO_ANSWER)


def _status(fault: APIError) -> int | None:
    return getattr(fault, "status_code", None)


def _reason(error: Exception, options: RemoteOptions) -> str:
    """Few words on a failure."""
    cause = error.__context__
    tries = f"asked {options.tries} times"
    if isinstance(error, APIError) and (status := _status(error)):
        told = " ".join(str(error).split())[:_REASON_LENGTH]
        again = f", {tries}" if status in PASSING else ""
        return f"HTTP {status}{again}: {told}"
    if isinstance(cause, requests.Timeout):
        return f"no answer within {options.timeout:g} s, {tries}"
    if isinstance(cause, _NO_ANSWER):
        return f"no whole answer, {tries}"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON, {tries}"
    return " ".join(str(error).split())[:_REASON_LENGTH] or type(error).__name__


def _matched(page: dict[str, Any]) -> int | None:
    told = page.get("numberMatched", (page.get("context") or {}).get("matched"))
    return told if isinstance(told, int) else None


def _item(feature: dict[str, Any]) -> pystac.Item:
    """Read an item; hrefs that are relative to it become whole."""
    try:
        item = pystac.Item.from_dict(feature, preserve_dict=False)
        span(item)
    except MALFORMED as error:
        raise ValueError(f"{feature.get('id')!r} is no whole STAC item: {error!r}") from error
    own = item.get_self_href()
    for asset in item.assets.values():
        if own and not is_remote(asset.href) and not asset.href.startswith("/"):
            asset.href = urljoin(own, asset.href)
    return item
