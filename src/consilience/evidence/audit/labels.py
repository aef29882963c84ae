"""Targets that are probably wrong. (Being written.)"""

from __future__ import annotations

from collections.abc import Mapping

from consilience.evidence.audit.finding import Check

KINDS: Mapping[str, str] = {
    "label-errors": "rows whose class is one that the other rows say is all but impossible, more than chance explains",
    "target-outliers": "rows whose number is further from what the other rows say than any tail explains",
}

CHECKS: tuple[Check, ...] = ()
