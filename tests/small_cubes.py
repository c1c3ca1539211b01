"""Small cubes in memory, for tests of what reads cubes."""

import numpy as np
import odc.geo.xr  # noqa: F401 - registers the accessor
import xarray as xr

ROWS, COLUMNS, DATES = 40, 50, 12


def code(time, band, row, column):
    """The value of a pixel of a coordinate cube: unique to its indices, and exact in float32."""
    return ((time * 2 + band) * ROWS + row) * COLUMNS + column


def coordinate_cube() -> xr.Dataset:
    """A cube in which every pixel and condition has a value unique to its indices."""
    indices = np.meshgrid(*map(np.arange, (DATES, 2, ROWS, COLUMNS)), indexing="ij")
    coarse = np.arange(DATES * 2 * 3, dtype="f4").reshape(DATES, 2, 3)
    return xr.Dataset(
        {
            "backscatter": (("time", "band", "y", "x"), code(*indices).astype("f4")),
            "elevation": (("y", "x"), code(0, 0, *indices[2:])[0, 0].astype("f4")),
            "forest": (("y", "x"), (indices[2] < 20)[0, 0]),
            "incidence": (("time", "cy", "cx"), coarse),
            "precipitation": (
                ("time", "lag", "cy", "cx"),
                np.stack([coarse + 100 * lag for lag in range(4)], axis=1),
            ),
        },
        coords={
            "time": np.datetime64("2021-01-01T17:00", "ns")
            + np.arange(DATES) * np.timedelta64(6, "D"),
            "band": ["VV", "VH"],
            "y": -5.0 - 10.0 * np.arange(ROWS),
            "x": 5.0 + 10.0 * np.arange(COLUMNS),
            "cy": [-100.0, -300.0],
            "cx": [80.0, 250.0, 420.0],
            "platform": ("time", ["sentinel-1a", "sentinel-1b", ""] * 4),
            "heading": ("time", np.linspace(-12, -168, DATES, dtype="f4")),
        },
    )


def loss_mask() -> np.ndarray:
    """Pixels of ``cube_with_loss`` that lose backscatter, dims (y, x)."""
    mask = np.zeros((24, 24), dtype=bool)
    mask[4:10, 5:10] = True
    return mask


def cube_with_loss() -> xr.Dataset:
    """``learnable_cube`` in EPSG:32635 with a loss of 8 dB at the last date."""
    cube = learnable_cube()
    cube["backscatter"][-1] -= 8.0 * loss_mask().astype(np.float32)
    return cube.odc.assign_crs("EPSG:32635")


def learnable_cube(dates: int = DATES, pixels: int = 24) -> xr.Dataset:
    """A cube of a fixed pattern, an offset that depends on temperature, and noise."""
    rng = np.random.default_rng(5)
    temperature = rng.uniform(-10, 20, dates)
    coarse = rng.normal(-12, 2, (1, 2, pixels // 4, pixels // 4))
    pattern = coarse.repeat(4, axis=2).repeat(4, axis=3)
    noise = rng.normal(0, 0.5, (dates, 2, pixels, pixels))
    image = pattern + noise + 0.1 * temperature[:, None, None, None]
    return xr.Dataset(
        {
            "backscatter": (("time", "band", "y", "x"), image.astype("f4")),
            "temperature": (("time", "cy", "cx"), temperature[:, None, None].astype("f4")),
        },
        coords={
            "time": np.datetime64("2021-01-01T17:00", "ns")
            + np.arange(dates) * np.timedelta64(12, "D"),
            "band": ["VV", "VH"],
            "y": -10.0 * np.arange(pixels),
            "x": 10.0 * np.arange(pixels),
            "cy": [-100.0],
            "cx": [100.0],
        },
    )
