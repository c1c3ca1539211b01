"""Files in and out: whole or absent, local or remote, rasters and their grids."""
