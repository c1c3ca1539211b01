"""Mutated TFRecord input: records without their checksums, and whole files."""

import gzip
from pathlib import Path

import numpy as np

from sarcast.sensor.conditions import COLUMNS
from sarcast.tfrecord import Sample, decode, encode, read_samples, write_records
from sarcast.windows import Window

from .harness import Call, Kind
from .mutate import Rng, mutate_bytes

NASTY = [b"\x08\x63", b"\x12\x0b\x12\x09\x08\xff\xff\xff\xff\xff\xff\x7f"]
"""Byte strings that are likely to break shapes and types."""


class TfRecord(Kind):
    """Half of the inputs are records; a quarter are files, and a quarter compressed ones."""

    name = "tfrecord"

    def prepare(self) -> None:
        records = [encode(sample) for sample in (plain(), simulated())]
        for number, record in enumerate(records):
            (self.seeds / f"{number}.record").write_bytes(record)
        write_records(self.seeds / "x.gz", records, level=1)
        (self.seeds / "x").write_bytes(gzip.decompress((self.seeds / "x.gz").read_bytes()))

    def case(self, folder: Path, rng: Rng) -> Call:
        name = ("0.record", "1.record", "x", "x.gz")[rng.integers(4)]
        data = bytearray(mutate_bytes((self.seeds / name).read_bytes(), rng))
        if rng.integers(4) == 0:
            at = int(rng.integers(len(data) + 1))
            data[at:at] = NASTY[rng.integers(len(NASTY))]
        if name.endswith(".record"):
            return lambda: decode(bytes(data))
        (folder / "x.tfrecord").write_bytes(data)
        return lambda: list(read_samples([Path("x.tfrecord")]))


def plain(size: int = 4) -> Sample:
    rng = np.random.default_rng(1)
    images = rng.normal(-12, 3, (5, 2, size, size)).astype(np.float32)
    conditions = np.ones((5, len(COLUMNS)), dtype=np.float32)
    times = np.arange(5).astype("datetime64[D]").astype("datetime64[ns]")
    elevation = np.ones((size, size), dtype=np.float32)
    forest = np.ones((size, size), dtype=bool)
    window = Window(images[:4], images[4], conditions, times, elevation, forest=forest)
    return Sample(window, location="POINT (28 62)", take_ids=tuple("abcde"))


def simulated(size: int = 4) -> Sample:
    before = plain(size)
    shapes = np.eye(size, dtype=np.int32)
    return Sample(
        before.window,
        before.location,
        before.take_ids,
        shapes=shapes,
        simulated=before.window.target - 2.5 * shapes.astype(np.float32),
        prediction=before.window.previous[0],
        superpixel_sets='{"1": [[0, 0]]}',
    )
