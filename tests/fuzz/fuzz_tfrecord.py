"""Feed mutated TFRecord input to the reader, which must give a one-line error or a sample.

    python -m tests.fuzz.fuzz_tfrecord [--inputs 1000000] [--seed 0] [--memory-mb 1024]

Half of the inputs are mutated records without their checksums; a quarter are uncompressed files
and a quarter compressed ones, mutated with their framing. The address space is limited, so an
allocation larger than the input justifies fails with an error that is not caught.
"""

import argparse
import gzip
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sarcast.errors import SarcastError
from sarcast.sensor.conditions import COLUMNS
from sarcast.tfrecord import Sample, decode, encode, read_samples, write_records
from sarcast.windows import Window

NASTY = [
    bytes([0xFF]) * 9 + b"\x01",
    bytes([0x80]) * 12,
    struct.pack("<Q", 1 << 63),
    struct.pack("<Q", (1 << 63) - 1),
    struct.pack("<I", 0xFFFFFFFF),
    b"\x00" * 16,
    b"\x08\x63",
    b"\x12\x0b\x12\x09\x08\xff\xff\xff\xff\xff\xff\x7f",
]
"""Byte strings that are likely to break length fields, shapes and types."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-mb", type=int, default=1024)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (arguments.memory_mb << 20, hard))
    start = time.monotonic()
    outcomes = fuzz(arguments.inputs, np.random.default_rng(arguments.seed))
    seconds = time.monotonic() - start
    sys.stdout.write(f"{arguments.inputs} inputs in {seconds:.0f} s, no crash\n")
    for result, count in outcomes.most_common():
        sys.stdout.write(f"{count:9d}  {result}\n")


def fuzz(inputs: int, rng: np.random.Generator) -> Counter[str]:
    """Count the outcomes of mutated inputs; any error other than the project's own ends the run."""
    records = [encode(sample) for sample in (plain(), simulated())]
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tfrecord"
        write_records(path, records, level=1)
        compressed = path.read_bytes()
        framed = gzip.decompress(compressed)
        for number in range(inputs):
            if number % 4 < 2:
                data = mutate(records[number % 2], rng)
                outcomes["record: " + outcome(lambda data=data: decode(data))] += 1
            else:
                path.write_bytes(mutate((framed, compressed)[number % 2], rng))
                outcomes["file: " + outcome(lambda: list(read_samples([path])))] += 1
    return outcomes


def outcome(read: Callable[[], object]) -> str:
    try:
        read()
    except SarcastError as error:
        assert "\n" not in str(error)
        return str(error).split("byte ")[-1].lstrip("0123456789: ")[:20]
    return "read"


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Make a few mutations: flip bits, overwrite, insert, delete, repeat or truncate."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        offset = int(rng.integers(len(changed) + 1))
        kind = rng.integers(6)
        if kind == 0 and offset < len(changed):
            changed[offset] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            nasty = NASTY[rng.integers(len(NASTY))]
            changed[offset : offset + len(nasty)] = nasty
        elif kind == 2:
            changed[offset:offset] = NASTY[rng.integers(len(NASTY))]
        elif kind == 3:
            del changed[offset : offset + int(rng.integers(1, 64))]
        elif kind == 4:
            changed[offset:offset] = changed[offset : offset + int(rng.integers(1, 64))]
        elif rng.integers(4) == 0:
            del changed[offset:]
    return bytes(changed)


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


if __name__ == "__main__":
    main()
