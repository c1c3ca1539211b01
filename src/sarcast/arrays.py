"""Aliases of array types for signatures: floats, masks and times."""

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
"""Images in dB, and per-pixel scores."""
Double = npt.NDArray[np.float64]
"""Coordinates and accumulated sums."""
Floating = npt.NDArray[np.floating]
"""Floats of any precision."""
Bool = npt.NDArray[np.bool_]
"""Masks."""
Times = npt.NDArray[np.datetime64]
"""Times, UTC."""
Labels = npt.NDArray[np.integer]
"""Numbers of groups or regions, by pixel."""
Box = tuple[slice, slice]
"""Rows and columns of a part of an image."""
