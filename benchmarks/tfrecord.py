"""Speed of reading TFRecord samples, compared with gzip alone on the same files.

    python -m benchmarks.tfrecord FILES... [--synthesize N] [--size PIXELS]

With ``--synthesize`` a file of N samples of the published size is written first and read.
"""

import argparse
import gzip
import tempfile
import time
from pathlib import Path

import numpy as np

from sarcast.sensor.conditions import COLUMNS
from sarcast.tfrecord import Sample, read_samples, write_samples
from sarcast.windows import Window


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--synthesize", type=int, default=0, metavar="N")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = list(arguments.files)
        if arguments.synthesize:
            files.append(Path(folder) / "synthetic.tfrecord.GZIP")
            write_samples(
                files[-1],
                (sample(number, arguments.size) for number in range(arguments.synthesize)),
            )
        pairs = [(decompress(files), read(files)) for _ in range(arguments.repeat)]
    size, gzip_seconds = min((pair[0] for pair in pairs), key=lambda result: result[1])
    count, seconds = min((pair[1] for pair in pairs), key=lambda result: result[1])
    print(f"{len(files)} files, {count} samples, {size / 1e6:.1f} MB decompressed")
    print(
        f"gzip alone {size / gzip_seconds / 1e6:.0f} MB/s, samples {size / seconds / 1e6:.0f} MB/s"
    )
    print(f"{gzip_seconds / seconds:.0%} of the speed of gzip alone")


def decompress(files: list[Path]) -> tuple[int, float]:
    """Return the number of bytes, and the seconds that gzip alone takes."""
    start, size = time.perf_counter(), 0
    for file in files:
        with gzip.open(file) as stream:
            while part := stream.read(1 << 20):
                size += len(part)
    return size, time.perf_counter() - start


def read(files: list[Path]) -> tuple[int, float]:
    """Return the number of samples, and the seconds that reading them takes."""
    start = time.perf_counter()
    count = sum(1 for _ in read_samples(files))
    return count, time.perf_counter() - start


def sample(number: int, size: int) -> Sample:
    """Make a sample of noise with the spread of speckle, which compresses like real samples."""
    rng = np.random.default_rng(number)
    images = rng.normal(-12.0, 3.0, (5, 2, size, size)).astype(np.float32)
    window = Window(
        previous=images[:4],
        target=images[4],
        conditions=rng.uniform(0, 1, (5, len(COLUMNS))).round().astype(np.float32),
        times=np.arange(5).astype("datetime64[D]").astype("datetime64[ns]"),
        elevation=rng.uniform(0, 300, (size, size)).astype(np.float32),
        forest=np.ones((size, size), dtype=bool),
    )
    return Sample(window)


if __name__ == "__main__":
    main()
