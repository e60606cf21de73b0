"""A cache with a byte budget, in which each value is made once, however many ask for it at the same time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")


class ByteCache:
    """Keeps what was used last, up to `budget` bytes. Safe to call from several threads."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return self._bytes

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._held

    def get(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """The value under `key`, made by `make` if it is not held. What is larger than the budget is not kept."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                found: Value = self._held[key][0]
                return found
            turn = self._making.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                if key in self._held:
                    self._held.move_to_end(key)
                    value: Value = self._held[key][0]
                    return value
            try:
                value = make()
                self._keep(key, value, size(value))
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return value

    def _keep(self, key: Hashable, value: object, size: int) -> None:
        if size > self._budget:
            return
        with self._lock:
            # made twice where the first try failed or was given up at once: counted once
            _, before = self._held.pop(key, (None, 0))
            self._held[key] = (value, size)
            self._bytes += size - before
            while self._bytes > self._budget:
                _, (_, freed) = self._held.popitem(last=False)
                self._bytes -= freed
