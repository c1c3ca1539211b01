"""Catalogue behind a STAC API, read through pystac-client."""

import datetime as dt
import json
import logging
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

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

from sarcast.catalogue.hrefs import Places
from sarcast.catalogue.location import MALFORMED, utc
from sarcast.catalogue.parse import parse_items
from sarcast.catalogue.protocol import TimeRange
from sarcast.catalogue.unusable import LeftOut
from sarcast.errors import SarcastError, UsageError
from sarcast.io.footprint import canonical
from sarcast.io.remote import TRANSIENT_STATUS, RemoteOptions, hide_credentials, retry

_log = logging.getLogger(__name__)


PAGE = 100
"""Items per page: few enough for every API, more than the usual default of ten."""

REPORT_S = 10.0
"""Seconds between progress messages of a long search."""

_REASON_LENGTH = 200


class StacApi:
    """A STAC API that offers item search.

    Searches are complete: a page that fails is requested again, and one that keeps failing ends the
    search with an error.

    Parameters
    ----------
    url
        Its landing page. User, password and query are sent only to its host, and never shown.
    collections
        Collections to search; empty for all, which some APIs refuse.
    options
        Timeouts and retries.
    allow
        Folders and starts of URLs that assets may lie in, and servers that pages and redirects may
        lead to, although they lie inside this machine or network.
    """

    def __init__(
        self,
        url: str,
        collections: Sequence[str],
        options: RemoteOptions,
        allow: Sequence[str] = (),
    ) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            raise UsageError(f"{url} names no host; expected the landing page of a STAC API")
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, host, parts.path, "", ""))
        self.collections = tuple(collections)
        self._options = options
        self._places = Places(self.url, allowed=tuple(allow))
        self._io = _RetryingIO(options)
        self._io.session.mount("http://", _GuardedAdapter(self._places))
        self._io.session.mount("https://", _GuardedAdapter(self._places))
        if parts.username is not None or parts.query:
            self._io.session.mount(
                f"{parts.scheme}://{host}/",
                _CredentialsAdapter(self._places, _login(parts), parts.query),
            )
            hide_credentials("urllib3.connectionpool")

    def search(
        self,
        area: Geometry | None = None,
        time: TimeRange | None = None,
        left_out: LeftOut | None = None,
    ) -> list[pystac.Item]:
        """Items that touch ``area`` and ``time``, oldest first; see ``Catalogue.search``."""
        features: list[Any] = []
        matched, pages, last_report = None, 0, monotonic()
        try:
            search = self._query(area, time)
            for page in self._io.pages(search):
                pages += 1
                features += page["features"]
                matched = matched if matched is not None else _matched(page)
                if monotonic() - last_report >= REPORT_S:
                    last_report = monotonic()
                    _log.info(f"{self.url}: {len(features)} items so far")
        except (APIError, DoesNotConformTo, ClientTypeError, *MALFORMED) as error:
            raise self._error(error, pages, len(features)) from error
        if matched is not None and len(features) < matched:
            _log.warning(f"{self.url} announced {matched} items, but returned {len(features)}")
        return parse_items(features, self._places, _self_href, left_out)

    def _query(self, area: Geometry | None, time: TimeRange | None) -> ItemSearch:
        client = Client.open(self.url, stac_io=self._io, timeout=self._options.timeout)
        offered = {
            link.extra_fields.get("method", "GET") for link in client.links if link.rel == "search"
        }
        return client.search(
            method="POST" if "POST" in offered or not offered else "GET",
            limit=PAGE,
            collections=list(self.collections) or None,
            intersects=None if area is None else canonical(area).json,
            datetime=interval(time),
        )

    def _error(self, error: Exception, pages: int, items: int) -> SarcastError:
        reason = _reason(error, self._options)
        if pages:
            return SarcastError(
                f"{self.url} failed after {pages} pages with {items} items ({reason}); none of "
                f"them is used: try again later, or search for fewer scenes"
            )
        return SarcastError(
            f"{self.url} does not answer as a STAC API ({reason}); check the URL, "
            f"and name its collections with --collection"
        )


def interval(time: TimeRange | None) -> str | None:
    """Time range in the notation of STAC APIs: RFC 3339, open sides as ``..``; None for all."""
    if time is None or time == (None, None):
        return None
    return "/".join(".." if limit is None else _rfc3339(limit) for limit in time)


def _rfc3339(time: dt.datetime) -> str:
    return utc(time).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _login(parts: SplitResult) -> HTTPBasicAuth | None:
    if parts.username is None:
        return None
    user, password = (unquote(text or "").encode() for text in (parts.username, parts.password))
    return HTTPBasicAuth(user, password)


class _GuardedAdapter(HTTPAdapter):
    """Sends no request to addresses inside this machine or network unless the API lies there.

    Pages of an API and redirects could lead there.
    """

    def __init__(self, places: Places) -> None:
        super().__init__()
        self._places = places

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> Any:
        self._places.check(str(request.url), "", "a page of the catalogue")
        return super().send(request, *args, **more)


class _CredentialsAdapter(_GuardedAdapter):
    """Adds credentials to the requests to one host, after every step that could log them."""

    def __init__(self, places: Places, auth: HTTPBasicAuth | None, query: str) -> None:
        super().__init__(places)
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


class _RetryingIO(StacApiIO):
    """Retries after transient faults, and reads all pages of a search."""

    def __init__(self, options: RemoteOptions) -> None:
        super().__init__(max_retries=None)
        self._options = options

    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        read = super().read_json

        def call() -> dict[str, Any]:
            try:
                content = read(source, *args, **kwargs)
            except RecursionError as error:
                raise ValueError("its answer is nested too deeply") from error
            if not isinstance(content, dict):
                raise ValueError(f"its answer is no JSON object but a {type(content).__name__}")
            return content

        return retry(call, self._options, _is_transient)

    def pages(self, search: ItemSearch) -> Iterator[dict[str, Any]]:
        """Pages of a search; the last one has no link to a next one."""
        parameters = search.get_parameters()
        page = self.read_json(search.url, method=search.method, parameters=parameters)
        visited: set[str] = set()
        while True:
            if not isinstance(page.get("features"), list):
                raise ValueError("a page of its search contains no features")
            yield page
            links = (link for link in page.get("links", []) if link.get("rel") == "next")
            next_link = next(links, None)
            if next_link is None:
                return
            key = json.dumps(next_link, sort_keys=True)
            if key in visited:
                raise ValueError("its pages link in a circle")
            visited.add(key)
            page = self.read_json(pystac.Link.from_dict(next_link), parameters=parameters)


_NO_ANSWER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
"""Exceptions of requests for an answer that is missing or incomplete."""


def _is_transient(error: Exception) -> bool:
    """Whether a retry may help: the answer is missing or incomplete, or its status is transient."""
    if not isinstance(error, APIError):
        return isinstance(error, json.JSONDecodeError)
    return _status(error) in TRANSIENT_STATUS or isinstance(error.__context__, _NO_ANSWER)


def _status(error: APIError) -> int | None:
    return getattr(error, "status_code", None)


def _reason(error: Exception, options: RemoteOptions) -> str:
    """Short reason of a failure."""
    cause = error.__context__
    tries = f"tried {options.tries} times"
    if isinstance(error, APIError) and (status := _status(error)):
        detail = " ".join(str(error).split())[:_REASON_LENGTH]
        retries = f", {tries}" if status in TRANSIENT_STATUS else ""
        return f"HTTP {status}{retries}: {detail}"
    if isinstance(cause, requests.Timeout):
        return f"no answer within {options.timeout:g} s, {tries}"
    if isinstance(cause, _NO_ANSWER):
        return f"incomplete answer, {tries}"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON, {tries}"
    return " ".join(str(error).split())[:_REASON_LENGTH] or type(error).__name__


def _matched(page: dict[str, Any]) -> int | None:
    matched = page.get("numberMatched", (page.get("context") or {}).get("matched"))
    return matched if isinstance(matched, int) else None


def _self_href(feature: Any) -> str:
    """URL of an item, which its relative hrefs are relative to; empty if it states none."""
    links = feature.get("links") if isinstance(feature, dict) else None
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "self":
            return str(link.get("href", ""))
    return ""
