"""Encode once: what is expensive to make is kept, bounded in bytes, the oldest-used let go first.

Samples are kept by (input, row) of one view; tokens by (encoder fingerprint, input, row), so that a changed weight or
preparation can never read a stale token. Where a folder is named for it, `shelf` keeps tokens for other processes too.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from consilience.data.shelf import Shelf, folder

Made = TypeVar("Made")


def digest(*arrays: np.ndarray) -> str:
    """Names the content of arrays: type, shape and bytes."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


class Store:
    """A mapping bounded in bytes; safe to use from several threads."""

    def __init__(self, limit: int = 3 << 30) -> None:
        self.limit = limit
        self.held = 0
        self.encoded = 0
        """How many cells were encoded through this store: what proves that nothing is encoded twice."""
        self._shelves: dict[str, Shelf] = {}
        self._folder = folder()
        self._items: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def keeps(self) -> bool:
        """Is anything kept on disk?"""
        return self._folder is not None

    def shelf(self, name: str) -> Shelf | None:
        """What is kept on disk under that name; None where nothing is kept there."""
        if self._folder is None:
            return None
        with self._lock:
            found = self._shelves.get(name)
            if found is None:
                found = self._shelves[name] = Shelf(self._folder, name)
            return found

    def get(self, key: Hashable) -> Any | None:
        """What is kept under `key`, or None."""
        with self._lock:
            item = self._items.get(key)
            if item is None:
                return None
            self._items.move_to_end(key)
            return item[0]

    def put(self, key: Hashable, value: Any, nbytes: int) -> None:
        """Keep `value`, letting the oldest-used go where the limit asks for it."""
        with self._lock:
            old = self._items.pop(key, None)
            self.held += nbytes - (old[1] if old else 0)
            self._items[key] = (value, nbytes)
            while self.held > self.limit and len(self._items) > 1:
                _, (_, freed) = self._items.popitem(last=False)
                self.held -= freed

    def once(self, key: Hashable, make: Callable[[], Made], nbytes: Callable[[Made], int]) -> Made:
        """What is kept under `key`; made and kept where there is nothing yet. The key must say all that decides it."""
        found = self.get(key)
        if found is None:
            found = make()
            self.put(key, found, nbytes(found))
        return found
