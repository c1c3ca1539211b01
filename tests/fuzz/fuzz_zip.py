"""Mutated zips: of a SAFE folder for ``sarcast rtc``, and of weather."""

import re
import struct
import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np

from sarcast.ingest.grd import find_products, open_product, unzipped
from sarcast.ingest.weather import read_weather
from sarcast.io.cogs import write_cog

from . import fuzz_safe
from .fuzz_netcdf import AT, DATES, dataset
from .harness import Call, Kind
from .mutate import Rng, mutate_bytes
from .seeds import GRID

_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class Zip(Kind):
    """A zip whose entries are hostile, or whose bytes are damaged."""

    name = "zip"

    @classmethod
    def missing(cls) -> str:
        return fuzz_safe.Safe.missing()

    def prepare(self) -> None:
        fuzz_safe.write_small_product(self.seeds / "safe")
        (self.seeds / "weather").mkdir()
        dataset()[["temperature"]].to_netcdf(self.seeds / "weather" / "a.nc", engine="scipy")
        rest = dataset()[["precipitation", "snow_depth"]]
        rest.to_netcdf(self.seeds / "weather" / "b.nc", engine="scipy")
        write_cog(self.seeds / "dem.tif", np.zeros(GRID.shape, np.float32), GRID)

    def case(self, folder: Path, rng: Rng) -> Call:
        what = ("weather", "safe")[rng.integers(2)]
        name = f"{fuzz_safe.NAME}.zip" if what == "safe" else "weather.zip"
        source = self.seeds / what
        files = sorted(path for path in source.rglob("*") if path.is_file())
        entries = {str(path.relative_to(source)): path.read_bytes() for path in files}
        data = _zip(entries, rng)
        if rng.integers(3) == 0:
            data = mutate_bytes(data, rng)
        (folder / name).write_bytes(data)
        if what == "weather":
            return lambda: read_weather(name, AT, DATES)
        if rng.integers(10) == 0:
            dem = str(self.seeds / "dem.tif")
            return ["rtc", name, "--to", "out", "--dem", dem, "--area", fuzz_safe.ELSEWHERE]
        return lambda: _unzip(Path(name))


def _unzip(path: Path) -> None:
    for product in find_products([path]):
        with unzipped(product, Path("work")) as folder:
            open_product(folder)


def _zip(entries: dict[str, bytes], rng: Rng) -> bytes:
    """A zip of files, a few of whose entries are of a hostile kind."""
    packed = BytesIO()
    method = _METHODS[rng.integers(len(_METHODS))]
    with zipfile.ZipFile(packed, "w", method) as file:
        for name, data in entries.items():
            file.writestr(name, data)
        for _ in range(int(rng.integers(0, 3))):
            _add_hostile(file, list(entries), rng)
    return _with_lies(packed.getvalue(), rng) if rng.integers(2) else packed.getvalue()


def _add_hostile(file: zipfile.ZipFile, names: list[str], rng: Rng) -> None:
    first = names[rng.integers(len(names))]
    hostile = [
        "../escaped", "../../escaped", "/tmp/escaped", "C:\\escaped", "..\\escaped", "a/../../b",
        first, f"{first}/below", first.rpartition("/")[0] or "x", "x" * 300, "a\x00b", "", ".",
        "nul", "a/" * 200 + "b", "ä\udcff".encode("utf-8", "replace").decode(), f"{first}/",
    ]  # fmt: skip
    info = zipfile.ZipInfo(hostile[rng.integers(len(hostile))] or "x")
    info.compress_type = zipfile.ZIP_DEFLATED
    data = (b"", b"hello", b"\x00" * 1_000_000)[rng.integers(3)]
    if rng.integers(3) == 0:
        info.external_attr = 0o120777 << 16
        data = (b"/etc/passwd", b"..", b"../../escaped", b".")[rng.integers(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr(info, data)


def _with_lies(data: bytes, rng: Rng) -> bytes:
    """Change a field of an entry of the central directory, or of its local header."""
    changed = bytearray(data)
    places = ((_CENTRAL, (8, 10, 16, 20, 24, 28, 30, 38, 42)), (_LOCAL, (4, 6, 8, 14, 18, 22, 26)))
    signature, fields = places[rng.integers(2)]
    starts = [match.start() for match in re.finditer(re.escape(signature), data)]
    at = starts[rng.integers(len(starts))] + fields[rng.integers(len(fields))]
    values = (0, 1, 8, 9, 12, 14, 93, 99, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**31)
    value = int(values[rng.integers(len(values))])
    struct.pack_into("<H" if value <= 0xFFFF else "<I", changed, at, value)
    return bytes(changed)
