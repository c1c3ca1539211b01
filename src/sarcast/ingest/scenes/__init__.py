"""Georeferenced Sentinel-1 rasters, by the profiles of their sources."""
