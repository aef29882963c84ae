"""The audit: what is wrong with a table, or looks as if it were, found before anything is trained on it."""

from __future__ import annotations

from consilience.evidence.audit.finding import Check, Examined, Finding

__all__ = ["Check", "Examined", "Finding", "audit"]

CHECKS: tuple[Check, ...] = ()


def audit(examined: Examined) -> list[Finding]:
    """Every finding that the recipe does not accept, in the order of the checks."""
    return [finding for check in CHECKS for finding in check(examined)]
