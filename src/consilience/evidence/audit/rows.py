"""Rows that repeat each other.

In a table of a few coarse columns equal rows are nothing to report, so how many there would be by chance is estimated
(`by_chance`) and only more than `BEYOND` times as many are. Rows without any filled input are left to other checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

import numpy as np

from consilience.evidence.audit import near, quick, sides
from consilience.evidence.audit.contents import contents
from consilience.evidence.audit.finding import Check, Examined, Finding

KINDS: Mapping[str, str] = {
    "duplicate-rows": "rows that equal an earlier row in every input and in the target",
    "contradictory-rows": "rows whose inputs are equal but whose targets differ",
    "duplicates-across-parts": "rows of valid or test whose inputs equal those of a row of another part",
    **near.KINDS,
    **sides.KINDS,
}

PARTS = ("train", "valid", "test")


def repeats(examined: Examined) -> Iterator[Finding]:
    """Equal rows: duplicates, contradictions, and copies on both sides of a split."""
    whole, columns = whole_rows(examined)
    again, group = np.unique(whole, return_inverse=True)
    del again
    ...
