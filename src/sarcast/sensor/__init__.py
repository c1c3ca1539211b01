"""What a sensor's acquisition is described by: units, orbits, acquisition conditions."""
