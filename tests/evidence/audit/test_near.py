"""Rows that equal another but for a trifle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from consilience.evidence.audit import Finding
from consilience.evidence.audit.near import CHECKS

Look = Callable[..., list[Finding]]

WORDS = [
    one + two + three
    for one in ("ba", "co", "di", "fu", "ge", "li")
    for two in ("la", "mo", "ne", "pi", "ru")
    for three in ("sa", "te", "vo")
]


def table(count: int = 120, length: int = 60) -> dict[str, list[str]]:
    rng = np.random.default_rng(3)
    return {
        "x": [f"{value:.3f}" for value in rng.normal(size=count)],
        "z": [f"{value:.3f}" for value in rng.normal(size=count)],
        "c": [str(name) for name in rng.choice(["a", "b", "c"], count)],
        "note": [" ".join(rng.choice(WORDS, length)) for _ in range(count)],
        "y": [str(name) for name in rng.choice(["u", "v"], count)],
    }


def copied(columns: dict[str, list[str]], places: Sequence[int], **other: Callable[[str], str]) -> dict[str, list[str]]:
    return {
        name: cells + [other[name](cells[place]) if name in other else cells[place] for place in places]
        for name, cells in columns.items()
    }


def changed(text: str) -> str:
    """One word of it is another one."""
    words = text.split()
    return " ".join([*words[:30], "other", *words[31:]])


def test_nothing_is_said_of_others_or_of_copies(look: Look) -> None:
    assert look(CHECKS, table(), "y") == []
    assert look(CHECKS, copied(table(), range(10)), "y") == []  # those are duplicates


def test_spelling(look: Look) -> None:
    columns = copied(table(), range(5, 10), note=lambda text: text.upper().replace(" ", ",  ") + "!")
    columns["split"] = ["train"] * 110 + ["valid"] * 12 + ["test"] * 3
    (finding,) = look(CHECKS, columns, "y")
    assert (finding.kind, finding.columns, finding.count, finding.rows) == (
        "near-duplicate-rows",
        (),
        5,
        (120, 121, 122, 123, 124),
    )
    assert "5 differ in spelling only; 5 stand in another part" in finding.found
    assert finding.setting == "audit.accept=[near-duplicate-rows]"


def test_a_word_of_a_long_text(look: Look) -> None:
    (finding,) = look(CHECKS, copied(table(), range(5, 10), note=changed), "y")
    assert finding.count == 5  # 57 of 61 pairs of words
    assert "share 90% of the words of 'note'" in finding.found
    assert look(CHECKS, copied(table(length=32), range(5, 10), note=changed), "y") == []  # 29 of 33


def test_texts_alone(look: Look) -> None:
    columns = copied(table(), range(5, 10), note=changed)
    (finding,) = look(CHECKS, {"note": columns["note"], "y": columns["y"]}, "y")
    assert finding.count == 5


def test_one_column(look: Look) -> None:
    (finding,) = look(CHECKS, copied(table(), range(5, 10), x=lambda cell: "9.9"), "y")
    assert finding.count == 5
    assert "5 differ in 'x' only" in finding.found
    two = copied(table(), range(5, 10), x=lambda cell: "9.9", z=lambda cell: "9.8")
    assert look(CHECKS, two, "y") == []


@pytest.mark.parametrize("seed", range(4))
def test_coarse_tables(seed: int, look: Look) -> None:
    rng = np.random.default_rng(seed)
    columns = {name: [str(value) for value in rng.integers(0, 4, 600)] for name in "abcde"}
    columns |= {
        "w": [f"{value:.3f}" for value in rng.normal(size=600)],
        "y": [str(name) for name in rng.choice(["u", "v"], 600)],
    }
    assert look(CHECKS, columns, "y") == []


def test_pictures(look: Look, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(40)]
    for name in names:
        noise = PIL.Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        noise.resize((48, 48), PIL.Image.Resampling.BICUBIC).save(tmp_path / name)
    for number in range(4):
        pixels = np.asarray(PIL.Image.open(tmp_path / names[number])).astype(float)
        PIL.Image.fromarray(np.clip(pixels * 1.02, 0, 255).astype(np.uint8)).save(tmp_path / f"copy{number}.png")
    labels = ["u", "v"] * 20
    assert look(CHECKS, {"photo": names, "y": labels}, "y", root=tmp_path) == []
    columns = {"photo": [*names, *(f"copy{number}.png" for number in range(4))], "y": [*labels, *labels[:4]]}
    (finding,) = look(CHECKS, columns, "y", root=tmp_path)
    assert finding.rows == (40, 41, 42, 43)
    assert "4 have nearly the same 'photo'" in finding.found
    columns["price"] = [f"{value:.2f}" for value in rng.normal(size=44)]  # the rows are others
    assert look(CHECKS, columns, "y", root=tmp_path) == []
