"""Classifiers that use the neighbourhood of a pixel: PCA-K-means, and a Markov random field."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Self

import numpy as np

from sarcast.arrays import Bool, Double, Float
from sarcast.detection.classifiers import KittlerIllingworth, Takes, not_fitted, seen_pixels
from sarcast.detection.difference import norm
from sarcast.errors import SarcastError

CROSS = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
"""The four neighbours of a pixel."""

LARGEST_LESSON = 200_000
"""Blocks or pixels that are learnt from at most."""


class PcaKMeans:
    """Blocks of the norm, reduced by principal components and parted in two by K-means.

    Parameters
    ----------
    block
        Side of the block around a pixel, odd, pixels.
    components
        Principal components that are kept.
    rng
        Source of chance of the starting centres and of the blocks that are learnt from.

    References
    ----------
    Celik 2009, doi 10.1109/LGRS.2009.2025059.
    """

    name = "PCA-K-means"
    takes: Takes = "difference"

    def __init__(self, block: int = 5, components: int = 3, *, rng: np.random.Generator) -> None:
        if block % 2 == 0 or not 1 <= components <= block * block:
            raise SarcastError(
                f"a block has an odd side and at most its number of pixels as components; "
                f"{block} and {components} came"
            )
        self.block = block
        self.components = components
        self._rng = rng

    def fresh(self) -> Self:
        """Give a copy that has learnt nothing, with chance of its own."""
        (own,) = self._rng.spawn(1)
        return type(self)(self.block, self.components, rng=own)

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:  # noqa: ARG002
        """Learn components and both clusters; no masks are needed.

        Raises
        ------
        SarcastError
            If too few pixels were seen.
        """
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA

        blocks = self._lesson(differences)
        seed = int(self._rng.integers(2**31))
        self._pca = PCA(self.components, random_state=seed).fit(blocks)
        reduced = self._pca.transform(blocks)
        centres = KMeans(2, n_init=4, random_state=seed).fit(reduced).cluster_centers_
        rising = np.argsort(self._pca.inverse_transform(centres).mean(axis=1))
        self._unchanged, self._changed = centres[rising]
        return self

    def predict(self, difference: Float) -> Bool:
        """Change map, dims (y, x).

        Raises
        ------
        SarcastError
            If it has not learnt.
        """
        if not hasattr(self, "_pca"):
            raise not_fitted(self)
        reduced = self._pca.transform(self._blocks(difference))
        away = [np.square(reduced - c).sum(axis=1) for c in (self._unchanged, self._changed)]
        called: Bool = np.asarray(away[1] < away[0])
        return called.reshape(difference.shape[1:]) & seen_pixels(difference)

    def _lesson(self, differences: Sequence[Float]) -> Float:
        """Blocks around pixels that were seen, as many as are learnt from at most."""
        seen = [np.flatnonzero(seen_pixels(one)) for one in differences]
        ends = np.cumsum([len(places) for places in seen])
        count = int(ends[-1]) if len(ends) else 0
        if count < 2 * self.components:
            raise SarcastError(
                f"PCA-K-means needs {2 * self.components} pixels or more, {count} were seen"
            )
        drawn = np.arange(count)
        if count > LARGEST_LESSON:
            drawn = np.sort(self._rng.choice(count, LARGEST_LESSON, replace=False))
        parts = np.split(drawn, np.searchsorted(drawn, ends[:-1]))
        starts = ends - [len(places) for places in seen]
        return np.concatenate(
            [
                self._blocks(one)[places[part - start]]
                for one, places, part, start in zip(differences, seen, parts, starts, strict=True)
            ]
        )

    def _blocks(self, difference: Float) -> Float:
        """Dims (pixel, place in the block); what was not seen is the median of what was."""
        image = norm(difference)
        seen = np.isfinite(image)
        image = np.where(seen, image, np.float32(np.median(image[seen]) if seen.any() else 0.0))
        reach = self.block // 2
        padded = np.pad(image, reach, mode="symmetric")
        views = np.lib.stride_tricks.sliding_window_view(padded, (self.block, self.block))
        return views.reshape(image.size, -1)


class MarkovField:
    """Most probable change map under Gaussian classes and a Potts prior, by a graph cut.

    Each class has a mean and a covariance over the bands; neighbours of another class cost
    ``smoothness``. Without masks the classes start from the threshold of Kittler and Illingworth.

    Parameters
    ----------
    smoothness
        Cost of each pair of neighbours of different classes, in nats, 0 or more.
    neighbours
        8 or 4.

    References
    ----------
    Bruzzone, Prieto 2000, doi 10.1109/36.843009, section IV (the field); Boykov, Kolmogorov 2004,
    doi 10.1109/TPAMI.2004.60 (the cut, as PyMaxflow).
    """

    name = "Markov field"
    takes: Takes = "difference"

    def __init__(self, smoothness: float = 1.0, neighbours: int = 8) -> None:
        if not smoothness >= 0.0 or neighbours not in (4, 8):
            raise SarcastError(
                f"smoothness is 0 or more and neighbours 4 or 8; {smoothness} and {neighbours} came"
            )
        self.smoothness = smoothness
        self.neighbours = neighbours

    def fresh(self) -> Self:
        """Give a copy that has learnt nothing."""
        return type(self)(self.smoothness, self.neighbours)

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:
        """Estimate both classes, from masks or from a threshold.

        Raises
        ------
        SarcastError
            If a class has fewer than 10 pixels.
        """
        if changed is None:
            start = KittlerIllingworth().fit(differences)
            changed = [start.predict(one) for one in differences]
        pixels = np.concatenate([one[:, seen_pixels(one)].T for one in differences])
        labels = np.concatenate(
            [mask[seen_pixels(one)] for one, mask in zip(differences, changed, strict=True)]
        )
        self._classes = [_Gaussian(pixels[labels == kind]) for kind in (False, True)]
        return self

    def predict(self, difference: Float) -> Bool:
        """Change map, dims (y, x).

        Raises
        ------
        SarcastError
            If it has not learnt, or PyMaxflow is not installed.
        """
        if not hasattr(self, "_classes"):
            raise not_fitted(self)
        seen = seen_pixels(difference)
        values = np.where(seen, difference, np.float32(0.0))
        costs = [np.where(seen, one.cost(values), 0.0) for one in self._classes]
        called = _cut(costs[0], costs[1], self.smoothness, self.neighbours)
        return called & seen


class _Gaussian:
    """A class of pixels; ``cost`` is its negative log-likelihood up to a constant."""

    def __init__(self, pixels: Float) -> None:
        if len(pixels) < 10:
            raise SarcastError(
                f"a class of the Markov field needs 10 pixels or more, but has {len(pixels)}"
            )
        values = pixels.astype(np.float64)
        self._mean = values.mean(axis=0)
        spread = np.atleast_2d(np.cov(values, rowvar=False))
        spread += 1e-6 * np.eye(len(spread))
        self._precision = np.linalg.inv(spread)
        self._constant = 0.5 * np.linalg.slogdet(spread)[1]

    def cost(self, difference: Float) -> Double:
        apart = difference - self._mean[:, np.newaxis, np.newaxis]
        squared = np.einsum("byx,bc,cyx->yx", apart, self._precision, apart)
        cost: Double = 0.5 * squared + self._constant
        return cost


def _cut(
    unchanged: Double,
    changed: Double,
    smoothness: float,
    neighbours: int,
) -> Bool:
    """Labels (y, x) of the smallest sum of costs of pixels and of unlike neighbours."""
    maxflow = _maxflow()
    near = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]] if neighbours == 8 else CROSS)
    graph = maxflow.Graph[float]()
    nodes = graph.add_grid_nodes(unchanged.shape)
    graph.add_grid_edges(nodes, smoothness, structure=near, symmetric=False)
    least = np.minimum(unchanged, changed)
    graph.add_grid_tedges(nodes, changed - least, unchanged - least)
    graph.maxflow()
    return np.asarray(graph.get_grid_segments(nodes), dtype=bool)


def _maxflow() -> Any:
    try:
        maxflow = import_module("maxflow")
    except ImportError as error:
        raise SarcastError(
            "the Markov field needs PyMaxflow; install it with 'pip install PyMaxflow'"
        ) from error
    return maxflow
