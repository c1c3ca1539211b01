"""Windows: a place and a target date cut from a cube, and what predicts their expected image."""

from sarcast.windows.batch import Batch, collate, in_shapes, joined, separate
from sarcast.windows.cut import CubeReader, cut, grid
from sarcast.windows.previous import (
    CHOOSER,
    Chooser,
    PreviousOptions,
    choose_previous,
    ranked_previous,
    target_dates,
)
from sarcast.windows.sampler import WindowSampler, split_by_date
from sarcast.windows.window import BANDS, Expected, PixelOffset, Predictor, Window

__all__ = [
    "BANDS",
    "CHOOSER",
    "Batch",
    "Chooser",
    "CubeReader",
    "Expected",
    "PixelOffset",
    "Predictor",
    "PreviousOptions",
    "Window",
    "WindowSampler",
    "choose_previous",
    "collate",
    "cut",
    "grid",
    "in_shapes",
    "joined",
    "ranked_previous",
    "separate",
    "split_by_date",
    "target_dates",
]
