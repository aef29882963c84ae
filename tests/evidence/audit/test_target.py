"""The target and the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from consilience.evidence.audit import Finding
from consilience.evidence.audit.target import CHECKS

Look = Callable[..., list[Finding]]


def said(look: Look, target: Sequence[Any], *settings: dict[str, Any], **more: list[str]) -> list[tuple[str, int, str]]:
    made = {"size": [f"{1 + row * 0.37:.2f}" for row in range(len(target))], **more, "y": list(target)}
    return [(finding.kind, finding.count, finding.setting) for finding in look(CHECKS, made, "y", *settings)]


def test_nothing_wrong(look: Look) -> None:
    assert said(look, ["yes", "no"] * 100) == []
    assert said(look, [f"{row * 0.37:.2f}" for row in range(200)]) == []
    assert look(CHECKS, {"size": ["1.5", "2.5"] * 100}) == []  # no target is no fault


def test_empty_targets(look: Look) -> None:
    cells = [None, " ", *["yes", "no"] * 100]
    assert said(look, cells) == [("unlabelled-rows", 2, "split.unlabelled=exclude")]
    assert said(look, cells, {"split": {"unlabelled": "exclude"}}) == []


def test_one_class(look: Look) -> None:
    assert said(look, ["yes"] * 200) == [("one-class", 200, "audit.accept=['one-class:y']")]


def test_classes_of_few_rows(look: Look) -> None:
    assert said(look, ["a", "b"] * 100 + ["c"] * 4) == [("rare-classes", 4, "audit.accept=['rare-classes:y']")]
    assert said(look, ["a", "b"] * 100 + ["c"] * 5) == []


def test_imbalance(look: Look) -> None:
    expected = [("class-imbalance", 6, "task={kind: classification, class_weight: balanced}")]
    assert said(look, ["a"] * 600 + ["b"] * 6) == expected
    assert said(look, ["a"] * 599 + ["b"] * 6) == []
    assert said(look, ["a"] * 600 + ["b"] * 6, {"task": {"kind": "classification", "class_weight": "balanced"}}) == []
    assert said(look, ["a"] * 300 + ["b"] * 3, {"audit": {}})[0][0] == "rare-classes"  # what is rarer is said first, and alone


def test_few_numbers_as_a_quantity(look: Look) -> None:
    halves = [f"{1 + row % 5 / 2}" for row in range(200)]
    assert said(look, halves) == [("few-valued-target", 200, "task=classification")]
    assert said(look, halves, {"task": "regression"}) == []  # the recipe says what it is
    assert said(look, [f"{row % 11 / 2}" for row in range(400)]) == []
    assert "few-valued-target" not in [kind for kind, _, _ in said(look, halves[:99])]  # 20 rows a value are asked for


def test_numbers_as_classes(look: Look) -> None:
    counts = [str(row % 21) for row in range(2100)]
    assert said(look, counts) == [("number-classes", 2100, "task=regression")]
    assert said(look, [str(row % 20) for row in range(2100)]) == []
    assert said(look, counts, {"task": "classification"}) == []


def test_a_skewed_target(look: Look) -> None:
    values = [f"{np.exp(0.03 * row):.3f}" for row in range(300)]  # to e^9, the middle e^4.5
    assert said(look, values) == [("skewed-target", 3, "task={kind: regression, log: true}")]  # of 300, three are over 99%
    assert said(look, values, {"task": {"kind": "regression", "log": True}}) == []
    assert said(look, [f"{float(value) - 50:.3f}" for value in values]) == []  # negative numbers have no logarithm


def test_parts_that_lack_a_class(look: Look) -> None:
    parts = ["train"] * 120 + ["valid"] * 40 + ["test"] * 40
    classes = [["a", "b", "c"][row % 3] if row < 160 else "ab"[row % 2] for row in range(200)]
    assert [kind for kind, _, _ in said(look, classes, split=parts)] == ["class-missing-in-part"]
    few = [f"{'c' if row < 4 else 'ab'[row % 2]}" for row in range(200)]
    assert [kind for kind, _, _ in said(look, few, split=parts)] == ["rare-classes"]  # it can hardly be in all of them
    made = {"size": [f"{row * 0.37:.2f}" for row in range(200)], "split": parts, "y": classes}
    (found,) = look(CHECKS, made, "y")
    assert "no row of the test part is of 'c' (53)" in found.found


def test_small_parts(look: Look) -> None:
    parts = ["train"] * 136 + ["valid"] * 40 + ["test"] * 24
    assert said(look, ["yes", "no"] * 100, split=parts) == [("small-part", 24, "audit.accept=[small-part]")]
    assert said(look, ["yes", "no"] * 100, split=["train"] * 135 + ["valid"] * 40 + ["test"] * 25) == []
    assert said(look, ["yes", "no"] * 100, {"split": {"test": 0}}) == []
