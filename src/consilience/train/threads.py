"""How many threads small work uses.

A step of a few milliseconds cannot fill two cores: its threads wait for each other at every operation, and where another
process holds one of the cores, they wait long (measured on two cores, one of them busy: 16 ms a step with one thread, 380
with two).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

SMALL = 20_000_000
"""A matrix of fewer numbers is fitted on one thread."""


@contextmanager
def one_thread(when: bool = True) -> Iterator[None]:
    """Torch and BLAS on one thread while the context is open; `when` False: as many as before."""
    if not when:
        yield
        return
    threads = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
