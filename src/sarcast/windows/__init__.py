"""Windows: parts of a cube at a target date, and the protocol of what predicts them."""

from typing import TYPE_CHECKING

from sarcast.lazy import lazy_names

if TYPE_CHECKING:
    from sarcast.windows.bands import bands_of, join_names
    from sarcast.windows.batch import Batch, collate, concatenate, group_by_shape, to_windows
    from sarcast.windows.cut import CubeReader, cut_window, tile_windows
    from sarcast.windows.options import CHOOSER_HELP, BaselineOptions, Chooser, PreviousOptions
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
    "BaselineOptions",
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

# options of the command line need no xarray
__getattr__ = lazy_names(
    __name__,
    {
        "bands": ("bands_of", "join_names"),
        "batch": ("Batch", "collate", "concatenate", "group_by_shape", "to_windows"),
        "cut": ("CubeReader", "cut_window", "tile_windows"),
        "options": ("CHOOSER_HELP", "BaselineOptions", "Chooser", "PreviousOptions"),
        "previous": ("choose_previous", "rank_previous", "target_dates"),
        "sampler": ("Sampler", "WindowSampler", "split_by_date"),
        "window": (
            "BANDS",
            "Expected",
            "PixelOffset",
            "PixelShape",
            "Predictor",
            "TrainedPredictor",
            "Window",
        ),
    },
)
