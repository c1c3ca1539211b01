"""One command builds a cube from a real series, its weather and its terrain."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from sarcast.cli import main
from sarcast.cube import open_cube

SITE = "2021_TZA_COPERNICUS-GEOGLAM_POLY_1101950"


def test_a_series_of_fields_is_built_into_a_cube(data_dir: Path, tmp_path: Path) -> None:
    """Values, daily means and heights equal those of the files, read by xarray and rasterio."""
    folder = data_dir / "worldcereal"
    scenes, weather = (next((folder / SITE).glob(f"{kind}*.nc")) for kind in ("S1_GRD", "AgERA5"))
    dem = folder / "dem" / "dem_37MBS.tif"
    words = [scenes, "--to", tmp_path / "area.zarr", "--dem", dem, "--weather", weather]
    with pytest.raises(SystemExit) as ended:
        main(["--quiet", "cube", *map(str, words), "--end", "2020-02-29"])
    assert ended.value.code == 0
    cube = open_cube(tmp_path / "area.zarr")
    with xr.open_dataset(scenes) as source, xr.open_dataset(weather) as daily:
        early = source.sel(timestamp=slice(None, "2020-02-29"))
        assert cube.sizes["time"] == early.sizes["timestamp"] > 5
        for band in ("VV", "VH"):
            stored = cube["backscatter"].sel(band=band).values
            np.testing.assert_allclose(stored, early[band].values, atol=0.0051)
        days = early["timestamp"].dt.floor("D")
        mean = daily["temperature_mean"].sel(timestamp=days).values - 273.15
        everywhere = np.broadcast_to(mean, cube["temperature"].shape)
        np.testing.assert_allclose(cube["temperature"], everywhere, atol=1e-3)
        rain = daily["precipitation_flux"].sel(timestamp=days - np.timedelta64(2, "D")).values
        everywhere = np.broadcast_to(rain, everywhere.shape)
        np.testing.assert_allclose(cube["precipitation"].sel(lag=2), everywhere, atol=1e-3)
    with rasterio.open(dem) as source:
        np.testing.assert_array_equal(cube["elevation"], source.read(1))
    assert set(cube["orbit_direction"].values) == {"ascending"}
    assert np.isnan(cube["snow_depth"]).all()
