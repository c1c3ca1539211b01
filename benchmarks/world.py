"""Speed of drawing windows of synthetic worlds, and of writing a world.

    python -m benchmarks.world [--device cpu|cuda] [--preset NAME] [--size PIXELS] [--batch N]

On a CPU two threads each draw batches, with one torch thread each.

Prints windows per second, with five dates each, and the peak memory.
"""

import argparse
import datetime as dt
import itertools
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from benchmarks.memory import peak_gb
from sarcast.world.options import StreamOptions, WorldOptions
from sarcast.world.stream import WindowStream


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", nargs="*", default=["boreal", "random"])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--write", action="store_true", help="also write a world of 5 x 5 km")
    arguments = parser.parse_args()
    batch = arguments.batch or (64 if arguments.device == "cuda" else 4)
    for preset in arguments.preset:
        options = StreamOptions(preset=preset, size=arguments.size, previous=4, batch=batch)
        rate = stream_rate(options, arguments.device, arguments.seconds)
        print(
            f"{preset}: {rate:.1f} windows/s of {options.size} x {options.size} with 5 dates, "
            f"batch {batch}, {device_name(arguments.device)}, {memory_gb(arguments.device):.2f} GB"
        )
    if arguments.write:
        print(f"5 x 5 km, April to September 2020: {write_seconds():.1f} s")


def stream_rate(options: StreamOptions, device: str, seconds: float) -> float:
    """Return windows per second, after two batches for warm-up."""
    stream = WindowStream(options, seed=1, device=device)
    workers = 1 if device == "cuda" else 2
    torch.set_num_threads(1)

    def draw_until(end: float, numbers: Iterator[int]) -> int:
        count = 0
        while time.perf_counter() < end:
            stream.draw(next(numbers))
            finish(device)
            count += 1
        return count

    for number in range(2):
        stream.draw(number)
    finish(device)
    start, numbers = time.perf_counter(), itertools.count(2)
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(draw_until, start + seconds, numbers) for _ in range(workers)]
        batches = sum(job.result() for job in jobs)
    return batches * options.batch / (time.perf_counter() - start)


def write_seconds() -> float:
    """Return the seconds to write a world like that of the demo."""
    from sarcast.io.progress import show_progress
    from sarcast.world.writer import write_world

    show_progress(False)
    options = WorldOptions(start=dt.date(2020, 4, 1), end=dt.date(2020, 9, 30))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_world(Path(folder), options, seed=1)
        return time.perf_counter() - start


def finish(device: str) -> None:
    """Wait until the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()


def device_name(device: str) -> str:
    """Return the name of the device."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return "2 CPU threads"


def memory_gb(device: str) -> float:
    """Return the peak memory so far, GB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return peak_gb()


if __name__ == "__main__":
    main()
