"""Compilation of a network on a GPU, for windows of the shapes that come often.

Compiled, the layers between the convolutions take a third of the time, but compiling a shape takes
most of a minute. A shape is therefore compiled only once so much of it has been predicted that as
much time was spent on it.
"""

import logging
from collections import Counter
from contextlib import AbstractContextManager
from copy import deepcopy

import torch

from sarcast.prediction.networks.base import Network
from sarcast.windows import Batch

COMPILE_PIXELS = 2**33
"""Pixels of previous images of one shape after which it is compiled: 512 windows of 1024 x 1024
pixels and 16 images, which take about 35 s on an H200; compiling them takes 48 s."""
MOST_COMPILED = 256
"""Versions of a layer that are kept, by width and shape; others are computed as they are."""

_log = logging.getLogger(__name__)


class Compiler:
    """Chooses between a network and its compiled copy.

    Parameters
    ----------
    network
        The network; the copy has the weights that it has now.
    after
        Pixels of previous images of one shape after which it is compiled; infinite for never.
    backend
        The compiler, as in ``torch.compile``.
    """

    def __init__(self, network: Network, after: float, *, backend: str = "inductor") -> None:
        self._network, self._after, self._backend = network, after, backend
        self._copy: Network | None = None
        self._seen: Counter[tuple[int, ...]] = Counter()

    def network_for(self, batch: Batch, targets: int) -> Network:
        """Give the network that predicts a batch: compiled if enough of its shape came before."""
        shape = (*batch.previous.shape, targets)
        seen = self._seen[shape]
        self._seen[shape] = seen + batch.previous.numel() // batch.previous.shape[2]
        if seen < self._after:
            return self._network
        if self._copy is None:
            _log.info("compiling the network for the GPU, which takes about a minute")
            self._copy = self._compiled_copy()
        return self._copy

    def _compiled_copy(self) -> Network:
        copied = deepcopy(self._network)
        for part in copied.modules():
            if isinstance(part, copied.compiled):
                part.compile(dynamic=False, backend=self._backend)
        return copied


def tolerant() -> AbstractContextManager[object]:
    """In a ``with``: what cannot be compiled, as without a C compiler, is computed as it is."""
    changes = {"recompile_limit": MOST_COMPILED, "suppress_errors": True}
    patched: AbstractContextManager[object] = torch._dynamo.config.patch(changes)
    return patched
