"""Speckle filters, and the equivalent number of looks."""

from typing import TYPE_CHECKING

from sarcast.lazy import lazy_names

if TYPE_CHECKING:
    from sarcast.speckle.images import (
        SpeckleOptions,
        despeckle,
        despeckle_block,
        estimate_missing_looks,
    )
    from sarcast.speckle.looks import equivalent_looks

__all__ = [
    "SpeckleOptions",
    "despeckle",
    "despeckle_block",
    "equivalent_looks",
    "estimate_missing_looks",
]

# ``speckle.filters`` alone does not need Dask
__getattr__ = lazy_names(
    __name__,
    {
        "images": ("SpeckleOptions", "despeckle", "despeckle_block", "estimate_missing_looks"),
        "looks": ("equivalent_looks",),
    },
)
