"""Windows: parts of a cube at a target date, and the protocol of what predicts them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sarcast.windows.bands import bands_of, join_names
    from sarcast.windows.batch import Batch, collate, concatenate, group_by_shape, to_windows
    from sarcast.windows.cut import CubeReader, cut_window, tile_windows
    from sarcast.windows.options import CHOOSER_HELP, Chooser, PreviousOptions
    from sarcast.windows.previous import choose_previous, rank_previous, target_dates
    from sarcast.windows.sampler import Sampler, WindowSampler, split_by_date
    from sarcast.windows.window import (
        BANDS,
        Expected,
        PixelOffset,
        PixelShape,
        Predictor,
        TrainedPredictor,
        Window,
    )

__all__ = [
    "BANDS",
    "CHOOSER_HELP",
    "Batch",
    "Chooser",
    "CubeReader",
    "Expected",
    "PixelOffset",
    "PixelShape",
    "Predictor",
    "PreviousOptions",
    "Sampler",
    "TrainedPredictor",
    "Window",
    "WindowSampler",
    "bands_of",
    "choose_previous",
    "collate",
    "concatenate",
    "cut_window",
    "group_by_shape",
    "join_names",
    "rank_previous",
    "split_by_date",
    "target_dates",
    "tile_windows",
    "to_windows",
]

_HOMES = {
    "bands_of": "bands",
    "join_names": "bands",
    "Batch": "batch",
    "collate": "batch",
    "concatenate": "batch",
    "group_by_shape": "batch",
    "to_windows": "batch",
    "CubeReader": "cut",
    "cut_window": "cut",
    "tile_windows": "cut",
    "CHOOSER_HELP": "options",
    "Chooser": "options",
    "PreviousOptions": "options",
    "choose_previous": "previous",
    "rank_previous": "previous",
    "target_dates": "previous",
    "Sampler": "sampler",
    "WindowSampler": "sampler",
    "split_by_date": "sampler",
    "BANDS": "window",
    "Expected": "window",
    "PixelOffset": "window",
    "PixelShape": "window",
    "Predictor": "window",
    "TrainedPredictor": "window",
    "Window": "window",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use: options of the command line need no xarray."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
