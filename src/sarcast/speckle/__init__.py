"""Speckle filters, and the equivalent number of looks."""

from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    """Import a public name on first access: ``speckle.filters`` alone does not need Dask."""
    if name in __all__:
        from sarcast.speckle import images

        return getattr(images, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
