"""The audit: what is wrong with a table, or looks as if it were, found before anything is trained on it.

A finding is worth a person's time or it is none: thresholds are such that a clean table has no finding, and where chance
decides, a test with a very small error does. Columns that the recipe excludes are not looked at. Of a large table, rows drawn
evenly over it are looked at, and the finding says of how many it speaks.
"""

from __future__ import annotations

from collections.abc import Mapping

from consilience.errors import Problem, nearest, raise_all
from consilience.evidence.audit import columns, files, labels, leaks, rows, target, values
from consilience.evidence.audit.finding import Check, Examined, Finding

__all__ = ["CHECKS", "KINDS", "Check", "Examined", "Finding", "audit"]

_MODULES = (columns, values, files, rows, target, leaks, labels)

CHECKS: tuple[Check, ...] = tuple(check for module in _MODULES for check in module.CHECKS)

KINDS: Mapping[str, str] = {kind: meaning for module in _MODULES for kind, meaning in module.KINDS.items()}
"""Every kind of finding, and what it means."""


def audit(examined: Examined) -> list[Finding]:
    """Every finding that the recipe does not accept, in the order of the checks.

    Raises ConsilienceError where `audit.accept` names a kind or a column that does not exist.
    """
    kinds, pairs = _accepted(examined)
    return [
        finding
        for check in CHECKS
        for finding in check(examined)
        if finding.kind not in kinds and not any((finding.kind, column) in pairs for column in finding.columns)
    ]


def _accepted(examined: Examined) -> tuple[set[str], set[tuple[str, str]]]:
    """The kinds, and the pairs of kind and column, that the recipe accepts."""
    kinds: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    problems: list[Problem] = []
    names = examined.view.table.names
    for entry in examined.recipe.audit.accept:
        kind, colon, column = entry.partition(":")
        if kind not in KINDS:
            problems.append(Problem(f"audit.accept names {kind!r}", "a kind of finding", nearest(kind, KINDS)))
        elif colon and column not in names:
            problems.append(
                Problem(f"audit.accept names the column {column!r}", "a column of the table", nearest(column, names))
            )
        elif colon:
            pairs.add((kind, column))
        else:
            kinds.add(kind)
    raise_all(problems)
    return kinds, pairs
