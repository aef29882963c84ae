"""A table in a few lines, ready for the audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from consilience import pipeline
from consilience.evidence.audit import Check, Examined, Finding
from consilience.recipe import make_recipe

Look = Callable[..., list[Finding]]


def examined(
    columns: Mapping[str, Sequence[Any]], target: str | None = None, *settings: Mapping[str, Any], root: Path | None = None
) -> Examined:
    """Columns as the audit sees them. `settings` are laid over the recipe in their order."""
    recipe = make_recipe(target, settings=settings)
    table, view = pipeline.opened(columns, None, root, recipe)
    return pipeline.aim(view, recipe, len(view) - len(table))[0]


@pytest.fixture
def seen() -> Callable[..., Examined]:
    return examined


@pytest.fixture
def look() -> Look:
    """`look(CHECKS, columns, target, settings..., root=)`: what those checks find."""

    def find(checks: Sequence[Check], *arguments: Any, **more: Any) -> list[Finding]:
        found = examined(*arguments, **more)
        return [finding for check in checks for finding in check(found)]

    return find
