"""Array aliases, defined once: what signatures call an array of floats, flags or times."""

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
"""Images in dB and scores of them."""
Double = npt.NDArray[np.float64]
"""Coordinates, sums and everything that is added up."""
Floating = npt.NDArray[np.floating]
"""Floats of any precision."""
Bool = npt.NDArray[np.bool_]
"""Masks."""
Times = npt.NDArray[np.datetime64]
"""Moments, UTC."""
