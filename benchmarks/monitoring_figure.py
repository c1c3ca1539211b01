"""Draw the strip of status maps of docs/monitoring.md, and list the history of an event.

python -m benchmarks.monitoring_figure ALERTS CUBE docs/img/monitoring.png --months 2023-04 2023-10
    [--changes W/truth/changes.gpkg] [--event 3]

ALERTS is a monitoring folder that keeps the state of the end of each month, CUBE its cube.
"""

import argparse
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import geopandas as gpd
import matplotlib
import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image

from sarcast.cube import open_cube
from sarcast.detection.runs import HISTORY
from sarcast.monitoring.output import STATUS
from sarcast.monitoring.state import State, StateFolder

DARKEST_DB, BRIGHTEST_DB = -18.0, -4.0
OUTLINE = "#22d3ee"
GREYS = 40
"""Levels of grey of the file, which keep it small."""
COLUMNS = {
    "date": "acquisition",
    "state": "state",
    "alert_ha": "alert, ha",
    "confirmed_ha": "confirmed, ha",
    "finished_ha": "finished, ha",
    "evidence": "evidence",
    "mean_vv_db": "VV, dB",
    "mean_vh_db": "VH, dB",
}


def main(words: Sequence[str] | None = None) -> None:
    """Draw the figure and print the table; ``words`` default to the command line's."""
    chosen = _arguments(words)
    cube = open_cube(chosen.cube)
    states = states_of_months(chosen.alerts, *chosen.months)
    changes = None if chosen.changes is None else gpd.read_file(chosen.changes)
    draw(states, cube, changes, chosen.figure)
    if chosen.event is not None:
        print(history_table(chosen.alerts, chosen.event))


def states_of_months(alerts: Path, first: str, last: str) -> list[State]:
    """Last kept state of each month from the first to the last one, both included."""
    folder = StateFolder(alerts)
    by_month: dict[np.datetime64, int] = {}
    for number in folder.numbers():
        by_month[folder.record(number).time.astype("datetime64[M]")] = number
    wanted = [number for month, number in by_month.items() if within(month, first, last)]
    bands = tuple(folder.record(wanted[0]).made_from["bands"].split())
    return [folder.read(number, bands) for number in wanted]


def within(month: np.datetime64, first: str, last: str) -> bool:
    """Whether a month lies between two others, both included."""
    return bool(np.datetime64(first, "M") <= month <= np.datetime64(last, "M"))


def status_image(state: State) -> np.ndarray:
    """Colours of the status of each pixel, dims (y, x, RGBA), 0..1; clear without alert."""
    colours = np.zeros((256, 4))
    for stop in STATUS:
        colours[int(stop.value)] = np.array(stop.rgba) / 255.0
    return colours[np.asarray(state.pixels.arrays["status"][...])]


def draw(
    states: Sequence[State], cube: xr.Dataset, changes: gpd.GeoDataFrame | None, path: Path
) -> None:
    """Draw the status after some acquisitions over the image of each; outlines of true changes."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    rows = -(-len(states) // 4)
    columns = min(4, len(states))
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.6 * columns, 2.9 * rows), layout="constrained", squeeze=False
    )
    box = cube.odc.geobox.boundingbox
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, state in zip(axes.flat, states, strict=False):
        time = state.record.time
        image = cube["backscatter"].sel(time=time, method="nearest").isel(band=0)
        axis.imshow(
            image, cmap="gray", vmin=DARKEST_DB, vmax=BRIGHTEST_DB,
            extent=(box.left, box.right, box.bottom, box.top),
        )  # fmt: skip
        axis.imshow(status_image(state), extent=(box.left, box.right, box.bottom, box.top))
        if changes is not None:
            happened(changes, time).boundary.plot(ax=axis, color=OUTLINE, linewidth=0.7)
        axis.set_title(str(time.astype("datetime64[D]")), fontsize=9)
    shown = {status for state in states for status in np.unique(state.pixels.arrays["status"][...])}
    legend = [Patch(color=s.colour, label=s.label) for s in STATUS if s.value in shown and s.alpha]
    figure.legend(handles=legend, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    with BytesIO() as drawn:
        figure.savefig(drawn, dpi=90)
        with Image.open(drawn) as picture:
            small = picture.convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE)
            small.save(path, optimize=True)
    plt.close(figure)


def _palette() -> Image.Image:
    """Palette of greys, of the status classes and of the outlines."""
    greys = np.linspace(0, 255, GREYS).astype(int).repeat(3).tolist()
    classes = [channel for stop in STATUS for channel in stop.rgba[:3]]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*greys, *classes, *bytes.fromhex(OUTLINE.removeprefix("#"))])
    return palette


def happened(changes: gpd.GeoDataFrame, time: np.datetime64) -> gpd.GeoDataFrame:
    """Changes that have begun by a time."""
    return changes[pd.to_datetime(changes["date"]) <= pd.Timestamp(time)]


def history_table(alerts: Path, event: int) -> str:
    """History of an event as a table; of equal rows in a row, the first and the last."""
    table = pd.read_csv(alerts / HISTORY)
    rows = table[table["id"] == event][list(COLUMNS)]
    rows = rows.assign(date=rows["date"].str[:10])
    values = rows.drop(columns="date")
    same = (values == values.shift(1)).all(axis=1) & (values == values.shift(-1)).all(axis=1)
    lines = [
        "| " + " | ".join(COLUMNS.values()) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(map(str, row)) + " |" for row in rows[~same].itertuples(index=False)),
    ]
    return "\n".join(lines)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("alerts", type=Path)
    parser.add_argument("cube", type=Path)
    parser.add_argument("figure", type=Path)
    parser.add_argument("--months", nargs=2, required=True, metavar=("FIRST", "LAST"))
    parser.add_argument("--changes", type=Path)
    parser.add_argument("--event", type=int)
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
