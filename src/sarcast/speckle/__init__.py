"""Speckle: filters against it, and the equivalent number of looks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sarcast.speckle.images import SpeckleOptions, despeckle, despeckle_block, settle
    from sarcast.speckle.looks import equivalent_looks

__all__ = ["SpeckleOptions", "despeckle", "despeckle_block", "equivalent_looks", "settle"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: the world's filters need no Dask."""
    if name in __all__:
        from sarcast.speckle import images

        return getattr(images, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
