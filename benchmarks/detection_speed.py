"""Time of ``detect`` on a cube in memory, against the network alone on the same targets.

    python -m benchmarks.detection_speed CUBE --model base --acquisitions 3 --previous 8

The null distributions are given, as to every run after the first. The network alone predicts each
watched acquisition by itself, as ``sarcast.predict`` does.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sarcast.cube import open_cube
from sarcast.detection.detect import DetectOptions, detect
from sarcast.prediction import load_model
from sarcast.prediction.predict import predict
from sarcast.windows import PreviousOptions


def main() -> None:
    """Print the seconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cube", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--acquisitions", type=int, default=3)
    parser.add_argument("--previous", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    cube = open_cube(chosen.cube)
    cube = cube.assign(backscatter=cube["backscatter"].load())
    model = load_model(chosen.model)
    options = DetectOptions(acquisitions=chosen.acquisitions, previous=chosen.previous)
    null = detect(cube, model, options=options).null
    previous = PreviousOptions(previous=chosen.previous, chooser=options.chooser)
    targets = np.sort(cube["time"].values)[-chosen.acquisitions :]

    def network() -> None:
        for target in targets:
            predict(cube, model, target, baseline=previous, before=targets[0])

    alone = _fastest(network, chosen.repeats)
    whole = _fastest(lambda: detect(cube, model, options=options, null=null), chosen.repeats)
    pixels = cube.sizes["y"] * cube.sizes["x"] / 1e6
    print(
        f"{pixels:.2f} megapixels, {chosen.acquisitions} acquisitions, {chosen.previous} previous "
        f"images: network alone {alone:.2f} s, detect {whole:.2f} s, ratio {whole / alone:.2f}"
    )


def _fastest(run: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
