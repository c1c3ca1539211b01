"""Simulated changes as functions of arrays: what happens to the pixels of a change mask.

Each function returns a copy of an image, dims (band, y, x), dB, in which only the pixels of
``changed``, dims (y, x), differ.
"""

import numpy as np
from scipy import ndimage

from sarcast.arrays import Bool, Float
from sarcast.detection.protocol import valid_pixels
from sarcast.errors import SarcastError
from sarcast.evaluation.simulation.distributions import map_distribution

SHIFTS_TRIED = 64
"""Random shifts that ``copy_regions`` tries for each region."""


def add_offset(image: Float, changed: Bool, decibels: tuple[float, ...]) -> Float:
    """Add a constant to the changed pixels of each band: y_b + decibels_b.

    Parameters
    ----------
    image
        Dims (band, y, x), dB.
    changed
        Dims (y, x).
    decibels
        One value per band, dB.

    Returns
    -------
    Float
        A copy, dims (band, y, x), dB.

    Raises
    ------
    SarcastError
        If there is not one value per band, or image and mask differ in shape.
    """
    _check_shapes(image, changed)
    if len(decibels) != image.shape[0]:
        raise SarcastError(
            f"an offset has one value per band: {image.shape[0]} are needed, but "
            f"{len(decibels)} came"
        )
    steps = np.asarray(decibels, dtype=np.float32)[:, np.newaxis, np.newaxis]
    return np.where(changed, image + steps, image)


def add_noise(image: Float, changed: Bool, std_db: float, *, rng: np.random.Generator) -> Float:
    """Add independent N(0, std²) noise to the changed pixels of each band.

    Parameters
    ----------
    image
        Dims (band, y, x), dB.
    changed
        Dims (y, x).
    std_db
        Standard deviation, dB.
    rng
        Generator of the noise.

    Returns
    -------
    Float
        A copy, dims (band, y, x), dB.

    References
    ----------
    Inglada, Mercier 2007, doi 10.1109/TGRS.2007.893568.
    """
    _check_shapes(image, changed)
    noise = rng.normal(0.0, std_db, image.shape).astype(np.float32)
    return np.where(changed, image + noise, image)


def copy_regions(image: Float, changed: Bool, donors: Bool, *, rng: np.random.Generator) -> Float:
    """Copy another part of the image over each changed region: y(r) becomes y(r + shift).

    Parameters
    ----------
    image
        Dims (band, y, x), dB.
    changed
        Dims (y, x); each connected region has one shift.
    donors
        Dims (y, x): pixels to copy from; of the random shifts that are tried, the one with most
        donors is taken.
    rng
        Generator of the shifts.

    Returns
    -------
    Float
        A copy, dims (band, y, x), dB.

    References
    ----------
    Inglada, Mercier 2007, doi 10.1109/TGRS.2007.893568.
    """
    _check_shapes(image, changed)
    result = image.copy()
    regions, _ = ndimage.label(changed)
    donors = donors & ~changed & valid_pixels(image)
    for number, box in enumerate(ndimage.find_objects(regions), start=1):
        rows, columns = np.nonzero(regions == number)
        limits = [
            (-extent.start, size - extent.stop)
            for extent, size in zip(box, changed.shape, strict=True)
        ]
        down, right = (rng.integers(low, high + 1, SHIFTS_TRIED) for low, high in limits)
        counts = donors[rows + down[:, None], columns + right[:, None]].sum(axis=1)
        best = int(np.argmax(counts))
        moved = image[:, rows + down[best], columns + right[best]]
        result[:, rows, columns] = np.where(np.isfinite(moved), moved, result[:, rows, columns])
    return result


def map_to_open_land(image: Float, changed: Bool, forest: Float, open_land: Float) -> Float:
    """Map the changed pixels from the distribution of forest to that of open land.

    With the cumulative distributions F of forest and G of open land in a band, a pixel y becomes
    G⁻¹(F(y)).

    Parameters
    ----------
    image
        Dims (band, y, x), dB.
    changed
        Dims (y, x).
    forest, open_land
        Dims (band, pixel), dB: samples of both; NaN is ignored.

    Returns
    -------
    Float
        A copy, dims (band, y, x), dB.

    Raises
    ------
    SarcastError
        If a sample is too small, or image and mask differ in shape.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section III-D.
    """
    _check_shapes(image, changed)
    result = image.copy()
    if changed.any():
        for band, values in enumerate(image):
            result[band][changed] = map_distribution(values[changed], forest[band], open_land[band])
    return result


def _check_shapes(image: Float, mask: Bool) -> None:
    if image.shape[1:] != mask.shape:
        raise SarcastError(
            f"the mask must have the image's shape {image.shape[1:]}, but has {mask.shape}"
        )
