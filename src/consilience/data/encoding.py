"""Prepared samples -> tokens, in batches of fixed shape, so that a row's bits do not depend on its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from consilience.encoders.base import Encoder
from consilience.encoders.several import SeveralEncoder, apart

Chunk = tuple[list[int], dict[str, Tensor]]


def encode(encoder: Encoder, items: Sequence[dict[str, Tensor]], device: str = "cpu") -> list[Tensor]:
    """[N, D] of each item, on the CPU.

    Chunks of heavy encoders are shared out to threads on a processor, each computed by one: they need not wait for each
    other at every operation, and how many there are changes no bits.
    """
    if isinstance(encoder, SeveralEncoder) and encoder.heavy:  # every item of a list for itself: none is padded to the most
        lists = [apart(item) for item in items]
        flat = iter(encode(encoder.inner, [item for found in lists for item in found], device))
        return [torch.cat([next(flat) for _ in found]) for found in lists]
    found: list[Tensor | None] = [None] * len(items)

    def work(chunk: Chunk) -> None:
        places, batch = chunk
        with torch.no_grad():
            tokens = encoder({name: value.to(device) for name, value in batch.items()})
        values, mask = tokens.values.cpu(), tokens.mask.cpu()
        for row, place in enumerate(places):
            found[place] = values[row][mask[row]].clone()

    workers = torch.get_num_threads() if encoder.heavy and device == "cpu" else 1
    if workers > 1:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, encoder.chunks(items)))
        torch.set_num_threads(workers)  # part of it is set for the whole process
    else:
        list(map(work, encoder.chunks(items)))
    made = [tokens for tokens in found if tokens is not None]
    assert len(made) == len(items), "chunks must hold every item"
    return made
