"""Verbs on tiny inputs, each with what it reads and writes."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .zygote import run

PRODUCT = Path(
    os.environ.get("SARCAST_TEST_DATA", "../shared/data"), "grd",
    "S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE",
).resolve()  # fmt: skip
_AREA = "13.54,41.7,13.544,41.703"
"""A small part of the product."""
QUICK = (
    *("--network", "unet", "--window", "16", "--previous", "2"),
    *("--unet.filters", "8", "--unet.filters", "16", "--steps", "6", "--validate-every", "2"),
    *("--batch", "2", "--validation-windows", "4"),
)
TRAINED = ("--model", "../in/model", "--previous", "2")
WORLD = ("--size-km", "0.64", "--start", "2020-01-01", "--end", "2020-02-06", "--tracks", "1")
SEASON = ("--size-km", "0.8", "--start", "2021-04-01", "--end", "2021-09-30", "--tracks", "1",
          "--changes-per-km2", "10", "--changes-from", "2021-07-20")  # fmt: skip
"""A world that is monitored from July on, with changes; larger than a block."""
WATCHED = (
    *("--previous", "4", "--acquisitions", "2", "--replays", "3", "--strata", "1"),
    *("--min-area", "0.05", "--false-events", "3000", "--misses", "2", "--start", "2021-07-10"),
    *("--renew-days", "45", "--notify", "notes.jsonl", "--block", "64"),
)
SOURCES = ("--dem", "../in/world/dem.tif", "--weather", "../in/world/weather.nc", "--cover",
           "../in/world/cover.tif")  # fmt: skip


@dataclass(frozen=True)
class Verb:
    """A command line that writes ``out`` in the current folder.

    Attributes
    ----------
    words
        The command line; inputs lie in ``../in``.
    before
        Command line that prepares ``out``.
    resumes
        Whether files of an interrupted run stay, with which the next one resumes.
    slow
        Whether it takes too long to be run to its end.
    """

    words: tuple[str, ...]
    before: tuple[str, ...] = ()
    resumes: bool = False
    slow: bool = False


_TO = ("--to", "out")
_CUBE = ("cube", "../in/world", *_TO, *SOURCES)
_AT = ("--at", "2020-02-05")

VERBS: Mapping[str, Verb] = {
    "cube": Verb(_CUBE, resumes=True),
    "extension": Verb(_CUBE, before=(*_CUBE, "--end", "2020-01-20"), resumes=True),
    "train": Verb(("train", "../in/cube", *_TO, *QUICK), resumes=True),
    "detect": Verb(("detect", "../in/cube", *TRAINED, *_AT, *_TO, "--replays", "2")),
    "evaluate": Verb(
        ("evaluate", "../in/cube", *TRAINED, *_TO, "--start", "2020-02-05", "--panels", "0")
    ),
    "index": Verb(("index", "../in/scenes", *_TO)),
    "import": Verb(("tfrecord", "import", "../in/samples", *_TO)),
    "rtc": Verb(("rtc", "../in/products", *_TO, "--dem", "../in/dem.tif", "--area", _AREA)),
    "monitor": Verb(
        ("monitor", "../in/season-cube", "--model", "mean", *_TO, *WATCHED), resumes=True
    ),
    "export": Verb(("tfrecord", "export", "../in/cube", *_TO, "--window", "32", "--previous", "2")),
    "predict": Verb(("predict", "../in/cube", *TRAINED, *_AT, *_TO)),
    "world": Verb(("world", "out", *WORLD)),
    "ablate": Verb(
        ("ablate", "../in/cube", *_TO, *QUICK, "--conditions", "heading"), resumes=True, slow=True
    ),
    "bench": Verb(("bench", *_TO, "--windows", "8"), slow=True),
    "demo": Verb(("demo", *_TO), slow=True),
}
MOST = ("cube", "extension", "train", "detect", "evaluate", "index", "import", "rtc")
"""Those of the note."""


def prepare(folder: Path) -> None:
    """Make the inputs of all verbs below a folder, in ``in``."""
    inputs, current = folder / "in", folder / "current"
    for made in (inputs, current):
        made.mkdir(parents=True)
    for words in (
        ("world", "../in/world", *WORLD),
        ("cube", "../in/world", "--to", "../in/cube", *SOURCES),
        ("world", "../in/season", *SEASON),
        ("cube", "../in/season", "--to", "../in/season-cube"),
        ("train", "../in/cube", "--to", "../in/model", "--end", "2020-01-24", *QUICK),
        ("tfrecord", "export", "../in/cube", "--to", "../in/samples", "--window", "32",
         "--previous", "2", "--samples", "9"),
    ):  # fmt: skip
        ended = run(("--quiet", *words), current, folder / "log")
        if ended.status:
            raise AssertionError(f"{' '.join(words)}: {ended.output}")
    _prepare_scenes(inputs)
    _prepare_product(inputs)


def _prepare_scenes(inputs: Path) -> None:
    """Copy the rasters of the world under the names of a producer, without their items."""
    (inputs / "scenes").mkdir()
    for path in (inputs / "world" / "scenes").glob("S1*_V?.tif"):
        platform, time, _, band = path.stem.split("_")
        name = f"OPERA_L2_RTC-S1_T058-123456-IW2_{time}Z_20250101T000000Z_{platform}_30_v1.0_{band}"
        shutil.copy(path, inputs / "scenes" / f"{name}.tif")


def _prepare_product(inputs: Path) -> None:
    """Link a GRD product, whose measurement is blank, and make a DEM of its height."""
    if not has_product():
        return
    import numpy as np
    import rasterio
    from affine import Affine

    (inputs / "products").mkdir()
    (inputs / "products" / PRODUCT.name).symlink_to(PRODUCT)
    with rasterio.open(
        inputs / "dem.tif", "w", driver="GTiff", height=40, width=40, count=1, dtype="float32",
        crs="EPSG:4326", transform=Affine(0.01, 0.0, 13.33, 0.0, -0.01, 41.89),
    ) as dem:  # fmt: skip
        dem.write(np.full((40, 40), 565.0, dtype=np.float32), 1)


def has_product() -> bool:
    return PRODUCT.is_dir()
