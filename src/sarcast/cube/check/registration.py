"""Shift between images, to a fraction of a pixel."""

import numpy as np
import numpy.typing as npt
from scipy import fft

from sarcast.arrays import Floating

STEPS_PER_PIXEL = 50
"""Resolution of a shift, steps a pixel."""

MIN_CLEARNESS = 7.0
"""Clearness of a correlation peak that noise alone does not reach."""

_LOW_PASS = 0.15
_REACH = 1.5


class Correlation:
    """Phase correlation of pairs of images that all have the same shift; pairs add up.

    Parameters
    ----------
    size
        Pixels a side of the images.

    References
    ----------
    Kuglin and Hines, "The phase correlation image alignment method", Proc. IEEE Int. Conf.
    Cybernetics and Society (1975) 163-165; the refinement by a Fourier transform on fine steps near
    the peak follows Guizar-Sicairos, Thurman and Fienup, "Efficient subpixel image registration
    algorithms", Optics Letters 33 (2008) 156-158, doi 10.1364/OL.33.000156.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pairs = 0
        self._spectrum = np.zeros((size, size), dtype=np.complex128)

    def add(self, image: Floating, reference: Floating) -> None:
        """Add a pair: dims (y, x), any unit; NaN is replaced by the mean."""
        cross = _spectrum(image) * np.conj(_spectrum(reference))
        amplitude = np.abs(cross)
        if np.any(amplitude > 0.0):
            self._spectrum += cross / np.maximum(amplitude, 1e-12 * amplitude.max())
            self.pairs += 1

    def shift(self) -> tuple[float, float]:
        """Shift of the images relative to their references: rows down and columns right, pixels."""
        frequencies = fft.fftfreq(self.size)
        weight = np.exp(-0.5 * (frequencies / _LOW_PASS) ** 2)
        spectrum = self._spectrum * weight[:, None] * weight[None, :]
        surface = fft.ifft2(spectrum).real
        peak = np.unravel_index(np.argmax(surface), surface.shape)
        whole = [int(p) - self.size * (p > self.size // 2) for p in peak]
        fine = np.arange(-_REACH, _REACH + 0.5 / STEPS_PER_PIXEL, 1.0 / STEPS_PER_PIXEL)
        rows, columns = (
            np.exp(2j * np.pi * np.outer(fine + start, frequencies)) for start in whole
        )
        near = (rows @ spectrum @ columns.T).real
        best = np.unravel_index(np.argmax(near), near.shape)
        down, right = (whole[axis] + float(fine[best[axis]]) for axis in (0, 1))
        return round(down, 2), round(right, 2)

    def clearness(self) -> float:
        """Peak of the correlation over its standard deviation; chance under ``MIN_CLEARNESS``."""
        surface = fft.ifft2(self._spectrum).real
        spread = float(np.std(surface))
        return float(np.max(surface) - np.mean(surface)) / spread if spread > 0.0 else 0.0


def _spectrum(image: Floating) -> npt.NDArray[np.complex128]:
    valid = np.isfinite(image)
    centred = np.where(valid, image - (image[valid].mean() if valid.any() else 0.0), 0.0)
    taper = np.hanning(image.shape[0] + 2)[1:-1]
    spectrum: npt.NDArray[np.complex128] = fft.fft2(centred * taper[:, None] * taper[None, :])
    return spectrum
