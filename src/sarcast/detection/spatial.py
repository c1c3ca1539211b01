"""Classifiers that use the neighbourhood of a pixel: PCA-K-means, and a Markov random field."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Self

import numpy as np

from sarcast.arrays import Bool, Double, Float
from sarcast.detection.difference import norm
from sarcast.detection.protocol import Takes, not_fitted, valid_pixels
from sarcast.detection.thresholds import KittlerIllingworth
from sarcast.errors import SarcastError

FOUR_NEIGHBOURS = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
EIGHT_NEIGHBOURS = [[1, 1, 1], [1, 0, 1], [1, 1, 1]]

MAX_FIT_BLOCKS = 200_000
"""Most blocks that PCA-K-means is fitted to; of more, a random sample is taken."""


class PcaKMeans:
    """Blocks of the norm around each pixel, reduced by PCA and clustered in two by K-means.

    A pixel is changed if its block lies nearer to the centre of the cluster of greater norm.

    Parameters
    ----------
    block
        Side of the block around a pixel, odd, pixels.
    components
        Number of principal components.
    rng
        Generator that draws the starting centres and the blocks to fit.

    References
    ----------
    Celik 2009, doi 10.1109/LGRS.2009.2025059.
    """

    name = "PCA-K-means"
    takes: Takes = "difference"

    def __init__(self, block: int = 5, components: int = 3, *, rng: np.random.Generator) -> None:
        if block % 2 == 0 or not 1 <= components <= block * block:
            raise SarcastError(
                f"PCA-K-means takes a block of odd side and 1 to side² components, but got a side "
                f"of {block} and {components} components"
            )
        self.block = block
        self.components = components
        self._rng = rng

    def fresh(self) -> Self:
        """Return an unfitted copy with a generator spawned from this one's."""
        (rng,) = self._rng.spawn(1)
        return type(self)(self.block, self.components, rng=rng)

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:  # noqa: ARG002
        """Fit the components and both clusters; masks are not used.

        Raises
        ------
        SarcastError
            If too few pixels have data.
        """
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA

        blocks = self._fit_blocks(differences)
        seed = int(self._rng.integers(2**31))
        self._pca = PCA(self.components, random_state=seed).fit(blocks)
        reduced = self._pca.transform(blocks)
        centres = KMeans(2, n_init=4, random_state=seed).fit(reduced).cluster_centers_
        by_norm = np.argsort(self._pca.inverse_transform(centres).mean(axis=1))
        self._unchanged, self._changed = centres[by_norm]
        return self

    def predict(self, difference: Float) -> Bool:
        """Return the change map, dims (y, x).

        Raises
        ------
        SarcastError
            If it is not fitted.
        """
        if not hasattr(self, "_pca"):
            raise not_fitted(self)
        reduced = self._pca.transform(self._blocks(difference))
        to_unchanged, to_changed = (
            np.square(reduced - centre).sum(axis=1) for centre in (self._unchanged, self._changed)
        )
        changed: Bool = np.asarray(to_changed < to_unchanged)
        return changed.reshape(difference.shape[1:]) & valid_pixels(difference)

    def _fit_blocks(self, differences: Sequence[Float]) -> Float:
        """Blocks around the pixels with data, at most ``MAX_FIT_BLOCKS`` of them."""
        valid = [np.flatnonzero(valid_pixels(image)) for image in differences]
        ends = np.cumsum([len(pixels) for pixels in valid])
        count = int(ends[-1]) if len(ends) else 0
        if count < 2 * self.components:
            raise SarcastError(
                f"PCA-K-means needs {2 * self.components} pixels with data or more, "
                f"but there are {count}"
            )
        drawn = np.arange(count)
        if count > MAX_FIT_BLOCKS:
            drawn = np.sort(self._rng.choice(count, MAX_FIT_BLOCKS, replace=False))
        parts = np.split(drawn, np.searchsorted(drawn, ends[:-1]))
        starts = ends - [len(pixels) for pixels in valid]
        return np.concatenate(
            [
                self._blocks(image)[pixels[part - start]]
                for image, pixels, part, start in zip(
                    differences, valid, parts, starts, strict=True
                )
            ]
        )

    def _blocks(self, difference: Float) -> Float:
        """Block of the norm around each pixel, dims (pixel, position in the block).

        NaN is replaced by the median of the image.
        """
        image = norm(difference)
        valid = np.isfinite(image)
        image = np.where(valid, image, np.float32(np.median(image[valid]) if valid.any() else 0.0))
        padded = np.pad(image, self.block // 2, mode="symmetric")
        views = np.lib.stride_tricks.sliding_window_view(padded, (self.block, self.block))
        return views.reshape(image.size, -1)


class MarkovField:
    """The most probable change map under Gaussian classes and a Potts prior, by a graph cut.

    It minimises, over all maps,

        sum over pixels of -log p(d | class) + smoothness * (number of unlike neighbour pairs)

    where p is Gaussian with the mean and the covariance over the bands of each class. Without masks
    the classes are estimated from the map of ``KittlerIllingworth``.

    Parameters
    ----------
    smoothness
        Cost of a pair of neighbours in different classes, nats, 0 or more.
    neighbours
        8 or 4.

    References
    ----------
    Bruzzone, Prieto 2000, doi 10.1109/36.843009, section IV (the field); Boykov, Kolmogorov 2004,
    doi 10.1109/TPAMI.2004.60 (the cut, by PyMaxflow).
    """

    name = "Markov field"
    takes: Takes = "difference"

    def __init__(self, smoothness: float = 1.0, neighbours: int = 8) -> None:
        if not smoothness >= 0.0 or neighbours not in (4, 8):
            raise SarcastError(
                f"the Markov field takes a smoothness of 0 or more and neighbours 4 or 8, "
                f"but got {smoothness} and {neighbours}"
            )
        self.smoothness = smoothness
        self.neighbours = neighbours

    def fresh(self) -> Self:
        """Return an unfitted copy."""
        return type(self)(self.smoothness, self.neighbours)

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:
        """Estimate both classes, from masks or from a threshold.

        Raises
        ------
        SarcastError
            If a class has fewer than 10 pixels.
        """
        if changed is None:
            threshold = KittlerIllingworth().fit(differences)
            changed = [threshold.predict(image) for image in differences]
        pixels = np.concatenate([image[:, valid_pixels(image)].T for image in differences])
        labels = np.concatenate(
            [mask[valid_pixels(image)] for image, mask in zip(differences, changed, strict=True)]
        )
        self._classes = [_Gaussian(pixels[labels == label]) for label in (False, True)]
        return self

    def predict(self, difference: Float) -> Bool:
        """Return the change map, dims (y, x).

        Raises
        ------
        SarcastError
            If it is not fitted, or PyMaxflow is not installed.
        """
        if not hasattr(self, "_classes"):
            raise not_fitted(self)
        valid = valid_pixels(difference)
        values = np.where(valid, difference, np.float32(0.0))
        unchanged, changed = (np.where(valid, each.cost(values), 0.0) for each in self._classes)
        return _cut(unchanged, changed, self.smoothness, self.neighbours) & valid


class _Gaussian:
    """A class of pixels; ``cost`` is its negative log-likelihood up to a constant."""

    def __init__(self, pixels: Float) -> None:
        if len(pixels) < 10:
            raise SarcastError(
                f"a class of the Markov field needs 10 pixels or more, but has {len(pixels)}"
            )
        values = pixels.astype(np.float64)
        self._mean = values.mean(axis=0)
        covariance = np.atleast_2d(np.cov(values, rowvar=False))
        covariance += 1e-6 * np.eye(len(covariance))
        self._precision = np.linalg.inv(covariance)
        self._constant = 0.5 * np.linalg.slogdet(covariance)[1]

    def cost(self, difference: Float) -> Double:
        """Dims (y, x), of a difference image, dims (band, y, x)."""
        residual = difference - self._mean[:, np.newaxis, np.newaxis]
        squared = np.einsum("byx,bc,cyx->yx", residual, self._precision, residual)
        cost: Double = 0.5 * squared + self._constant
        return cost


def _cut(unchanged: Double, changed: Double, smoothness: float, neighbours: int) -> Bool:
    """Labels, dims (y, x), of the least sum of pixel costs and costs of unlike neighbours."""
    maxflow = _maxflow()
    structure = np.array(EIGHT_NEIGHBOURS if neighbours == 8 else FOUR_NEIGHBOURS)
    graph = maxflow.Graph[float]()
    nodes = graph.add_grid_nodes(unchanged.shape)
    graph.add_grid_edges(nodes, smoothness, structure=structure, symmetric=False)
    least = np.minimum(unchanged, changed)
    graph.add_grid_tedges(nodes, changed - least, unchanged - least)
    graph.maxflow()
    return np.asarray(graph.get_grid_segments(nodes), dtype=bool)


def _maxflow() -> Any:
    try:
        return import_module("maxflow")
    except ImportError as error:
        raise SarcastError(
            "the Markov field needs PyMaxflow; install it with 'pip install PyMaxflow'"
        ) from error
