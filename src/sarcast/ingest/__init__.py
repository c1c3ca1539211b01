"""Sources, one file each, read onto a GeoBox as xarray."""
