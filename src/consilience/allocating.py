"""A bound on what may be allocated while something is built as a file says that may come from a stranger.

The sizes of a network stand in the configuration that was saved with it. A few changed digits there would ask for more memory
than there is, before anything shows that the weights do not fit: so that the sizes are held against the weights first.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from consilience.errors import fail

SLACK = 1 << 24
"""Numbers that may be made beside those that were saved: tables of positions, windows, what is computed once."""

_MAKERS = {
    "empty",
    "zeros",
    "ones",
    "full",
    "rand",
    "randn",
    "randint",
    "normal",
    "new_empty",
    "new_zeros",
    "new_ones",
    "new_full",
}


class Allocating(TorchDispatchMode):
    """While it is entered, new tensors of more than `numbers` numbers in all raise ConsilienceError, before there is one."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.most = self.left = 2 * numbers + SLACK  # twice, because weights are made at random before they are replaced

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in _MAKERS:
            sizes = [arg for arg in args if isinstance(arg, list | tuple | torch.Size)]
            self.left -= math.prod(sizes[0]) if sizes else 0
            if self.left < 0:
                raise fail(
                    f"the configuration asks for more than {self.most} numbers", "the sizes of the weights that were saved"
                )
        return func(*args, **(kwargs or {}))
