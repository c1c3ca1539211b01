"""Seconds per megapixel of a network, beside a published transformer.

    python -m benchmarks.speed --model base [--precision bfloat16]
        [--rival transformer_optimized --distmetrics SITE]

SITE is as in ``benchmarks.rivals``. The rival despeckles its images, ten or twenty as in its
training, and predicts patches that overlap by three quarters, as DIST-S1 does.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from benchmarks.transformers import MODELS, Transformer
from sarcast.prediction import DEFAULT_PRECISION, Model, Precision, load_model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import Window


def main() -> None:
    """Time a model folder, or the default network with random weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model folder; the default network if not given")
    parser.add_argument("--previous", type=int, default=4)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=get_args(Precision), default=DEFAULT_PRECISION)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rival", choices=MODELS)
    parser.add_argument("--distmetrics", type=Path, metavar="SITE")
    options = parser.parse_args()
    if (options.rival is None) != (options.distmetrics is None):
        parser.error("--rival and --distmetrics go together")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.model:
        model = load_model(options.model, device="cpu", precision=options.precision)
    else:
        network = Temporal(TemporalOptions()).channels_last().eval()
        model = Model(network, "temporal", precision=options.precision)
    window = _window(options.previous, model.size or options.size)
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    label = f"{model.name} ({weights / 1e6:.2f} M weights, {options.precision})"
    ours = _median_seconds(label, lambda: model.expect([window]), window, options)
    if options.rival:
        rival = Transformer(options.rival, options.distmetrics, stride=4)
        source = _window(rival.context, options.size)

        def predict_and_score() -> object:
            return rival.predict(source).scores(source.target)

        theirs = _median_seconds(rival.name, predict_and_score, source, options)
        print(f"{theirs / ours:.1f} times the time of {model.name}")


def _median_seconds(
    name: str, work: Callable[[], object], window: Window, options: argparse.Namespace
) -> float:
    """Measure, print and return the median of the seconds per megapixel."""
    work()
    megapixels = window.target[0].size / 1e6
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        work()
        seconds.append((time.perf_counter() - start) / megapixels)
    median = statistics.median(seconds)
    print(
        f"{name}: {len(window.previous)} previous images of {window.target.shape[1]} pixels, "
        f"{options.threads} threads: {median:.2f} s per megapixel (best {min(seconds):.2f})",
        flush=True,
    )
    return median


def _window(previous: int, size: int) -> Window:
    rng = np.random.default_rng(0)
    return Window(
        previous=rng.normal(-12, 3, (previous, 2, size, size)).astype(np.float32),
        target=rng.normal(-12, 3, (2, size, size)).astype(np.float32),
        conditions=np.full((previous + 1, len(COLUMNS)), np.nan, dtype=np.float32),
        times=np.datetime64("2021-01-01", "ns") + np.arange(previous + 1) * np.timedelta64(12, "D"),
        elevation=rng.uniform(0, 100, (size, size)).astype(np.float32),
    )


if __name__ == "__main__":
    main()
