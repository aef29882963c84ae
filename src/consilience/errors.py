"""One error for everything a user can mend: what was found, what was expected, what to do.

Invariants of our own are `assert`s; whatever a user can cause is a `ConsilienceError`. Checks collect their problems
and raise once, so that a person mends a recipe or a table in one go.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `found` is a full sentence part, `do` an instruction."""

    found: str
    expected: str = ""
    do: str = ""

    def __str__(self) -> str:
        lines = [self.found]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.do:
            lines.append(f"  do: {self.do}")
        return "\n".join(lines)


class ConsilienceError(ValueError):
    """Raised for bad input. Carries every problem that was found, not only the first."""

    def __init__(self, *problems: Problem) -> None:
        assert problems, "an error states at least one problem"
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


def fail(found: str, expected: str = "", do: str = "") -> ConsilienceError:
    """An error with a single problem, to be raised by the caller."""
    return ConsilienceError(Problem(found, expected, do))


def raise_all(problems: Iterable[Problem]) -> None:
    """Raise one error with all `problems`, or return when there is none."""
    problems = tuple(problems)
    if problems:
        raise ConsilienceError(*problems)


def nearest(name: str, valid: Iterable[str]) -> str:
    """An instruction that names the valid name closest to `name`, or all of them where none is close."""
    names = sorted(valid)
    lowered = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f"did you mean {lowered[close[0]]!r}?"
    if not names:
        return "there is none to choose from"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"choose one of: {shown}"
