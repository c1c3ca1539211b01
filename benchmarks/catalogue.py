"""Search in a large catalogue: a folder, a pgstac database, and a STAC API on that database.

``python -m benchmarks.catalogue --items 100000`` times the folder. With ``--services`` it also
starts PostgreSQL and stac-fastapi-pgstac, and checks that all three return the same items.
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
    parser.add_argument("--services", action="store_true", help="also time a database and its API")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sources: dict[str, str] = {"folder": str(folder)}
        if options.services:
            sources |= _services(stack)
        for name, source in sources.items():
            if name != "API":  # the API serves the database
                start = time.perf_counter()
                total = open_writable(source).add(synthetic_items(options.items))
                print(f"{name}: {total} items added in {time.perf_counter() - start:.1f} s")
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        print(f"folder: {size:.1f} MB on disk")
        for query in QUERIES:
            _search(query, sources, options.repeats)


def _search(query: str, sources: dict[str, str], repeats: int) -> None:
    """Time one search in all catalogues, newly opened each time, and compare the results."""
    area, when = QUERIES[query]
    results = []
    for name, source in sources.items():
        seconds, items = _timed(lambda source=source: open_catalogue(source), area, when, repeats)
        results.append([(item.id, item.datetime, sorted(item.assets)) for item in items])
        print(
            f"{query:20s} {name:8s} {len(items):6d} items, "
            f"median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s"
        )
    if any(result != results[0] for result in results):
        raise SystemExit(f"{query}: the catalogues do not agree")


def _timed(
    open_again: Callable[[], Catalogue], area: Geometry | None, when: TimeRange | None, repeats: int
) -> tuple[list[float], list[pystac.Item]]:
    seconds, items = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        items = open_again().search(area, when)
        seconds.append(time.perf_counter() - start)
    return seconds, items


def synthetic_items(count: int) -> Iterator[pystac.Item]:
    """Scenes of Europe and North Africa in frames that repeat every 12 days.

    A frame has 200 dates, and three frames cover ``AREA``.
    """
    rng = np.random.default_rng(0)
    corners = [(22.0, 60.0), (23.5, 60.5), (24.0, 60.2)]
    corners += rng.uniform((-10.0, 30.0), (40.0, 58.0), (max(count // 200 - 3, 0), 2)).tolist()
    frames = []
    for west, south in corners:
        frames.append(rotate(shapely.box(west, south, west + 3.0, south + 1.7), rng.uniform(8, 14)))
    for number in range(count):
        frame, cycle = number % len(frames), number // len(frames)
        shape = shapely.transform(frames[frame], lambda xy: xy + rng.normal(0.0, 0.01, 2))
        when = START + 12 * DAY * (cycle + frame / len(frames))
        yield _item(number, frame, shape, when)


def _item(number: int, frame: int, shape: shapely.Polygon, when: dt.datetime) -> pystac.Item:
    orbit = 1 + frame % 175
    platform = ("sentinel-1a", "sentinel-1b")[number % 2]
    item = pystac.Item(
        id=f"S1_IW_{when:%Y%m%dT%H%M%S}_{orbit:03d}_{frame:06d}",
        geometry=shapely.geometry.mapping(shape),
        bbox=list(shape.bounds),
        datetime=when,
        properties={
            "platform": platform,
            "constellation": "sentinel-1",
            "sar:instrument_mode": "IW",
            "sar:polarizations": ["VV", "VH"],
            "sar:product_type": "RTC",
            "sat:orbit_state": ("ascending", "descending")[frame % 2],
            "sat:relative_orbit": orbit,
            "proj:code": "EPSG:32635",
            "proj:shape": [22_000, 28_000],
            "proj:transform": [10.0, 0.0, 500_000.0 + frame, 0.0, -10.0, 6_900_000.0],
        },
        collection="sentinel-1",
    )
    for band in ("VV", "VH"):
        fields = {"bands": [{"name": band, "unit": "linear power"}], "sarcast:quantity": "gamma0"}
        href = f"https://example.org/sentinel-1/{when:%Y/%m/%d}/{item.id}/{band}.tif"
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
