"""Large arrays of a run, kept once by their content, whoever holds them: predictors share encoders and pretrained weights.

FOLDER/<digest>.safetensors    one array, named by a digest of its type, shape and bytes
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from consilience.errors import fail

LARGE = 1 << 18
"""Bytes from which on an array is worth a file of its own."""

_NAME = re.compile(r"[0-9a-f]{64}")


def apart(arrays: Mapping[str, np.ndarray], folder: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Keep the large ones in `folder`; the small ones, and by name the digests of the large ones."""
    small, large = {}, {}
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        if array.nbytes < LARGE:
            small[name] = array
            continue
        large[name] = digest = _digest(array)
        path = folder / f"{digest}.safetensors"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(save({"array": array}))
    return small, large


def together(small: Mapping[str, np.ndarray], large: Any, folder: Path) -> dict[str, np.ndarray]:
    """What `apart` was given. Raises ConsilienceError where a file holds another array than its name says."""
    if not isinstance(large, dict) or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in large.values()):
        raise fail("a predictor does not say which arrays it has", "names and digests", "train the run again")
    found = dict(small)
    for name, digest in large.items():
        path = folder / f"{digest}.safetensors"
        found[name] = load_file(path)["array"]
        if _digest(found[name]) != digest:
            raise fail(f"{path} is damaged", "the array that its name stands for", "take an undamaged copy of the run")
    return found


def _digest(array: np.ndarray) -> str:
    found = hashlib.blake2b(f"{array.dtype.str} {array.shape} ".encode(), digest_size=32)
    found.update(array.data)
    return found.hexdigest()
