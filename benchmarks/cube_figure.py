"""Figure of a cube and its weather: images of a dry and a wet day, and time series.

python -m benchmarks.cube_figure area.zarr docs/img/cube.png
"""

import sys

import matplotlib
import numpy as np
import xarray as xr

from sarcast.cube import open_cube

DRY_MM = 1.0
"""Most rain of the day and the three before on a dry day, mm."""


def main() -> None:
    """Draw the figure and save it."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cube = open_cube(sys.argv[1])
    figure = plt.figure(figsize=(10.5, 6.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.0, 1.25))
    panels = images(cube)
    axes = top.subplots(1, len(panels))
    for axis, (title, values, colours, limits) in zip(axes, panels, strict=True):
        mappable = axis.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1])
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
        top.colorbar(mappable, ax=axis, orientation="horizontal", shrink=0.8)
    draw_series(bottom, cube)
    figure.savefig(sys.argv[2], dpi=90)


def images(cube: xr.Dataset) -> list[tuple[str, np.ndarray, str, tuple[float, float]]]:
    """VV of a dry and of a wet day of the same season, VH of the wet one, and the terrain."""
    rain = four_days(cube)
    wet = int(np.argmax(rain))
    days_apart = np.abs(cube["time"].values - cube["time"].values[wet]) / np.timedelta64(1, "D")
    dry = int(np.argmin(np.where(rain < DRY_MM, days_apart, np.inf)))
    radar = [
        (f"{band}, {day(cube, index)}, {rain[index]:.0f} mm in four days", index, band, limits)
        for index, band, limits in (
            (dry, "VV", (-14.0, 0.0)),
            (wet, "VV", (-14.0, 0.0)),
            (wet, "VH", (-23.0, -9.0)),
        )
    ]
    pictures = [
        (title, cube["backscatter"][index].sel(band=band).values, "gray", limits)
        for title, index, band, limits in radar
    ]
    heights = cube["elevation"].values
    span = (float(np.nanmin(heights)), float(np.nanmax(heights)))
    return [*pictures, ("elevation, m", heights, "terrain", span)]


def four_days(cube: xr.Dataset) -> np.ndarray:
    """Precipitation of the day and the three before, mm, at the centre of the area."""
    return np.nan_to_num(cube["precipitation"].mean(("cy", "cx")).sum("lag").values)


def day(cube: xr.Dataset, index: int) -> str:
    """Date of a time index."""
    return str(cube["time"].values[index].astype("datetime64[D]"))


def draw_series(figure: "matplotlib.figure.SubFigure", cube: xr.Dataset) -> None:
    """Mean backscatter of each date above its weather."""
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.4, 1.0))
    level = cube["backscatter"].mean(("y", "x"))
    for band, colour in (("VV", "#0b5394"), ("VH", "#b45f06")):
        above.plot(cube["time"], level.sel(band=band), ".-", lw=0.7, ms=3, c=colour, label=band)
    above.set_ylabel("mean backscatter, dB", fontsize=8)
    above.legend(fontsize=8, ncols=2, loc="upper right")
    below.bar(cube["time"].values, four_days(cube), width=2.0, color="#6fa8dc")
    below.set_ylabel("rain of four days, mm", fontsize=8, color="#3d85c6")
    degrees = below.twinx()
    degrees.plot(cube["time"], cube["temperature"].mean(("cy", "cx")), lw=0.9, c="#cc0000")
    degrees.set_ylabel("daily mean, degC", fontsize=8, color="#cc0000")
    degrees.axhline(0.0, lw=0.4, c="#cc0000")
    for axis in (above, below, degrees):
        axis.tick_params(labelsize=8)


if __name__ == "__main__":
    main()
