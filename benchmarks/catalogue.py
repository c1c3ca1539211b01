"""Search in a large catalogue: a folder, a pgstac database and the STAC API before it.

``python -m benchmarks.catalogue --items 100000`` times the folder; with ``--services`` it also
starts PostgreSQL and stac-fastapi-pgstac for itself, and sees that all three give the same items.
"""

import argparse
import datetime as dt
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pystac
import shapely
from odc.geo.geom import Geometry, box
from shapely.affinity import rotate

from sarcast.catalogue import Catalogue, TimeRange, open_catalogue, open_writable

START = dt.datetime(2015, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
AREA = box(24.1, 60.9, 24.6, 61.2, "EPSG:4326")
WIDE = box(20.0, 58.0, 30.0, 63.0, "EPSG:4326")
QUERIES: dict[str, tuple[Geometry | None, TimeRange | None]] = {
    "an area, all dates": (AREA, None),
    "an area, one year": (AREA, (START + 730 * DAY, START + 1095 * DAY)),
    "a country, one week": (WIDE, (START + 730 * DAY, START + 737 * DAY)),
    "everywhere, one day": (None, (START + 730 * DAY, START + 731 * DAY)),
    "nowhere": (box(-60.0, -30.0, -59.0, -29.0, "EPSG:4326"), None),
}


def main() -> None:
    """Fill the catalogues with the same items and search them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--services", action="store_true", help="also a database and its API")
    options = parser.parse_args()
    with ExitStack() as open_until_the_end:
        folder = Path(open_until_the_end.enter_context(tempfile.TemporaryDirectory()))
        sources: dict[str, str] = {"folder": str(folder)}
        if options.services:
            sources |= _services(open_until_the_end)
        for name, source in sources.items():
            if name != "API":  # which serves the database
                start = time.perf_counter()
                held = open_writable(source).add(synthesised(options.items))
                print(f"{name}: {held} items added in {time.perf_counter() - start:.1f} s")
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        print(f"folder: {size:.1f} MB on disk")
        for query in QUERIES:
            _search(query, sources, options.repeats)


def _search(query: str, sources: dict[str, str], repeats: int) -> None:
    """Time one search in all catalogues, opened anew each time, and compare what they give."""
    area, when = QUERIES[query]
    given = []
    for name, source in sources.items():
        seconds, items = _timed(lambda at=source: open_catalogue(at), area, when, repeats)
        given.append([(item.id, item.datetime, sorted(item.assets)) for item in items])
        print(
            f"{query:20s} {name:8s} {len(items):6d} items, "
            f"median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s"
        )
    if any(other != given[0] for other in given):
        raise SystemExit(f"{query}: the catalogues do not agree")


def _timed(
    opened: Callable[[], Catalogue], area: Geometry | None, when: TimeRange | None, repeats: int
) -> tuple[list[float], list[pystac.Item]]:
    seconds, items = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        items = opened().search(area, when)
        seconds.append(time.perf_counter() - start)
    return seconds, items


def synthesised(count: int) -> Iterator[pystac.Item]:
    """Scenes of Europe and North Africa as tracks see them: frames that come again in 12 days.

    A frame has 200 dates, and three frames see ``AREA``.
    """
    rng = np.random.default_rng(0)
    corners = [(22.0, 60.0), (23.5, 60.5), (24.0, 60.2)]
    corners += rng.uniform((-10.0, 30.0), (40.0, 58.0), (max(count // 200 - 3, 0), 2)).tolist()
    frames = []
    for west, south in corners:
        frames.append(rotate(shapely.box(west, south, west + 3.0, south + 1.7), rng.uniform(8, 14)))
    for number in range(count):
        place, pass_ = number % len(frames), number // len(frames)
        shape = shapely.transform(frames[place], lambda xy: xy + rng.normal(0.0, 0.01, 2))
        at = START + 12 * DAY * (pass_ + place / len(frames))
        yield _item(number, place, shape, at)


def _item(number: int, place: int, shape: shapely.Polygon, at: dt.datetime) -> pystac.Item:
    orbit = 1 + place % 175
    platform = ("sentinel-1a", "sentinel-1b")[number % 2]
    item = pystac.Item(
        id=f"S1_IW_{at:%Y%m%dT%H%M%S}_{orbit:03d}_{place:06d}",
        geometry=shapely.geometry.mapping(shape),
        bbox=list(shape.bounds),
        datetime=at,
        properties={
            "platform": platform,
            "constellation": "sentinel-1",
            "sar:instrument_mode": "IW",
            "sar:polarizations": ["VV", "VH"],
            "sar:product_type": "RTC",
            "sat:orbit_state": ("ascending", "descending")[place % 2],
            "sat:relative_orbit": orbit,
            "proj:code": "EPSG:32635",
            "proj:shape": [22_000, 28_000],
            "proj:transform": [10.0, 0.0, 500_000.0 + place, 0.0, -10.0, 6_900_000.0],
        },
        collection="sentinel-1",
    )
    for band in ("VV", "VH"):
        fields = {"bands": [{"name": band, "unit": "linear power"}], "sarcast:quantity": "gamma0"}
        href = f"https://example.org/sentinel-1/{at:%Y/%m/%d}/{item.id}/{band}.tif"
        item.add_asset(band.lower(), pystac.Asset(href, roles=["data"], extra_fields=fields))
    return item


def _services(stack: ExitStack) -> dict[str, str]:
    from tests.services import postgresql, stac_api

    server = stack.enter_context(postgresql())
    url = server.url()
    pypgstac = Path(sys.executable).with_name("pypgstac")
    subprocess.run([pypgstac, "migrate", "--dsn", url], check=True, capture_output=True)
    return {"database": url, "API": stack.enter_context(stac_api(server, "postgres"))}


if __name__ == "__main__":
    main()
