"""Readers of scenes, level-1 products, weather, terrain and land cover."""
