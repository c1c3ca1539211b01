"""Georeferenced Sentinel-1 rasters, read according to the profiles of their sources."""
