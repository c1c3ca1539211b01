"""Encoded baselines that are kept while the conditions of one target change.

The temporal network encodes the previous images for any target (``networks.temporal``), so that an
expected image under other conditions of the same target is decoded alone.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Encoded = TypeVar("Encoded")


class Memory(Generic[Encoded]):
    """The encoded baselines that were used last; to be used by one thread at a time.

    Parameters
    ----------
    most
        Number of baselines that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[object, Encoded]] = OrderedDict()

    def get(self, key: Hashable, arrays: object, encode: Callable[[], Encoded]) -> Encoded:
        """Get a baseline as it was encoded before, or encode it.

        Parameters
        ----------
        key
            Identifies the baseline, by the ``id`` of its arrays among others.
        arrays
            Its arrays, kept with it so that no others get their ``id``.
        encode
            Encodes it.
        """
        if key not in self._kept:
            self._kept[key] = arrays, encode()
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key][1]
