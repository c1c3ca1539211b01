"""Seconds per megapixel of a network: ``python -m benchmarks.speed --previous 4 --threads 2``."""

import argparse
import statistics
import time
from typing import get_args

import numpy as np
import torch

from sarcast.mapping import Model, Precision, load_model
from sarcast.mapping.temporal import Temporal, TemporalOptions
from sarcast.windows import Window


def main() -> None:
    """Time a model folder, or the default network as it is made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model folder; the default network if not given")
    parser.add_argument("--previous", type=int, default=4)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.model:
        model = load_model(options.model, device="cpu", precision=options.precision)
    else:
        network = Temporal(TemporalOptions()).to(memory_format=torch.channels_last)
        model = Model(network.eval(), "temporal", precision=options.precision)
    window = _window(options.previous, model.size or options.size)
    model.expect([window])
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        model.expect([window])
        seconds.append(time.perf_counter() - start)
    megapixels = window.target[0].size / 1e6
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    print(
        f"{model.name}: {weights / 1e6:.2f} M weights, {options.previous} previous images of "
        f"{window.target.shape[1]} pixels, {options.threads} threads, {options.precision}: "
        f"{statistics.median(seconds) / megapixels:.2f} s per megapixel "
        f"(best {min(seconds) / megapixels:.2f})"
    )


def _window(previous: int, size: int) -> Window:
    rng = np.random.default_rng(0)
    return Window(
        previous=rng.normal(-12, 3, (previous, 2, size, size)).astype(np.float32),
        target=rng.normal(-12, 3, (2, size, size)).astype(np.float32),
        conditions=rng.uniform(0, 1, (previous + 1, 9)).astype(np.float32),
        times=np.datetime64("2021-01-01", "ns") + np.arange(previous + 1) * np.timedelta64(12, "D"),
        elevation=rng.uniform(0, 100, (size, size)).astype(np.float32),
    )


if __name__ == "__main__":
    main()
