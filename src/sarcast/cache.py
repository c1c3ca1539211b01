"""A cache of arrays and bytes whose size is bounded, shared by threads."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class _Sized(Protocol):
    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        ...


Value = TypeVar("Value", bound=_Sized)


class Cache(Generic[Value]):
    """Values by key; those that were used least recently are dropped.

    Parameters
    ----------
    most
        Size of all values together, bytes, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def peek(self, key: Hashable) -> Value | None:
        """Value of a key; None where there is none."""
        with self._lock:
            return self._values.get(key)

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._values.clear()
            self._size = 0

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Value of a key, made where there is none; a thread waits for one that makes the same."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            turn = self._making.setdefault(key, threading.Lock())
        with turn:
            if (found := self.peek(key)) is not None:
                return found
            try:
                value = make()
                self._keep(key, value)
            finally:
                self._making.pop(key, None)
        return value

    def _keep(self, key: Hashable, value: Value) -> None:
        with self._lock:
            if key not in self._values and value.nbytes <= self._most:
                self._values[key] = value
                self._size += value.nbytes
            while self._size > self._most:
                _, dropped = self._values.popitem(last=False)
                self._size -= dropped.nbytes
