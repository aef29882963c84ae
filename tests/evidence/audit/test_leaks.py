"""Columns that give the target away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from consilience.evidence.audit import Finding
from consilience.evidence.audit.leaks import CHECKS
from consilience.recipe import setting

Look = Callable[..., list[Finding]]
ROWS = 400
RNG = np.random.default_rng(0)
SCORE = RNG.normal(size=ROWS)
LABELS = ["no" if value < 0 else "yes" for value in SCORE]
BESIDE = [f"{value:.3f}" for value in SCORE + RNG.normal(size=ROWS)]
NUMBERS = [f"{value:.4f}" for value in SCORE]


def said(look: Look, cells: list[Any], target: list[str]) -> list[str]:
    """The kinds that are found in the column "c, d", each gone with its setting."""
    columns = {"beside": BESIDE, "c, d": cells, "y": target}
    found = look(CHECKS, columns, "y")
    for finding in found:
        assert finding.columns == ("c, d",)
        assert finding.setting == "exclude=['c, d']"
        assert look(CHECKS, columns, "y", setting(finding.setting)) == []
        assert look(CHECKS, columns, "y", {"exclude": ["beside"]})[0].setting == "exclude=[beside, 'c, d']"
    return [finding.kind for finding in found]


def test_a_good_column_is_no_leak(look: Look) -> None:
    assert said(look, [f"{value:.3f}" for value in SCORE + RNG.normal(size=ROWS) / 20], LABELS) == []  # 2% wrong
    assert said(look, BESIDE, NUMBERS) == []


@pytest.mark.parametrize("target", [LABELS, NUMBERS])
def test_copies(target: list[str], look: Look) -> None:
    assert said(look, target, target) == ["target-copy"]
    assert said(look, [cell if row % 3 else None for row, cell in enumerate(target)], target) == ["target-copy"]
    assert said(look, [target[0], *target[:-1]], target) == []


def test_numbers_are_copied_however_they_are_written(look: Look) -> None:
    assert said(look, [f"{float(cell):.6e}" for cell in NUMBERS], NUMBERS) == ["target-copy"]


def test_other_names(look: Look) -> None:
    assert said(look, [{"no": "K", "yes": "L"}[label] for label in LABELS], LABELS) == ["target-recoding"]
    assert said(look, [{"no": "7", "yes": "3"}[label] for label in LABELS], LABELS) == ["target-recoding"]
    wrong = [{"no": "K", "yes": "L"}[label] for label in LABELS[:-10]] + ["K", "L"] * 5
    assert said(look, wrong, LABELS) == []


@pytest.mark.parametrize(
    ("function", "how"),
    [(lambda x: 32 + 1.8 * x, "a linear"), (np.exp, "a rising"), (lambda x: -np.exp(x), "a falling")],
)
def test_functions(function: Callable[[float], float], how: str, look: Look) -> None:
    cells = [f"{function(float(cell)):.9g}" for cell in NUMBERS]
    (finding,) = look(CHECKS, {"beside": BESIDE, "c": cells, "y": NUMBERS}, "y")
    assert finding.kind == "target-recoding"
    assert f"'c' is {how} function of the target 'y'" in finding.found


def test_leaks(look: Look) -> None:
    level = np.array([label == "yes" for label in LABELS])
    assert said(look, [f"{10 * one + noise:.3f}" for one, noise in zip(level, RNG.normal(size=ROWS), strict=True)], LABELS) == [
        "target-leak"
    ]
    assert said(look, [f"{'pass' if one else 'fail'}-{row % 7}" for row, one in enumerate(level)], LABELS) == ["target-leak"]
    assert said(look, [f"{value**2:.4f}" if row % 9 else None for row, value in enumerate(SCORE)], NUMBERS) == []
    assert said(
        look, [f"{value + noise / 50:.4f}" for value, noise in zip(SCORE, RNG.normal(size=ROWS), strict=True)], NUMBERS
    ) == ["target-leak"]


def test_a_leak_with_gaps(look: Look) -> None:
    cells = [None if row % 5 == 0 else f"{10 * (label == 'yes') + row / 1000:.3f}" for row, label in enumerate(LABELS)]
    assert said(look, cells, LABELS) == ["target-leak"]


def test_a_word_that_marks_the_class(look: Look) -> None:
    words = [one + two for one in ("ba", "co", "di", "fu", "ge", "li") for two in ("la", "mo", "ne", "pi", "ru", "sa")]
    texts = [" ".join(RNG.choice(words, 20)) for _ in range(ROWS)]
    assert said(look, texts, LABELS) == []
    marked = [f"{text} resolved {text}" if label == "yes" else text for text, label in zip(texts, LABELS, strict=True)]
    assert said(look, marked, LABELS) == ["target-leak"]


def test_the_sentence_leaves_the_judgement_to_people(look: Look) -> None:
    cells = [f"{'pass' if label == 'yes' else 'fail'}-{row % 7}" for row, label in enumerate(LABELS)]
    (finding,) = look(CHECKS, {"beside": BESIDE, "c": cells, "y": LABELS}, "y")
    assert "all but 0.00% of 400 rows right, on rows that did not teach it" in finding.found
    assert finding.found.endswith("if it is known only after the target is, exclude it")
    assert finding.count == 400


def test_few_rows_are_no_proof(look: Look) -> None:
    cells = [f"{10 * (label == 'yes') + row / 1000:.3f}" for row, label in enumerate(LABELS)]
    assert look(CHECKS, {"beside": BESIDE[:190], "c": cells[:190], "y": LABELS[:190]}, "y") == []


def test_labels(look: Look) -> None:
    tags = ["[]" if row % 3 else f'["t{row % 4}", "t{row % 5}"]' for row in range(ROWS)]
    columns = {"beside": BESIDE, "note": tags, "y": tags}
    assert [finding.kind for finding in look(CHECKS, columns, "y", {"task": "multilabel"})] in (["target-copy"], [])
    assert look(CHECKS, {"beside": BESIDE, "y": tags}, "y", {"task": "multilabel"}) == []


def test_without_a_target(look: Look) -> None:
    assert look(CHECKS, {"beside": BESIDE, "y": LABELS}) == []
