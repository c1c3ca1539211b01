"""Speckle: filters against it, and the equivalent number of looks."""

from sarcast.speckle.images import SpeckleOptions, despeckle
from sarcast.speckle.looks import equivalent_looks

__all__ = ["SpeckleOptions", "despeckle", "equivalent_looks"]
