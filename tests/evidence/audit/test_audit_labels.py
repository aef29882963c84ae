"""Targets that are probably wrong, and noise that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from consilience.evidence.audit import Finding
from consilience.evidence.audit.labels import CHECKS, outliers, suspects

Look = Callable[..., list[Finding]]


def classes(rows: int, apart: float, wrong: float, seed: int) -> tuple[dict[str, list[str]], set[int]]:
    """Two clouds of points, and the rows whose class was changed."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    points = rng.normal(size=(rows, 5))
    points[:, :3] += apart / 3**0.5 * label[:, None]
    changed = rng.random(rows) < wrong
    columns = {f"x{j}": [f"{value:.3f}" for value in points[:, j]] for j in range(5)}
    return {**columns, "y": [("no", "yes")[one] for one in np.where(changed, 1 - label, label)]}, set(
        np.flatnonzero(changed).tolist()
    )


@pytest.mark.parametrize("wrong", [0.03, 0.06])
def test_wrong_classes(wrong: float, look: Look) -> None:
    columns, changed = classes(1000, 5.0, wrong, 1)
    (finding,) = look(CHECKS, columns, "y")
    assert (finding.kind, finding.columns, finding.setting) == ("label-errors", ("y",), "audit.accept=[label-errors]")
    assert 0.5 * len(changed) < finding.count <= 1.2 * len(changed)
    assert len(finding.rows) == 10
    assert len(changed & set(finding.rows)) >= 9
    assert "of 1000 rows looked at are probably wrong" in finding.found
    first = finding.rows[0]
    rather = "yes" if columns["y"][first] == "no" else "no"
    assert f"row {first} is {columns['y'][first]!r}, rather {rather!r}" in finding.found


@pytest.mark.parametrize("apart", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("seed", range(2))
def test_overlap_is_no_error(apart: float, seed: int, look: Look) -> None:
    assert look(CHECKS, classes(800, apart, 0.0, seed)[0], "y") == []


@pytest.mark.parametrize("noise", [0.12, 0.2])
def test_noise_everywhere_is_how_the_target_is(noise: float, look: Look) -> None:
    assert look(CHECKS, classes(1000, 4.0, noise, 3)[0], "y") == []


def test_few_rows(look: Look) -> None:
    assert look(CHECKS, classes(199, 5.0, 0.06, 1)[0], "y") == []


def test_wrong_texts(look: Look) -> None:
    rng = np.random.default_rng(0)
    words = [one + two for one in ("ba", "co", "di", "fu", "ge", "li") for two in ("la", "mo", "ne", "pi", "ru", "sa")]
    label = rng.integers(0, 2, 600)
    texts = [" ".join(rng.choice(words[12 * one : 12 * one + 24], 25)) for one in label]
    wrong = set(range(0, 600, 30))
    columns = {"note": texts, "y": [str(1 - one if row in wrong else one) for row, one in enumerate(label)]}
    (finding,) = look(CHECKS, columns, "y")
    assert wrong >= set(finding.rows)
    assert 15 <= finding.count <= 22


def test_wrong_pictures(look: Look, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 240)
    for row, one in enumerate(label):
        pixels = np.clip(100 + 60 * one + rng.normal(0, 15, (8, 8, 3)), 0, 255)
        PIL.Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{row}.png")
    wrong = set(range(0, 240, 24))
    columns = {
        "photo": [f"{row}.png" for row in range(240)],
        "y": [str(1 - one if row in wrong else one) for row, one in enumerate(label)],
    }
    (finding,) = look(CHECKS, columns, "y", root=tmp_path)
    assert wrong == set(finding.rows)


def numbers(rows: int, seed: int) -> tuple[dict[str, list[str]], np.ndarray]:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(rows, 4))
    return {f"x{j}": [f"{value:.3f}" for value in points[:, j]] for j in range(4)}, points.sum(1)


def test_far_numbers(look: Look) -> None:
    columns, score = numbers(500, 0)
    target = score + np.random.default_rng(1).normal(size=500) / 2
    target[[7, 77, 377]] += [20, -30, 25]
    (finding,) = look(CHECKS, columns | {"y": [f"{value:.3f}" for value in target]}, "y")
    assert (finding.kind, finding.count, finding.rows) == ("target-outliers", 3, (77, 377, 7))
    assert finding.setting == "audit.accept=[target-outliers]"


def test_numbers_with_a_wrong_unit(look: Look) -> None:
    columns, score = numbers(500, 0)
    target = np.exp(score / 3 + np.random.default_rng(1).normal(size=500) / 5)
    plain = columns | {"y": [f"{value:.4f}" for value in target]}
    assert look(CHECKS, plain, "y") == []
    target[[7, 77, 377]] *= 1000
    (finding,) = look(CHECKS, columns | {"y": [f"{value:.4f}" for value in target]}, "y")
    assert set(finding.rows) == {7, 77, 377}


@pytest.mark.parametrize("seed", range(3))
def test_heavy_tails(seed: int, look: Look) -> None:
    columns, score = numbers(1000, seed)
    target = score + np.random.default_rng(seed).standard_t(3, 1000)
    assert look(CHECKS, columns | {"y": [f"{value:.3f}" for value in target]}, "y") == []


def overlapping(rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two classes, and classes drawn from the probabilities that they stand for; a fifth is in doubt."""
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 4, rows)
    return np.stack([np.zeros(rows), odds], axis=1), (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int64)


def test_rows_that_are_too_improbable() -> None:
    scores, right = overlapping()
    assert (scores.argmax(1) != right).mean() > 0.08  # so that the depth of the wrong ones is not asked
    assert len(suspects(scores, right)) == 0
    given = right.copy()
    given[:80] = 1 - given[:80]
    found = suspects(scores, given)
    assert len(found) >= 8
    assert (found < 80).mean() >= 0.8
    surest = np.abs(scores[found, 1])
    assert (np.diff(surest) <= 0).all()
    wrong = np.arange(4000) % 7 == 0  # a seventh is noise, not errors
    assert len(suspects(scores, np.where(wrong, 1 - right, right))) == 0


def test_rows_that_are_as_deep() -> None:
    label = np.arange(1000) % 2
    scores = np.zeros((1000, 2))
    scores[np.arange(1000), label] = 4.0  # told alike, so that errors are no less probable than they should be
    given = label.copy()
    given[[3, 8, 500, 900]] = 1 - given[[3, 8, 500, 900]]
    assert suspects(scores, given).tolist() == [3, 8, 500, 900]
    assert len(suspects(scores, label)) == 0
    scores[[3, 8, 500, 900]] *= 0.4  # near the edge, where classes meet
    assert len(suspects(scores, given)) == 0


def test_a_class_that_is_not_told_is_not_suspected() -> None:
    """Ten of a rare class that look like the others."""
    given = np.zeros(1000, np.int64)
    given[:10] = 1
    scores = np.tile([6.0, 0.0], (1000, 1))
    assert len(suspects(scores, given)) == 0


def test_outliers() -> None:
    rng = np.random.default_rng(0)
    even = rng.normal(size=1000)
    assert len(outliers(even)) == 0
    even[[3, 4]] = [15.0, -20.0]
    assert outliers(even).tolist() == [4, 3]
    assert len(outliers(rng.standard_cauchy(1000))) == 0
