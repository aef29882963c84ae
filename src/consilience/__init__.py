"""Consilience: one model on everything known about each example, and the proof of what each modality adds.

    import consilience as cs
    run = cs.fit("table.csv", target="label")
    run.predict("new.csv")

Public names are resolved on first use, so that importing the package costs nothing: neither torch nor scikit-learn
is loaded before it is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consilience.data.schema import infer_schema
    from consilience.data.table import read_table
    from consilience.errors import ConsilienceError
    from consilience.estimator import MultimodalClassifier, MultimodalRegressor
    from consilience.evidence.show import show
    from consilience.pipeline import fit, inspect, load
    from consilience.recipe import Recipe
    from consilience.run import Run

__version__ = "0.1.0"

_HOME = {
    "ConsilienceError": "consilience.errors",
    "MultimodalClassifier": "consilience.estimator",
    "MultimodalRegressor": "consilience.estimator",
    "Recipe": "consilience.recipe",
    "Run": "consilience.run",
    "fit": "consilience.pipeline",
    "infer_schema": "consilience.data.schema",
    "inspect": "consilience.pipeline",
    "load": "consilience.pipeline",
    "read_table": "consilience.data.table",
    "show": "consilience.evidence.show",
}

__all__ = [
    "ConsilienceError",
    "MultimodalClassifier",
    "MultimodalRegressor",
    "Recipe",
    "Run",
    "fit",
    "infer_schema",
    "inspect",
    "load",
    "read_table",
    "show",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'consilience' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
