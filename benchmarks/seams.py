"""Steps of the expected image where tiles begin and end, against those of all other pixels.

python -m benchmarks.seams CUBE [--model base] [--tile 512] [--overlaps 0.25,0] [--dates 4]

The mean step from one pixel to the next, in dB, across the first and the last line of tiles within
the image, over that across all other lines: 1 where tiles leave no trace.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sarcast.cube import open_cube
from sarcast.io.boxes import whole
from sarcast.prediction import DEFAULT_CONTEXT
from sarcast.prediction.predict import predict_targets
from sarcast.prediction.predictors import load_predictor
from sarcast.prediction.tiles import TileOptions, Tiling


def borders(tiling: Tiling, axis: int, pixels: int) -> list[int]:
    """Numbers of the steps across which a tile begins or ends; step k is from pixel k to k + 1."""
    starts = {offset[axis] for offset in tiling.offsets}
    edges = starts | {start + tiling.size for start in starts}
    return sorted(edge - 1 for edge in edges if 0 < edge < pixels)


def step_ratio(
    images: npt.NDArray[np.floating], rows: Sequence[int], columns: Sequence[int]
) -> float:
    """Mean absolute step across some rows and columns over that across all others.

    Parameters
    ----------
    images
        Dims (..., y, x), dB; NaN where unknown.
    rows, columns
        Steps between rows and between columns, as ``borders`` gives them.
    """
    inside, outside = [], []
    for axis, chosen in ((-2, rows), (-1, columns)):
        steps = np.moveaxis(np.abs(np.diff(images, axis=axis)), axis, 0)
        is_border = np.isin(np.arange(len(steps)), chosen)
        inside.append(steps[is_border].ravel())
        outside.append(steps[~is_border].ravel())
    return float(np.nanmean(np.concatenate(inside)) / np.nanmean(np.concatenate(outside)))


def main(words: Sequence[str] | None = None) -> None:
    """Measure; ``words`` default to the command line's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cube", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--tile", type=int, default=TileOptions().tile)
    parser.add_argument("--overlaps", default=f"{TileOptions().overlap:g},0")
    parser.add_argument("--dates", type=int, default=4)
    chosen = parser.parse_args(words)
    cube = open_cube(chosen.cube)
    shape = cube.sizes["y"], cube.sizes["x"]
    predictor = load_predictor(Path(chosen.model), precision="auto", context=DEFAULT_CONTEXT)
    targets = list(range(cube.sizes["time"] - chosen.dates, cube.sizes["time"]))
    print("| overlap | step at borders of tiles over that elsewhere |\n|---|---|")
    for overlap in map(float, chosen.overlaps.split(",")):
        options = TileOptions(tile=chosen.tile, overlap=overlap)
        tiling = Tiling.of([whole(shape)], options, predictor.size)
        found = predict_targets(cube, predictor, targets, tiles=options)
        lines = [borders(tiling, axis, shape[axis]) for axis in (0, 1)]
        print(f"| {overlap:g} | {step_ratio(found['expected'].values, *lines):.3f} |", flush=True)


if __name__ == "__main__":
    main()
