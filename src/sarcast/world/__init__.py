"""The synthetic world: ground, weather, orbits and backscatter with known truth."""

from sarcast.world.options import WorldOptions

__all__ = ["WorldOptions"]
