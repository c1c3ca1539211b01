"""Seconds per megapixel of a network, beside a published transformer, or for several targets.

    python -m benchmarks.speed --model base [--precision float32]
        [--rival transformer_optimized --distmetrics SITE]
    python -m benchmarks.speed --model base --targets 3 --previous 8
    python -m benchmarks.speed --model base --device cuda --previous 16 --size 1024 --threads 8
        [--compiled]

SITE is as in ``benchmarks.rivals``. The rival despeckles its images, ten or twenty as in its
training, and predicts patches that overlap by three quarters, as DIST-S1 does. Several targets have
one baseline, whose images are encoded once. What is compared is measured in turns. With
``--compiled``, a GPU's network is compiled at once, not after many windows.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from benchmarks.transformers import MODELS, Transformer
from sarcast.prediction import (
    DEFAULT_CONTEXT,
    DEFAULT_PRECISION,
    ContextSource,
    Model,
    Precision,
    load_model,
)
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.precision import number_format
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import Window

DAYS = np.timedelta64(12, "D")
"""Time from one acquisition to the next."""


def main() -> None:
    """Time a model folder, or the default network with random weights."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = _model(options)
    if options.compiled:
        model = replace(model, compile_after=0)
    windows = _windows(options.previous, options.targets, model.size or options.size)
    ours = f"{_describe(model)}: {options.previous} previous images"
    works: dict[str, Callable[[], object]] = {ours: lambda: model.expect(windows[:1])}
    if options.targets > 1:
        works[f"{ours}, {options.targets} targets"] = lambda: model.expect(windows)
    if options.rival:
        rival = Transformer(options.rival, options.distmetrics, stride=4)
        (source,) = _windows(rival.context, 1, options.size)
        works[f"{rival.name}: {rival.context} previous images"] = lambda: rival.predict(
            source
        ).scores(source.target)
    seconds = _seconds_in_turns(works, options.repeats)
    megapixels = windows[0].target[0].size / 1e6
    first = statistics.median(seconds[ours])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"{name} of {windows[0].target.shape[1]} pixels: {median / megapixels:.3f} s per "
            f"megapixel (best {min(values) / megapixels:.3f}), {median / first:.2f} times the first"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model folder; the default network if not given")
    parser.add_argument("--previous", type=int, default=4)
    parser.add_argument("--targets", type=int, default=1)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=get_args(Precision), default=DEFAULT_PRECISION)
    parser.add_argument("--context", choices=get_args(ContextSource), default=DEFAULT_CONTEXT)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rival", choices=MODELS)
    parser.add_argument("--distmetrics", type=Path, metavar="SITE")
    options = parser.parse_args()
    if (options.rival is None) != (options.distmetrics is None):
        parser.error("--rival and --distmetrics go together")
    return options


def _model(options: argparse.Namespace) -> Model:
    chosen = {"precision": options.precision, "context": options.context}
    if options.model:
        return load_model(options.model, device=options.device, **chosen)
    network = Temporal(TemporalOptions()).channels_last().to(options.device).eval()
    chosen["precision"] = number_format(options.precision, options.device)
    return Model(network, "temporal", **chosen)


def _describe(model: Model) -> str:
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    return f"{model.name} ({weights / 1e6:.2f} M weights, {model.precision})"


def _seconds_in_turns(
    works: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """Measure each work several times, in turns, after one turn that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(1 + repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in seconds.items()}


def _windows(previous: int, targets: int, size: int) -> list[Window]:
    """Windows of one baseline, with targets 12 days apart."""
    rng = np.random.default_rng(0)
    images = rng.normal(-12, 3, (previous + targets, 2, size, size)).astype(np.float32)
    times = np.datetime64("2021-01-01", "ns") + np.arange(previous + targets) * DAYS
    first = Window(
        previous=images[:previous],
        target=images[previous],
        conditions=np.full((previous + 1, len(COLUMNS)), np.nan, dtype=np.float32),
        times=times[: previous + 1],
        elevation=rng.uniform(0, 100, (size, size)).astype(np.float32),
    )
    later = zip(images[previous:], times[previous:], strict=True)
    return [
        replace(first, target=target, times=np.append(first.times[:-1], time))
        for target, time in later
    ]


if __name__ == "__main__":
    main()
