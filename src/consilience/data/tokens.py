"""Tokens of one encoder for the rows of one view, kept in a temporary file: appended once, mapped to be read.

So they take disk and page cache instead of memory, and are gathered without a loop over rows. Written by calls, not
through the map: a full disk is then an error that can be told, where a map would end the process.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import weakref

import numpy as np
import torch

from consilience.errors import fail
from consilience.types import Tokens


class Kept:
    """Tokens of width D of R rows; each row has N of its own, or none yet."""

    def __init__(self, rows: int, width: int) -> None:
        self.width = width
        self.start = np.full(rows, -1, np.int64)  # where a row's tokens begin, counted in tokens
        self.count = np.zeros(rows, np.int32)
        self._file = tempfile.TemporaryFile(prefix="consilience-")  # noqa: SIM115 - it lives as long as this object
        weakref.finalize(self, self._file.close)
        self._stored = 0
        self._dtype: np.dtype | None = None  # that of the first tokens
        self._map = np.zeros((0, width), np.float32)
        self._lock = threading.Lock()  # batches are made in a thread of their own

    def put(self, rows: np.ndarray, values: list[torch.Tensor]) -> None:
        """Keep [N, D] of each row. Raises ConsilienceError where the disk is full."""
        arrays = [np.ascontiguousarray(value.numpy()) for value in values]
        counts = [len(array) for array in arrays]
        with self._lock:
            self._dtype = self._dtype or arrays[0].dtype
            assert all(array.dtype == self._dtype and array.shape[1:] == (self.width,) for array in arrays)
            self._append(b"".join(array.tobytes() for array in arrays))
            self.count[rows] = counts
            self.start[rows] = self._stored + np.cumsum([0, *counts[:-1]])
            self._stored += sum(counts)

    def get(self, rows: np.ndarray) -> Tokens:
        """values [R, N, D], N the most of the rows (1 at least), and mask [R, N], False throughout for rows without any."""
        with self._lock:
            if len(self._map) < self._stored:
                self._map = np.memmap(self._file, self._dtype or np.float32, "r", shape=(self._stored, self.width))
            source, start, count = self._map, self.start[rows], self.count[rows]
        most = max(1, int(count.max(initial=1)))
        mask = np.arange(most) < count[:, None]
        values = np.zeros((len(rows), most, self.width), self._dtype or np.float32)
        values[mask] = source[(start[:, None] + np.arange(most))[mask]]
        return Tokens(torch.from_numpy(values), torch.from_numpy(mask))

    def _append(self, data: bytes) -> None:
        place, left = self._stored * self.width * (self._dtype or self._map.dtype).itemsize, memoryview(data)
        try:
            while left:
                written = os.pwrite(self._file.fileno(), left, place)
                place, left = place + written, left[written:]
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise fail(
                f"the disk is full: no room for tokens in {tempfile.gettempdir()}",
                "room for what encoders return of every row",
                "free some, or let the environment variable TMPDIR name a folder on another disk",
            ) from None
