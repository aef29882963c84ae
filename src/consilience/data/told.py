"""What is told of the rows of a view: why an input is missing, what was noted when it was read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np


class Told:
    """A word for each row, or None: a number of a few bytes, because there are many rows and few different words."""

    def __init__(self, rows: int) -> None:
        self.codes = np.zeros(rows, np.uint32)
        self.words: list[Any] = [None]
        self.code: dict[Any, int] = {None: 0}
        self.lock = threading.Lock()  # batches are made in a thread of their own

    def __getitem__(self, row: int) -> Any:
        return self.words[self.codes[row]]

    def tell(self, rows: Sequence[int], words: Sequence[Any]) -> None:
        """One word of each row."""
        with self.lock:
            for word in dict.fromkeys(words):
                if word not in self.code:
                    self.words.append(word)
                    self.code[word] = len(self.words) - 1
        self.codes[np.asarray(rows, np.int64)] = [self.code[word] for word in words]

    def are(self, word: Any, rows: np.ndarray) -> np.ndarray:
        """[R] bool: rows of which this is told."""
        return self.codes[rows] == self.code.get(word, len(self.words))

    def count(self, rows: np.ndarray) -> Counter[Any]:
        """How many of `rows` each word is told of."""
        codes, counts = np.unique(self.codes[rows], return_counts=True)
        return Counter({self.words[code]: count for code, count in zip(codes.tolist(), counts.tolist(), strict=True) if code})
