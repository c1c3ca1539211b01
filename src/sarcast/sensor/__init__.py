"""The sensor: units of backscatter, orbit geometry, acquisition conditions."""
