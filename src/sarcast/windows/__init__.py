"""Windows: parts of a cube at a target date, and the protocol of what predicts them."""

from sarcast.windows.bands import bands_of, join_names
from sarcast.windows.batch import Batch, collate, concatenate, group_by_shape, to_windows
from sarcast.windows.cut import CubeReader, cut_window, tile_windows
from sarcast.windows.previous import (
    CHOOSER_HELP,
    Chooser,
    PreviousOptions,
    choose_previous,
    rank_previous,
    target_dates,
)
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
