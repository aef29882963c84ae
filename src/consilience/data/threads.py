"""Threads for cells that take long to read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Done = TypeVar("Done")

_WORTH = 1e-3
"""Seconds that a cell must take for threads to gain: short recordings of 0.1 ms took twice as long with two."""


def in_threads(work: Callable[[int], Done], count: int) -> list[Done]:
    """`work` of 0 to `count` - 1, in order; by threads where that is worth it."""
    tried, started = min(count, 16), time.perf_counter()
    done = list(map(work, range(tried)))
    quick = time.perf_counter() - started < _WORTH * tried
    workers = min(8, os.cpu_count() or 1, count - tried)
    if quick or workers < 2:
        return [*done, *map(work, range(tried, count))]
    with ThreadPoolExecutor(workers) as pool:  # decoders and disks release the interpreter lock
        return [*done, *pool.map(work, range(tried, count))]
