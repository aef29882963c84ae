"""Clean tables to plant faults into: numbers of several shapes, categories, dates, texts, pictures, and a target that
depends on them moderately, drawn from a seed.

Nothing in them is wrong on purpose: cells are missing at random, categories are of one spelling, no column numbers the rows.
Cells are strings, as a CSV has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image

Kind = Literal["two", "many", "number"]
KINDS: tuple[Kind, ...] = ("two", "many", "number")

Cells = list[str | None]

SYLLABLES = ("ba", "con", "di", "fer", "gu", "lam", "mo", "nel", "pri", "ros", "su", "tin", "vel", "wo", "zan")
NUMBERS = ("height", "income", "pressure", "speed", "visits", "years", "distance", "share")
CATEGORIES = {
    "colour": ("red", "green", "blue", "white"),
    "region": ("north", "south", "east", "west", "middle"),
    "member": ("yes", "no"),
    "shape": ("round", "square", "oval"),
}
CLASSES = ("oak", "elm", "ash", "fir", "yew")


@dataclass(frozen=True, eq=False)
class Made:
    """A table, and what there is to know about it. `score` is what the target was made of, without noise."""

    columns: dict[str, Cells]
    score: np.ndarray
    folder: Path
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    settings: tuple[dict[str, Any], ...] = ()
    target: str = field(default="answer")

    @property
    def rows(self) -> int:
        return len(self.score)

    def put(self, **columns: Cells) -> Made:
        """With columns added or replaced; the target stays the last one."""
        made = self.columns | columns
        return replace(self, columns={name: made[name] for name in sorted(made, key=lambda name: name == self.target)})

    def rename(self, old: str, new: str) -> Made:
        return replace(self, columns={new if name == old else name: cells for name, cells in self.columns.items()})

    def take(self, rows: np.ndarray) -> Made:
        """These rows, in this order."""
        columns = {name: [cells[row] for row in rows.tolist()] for name, cells in self.columns.items()}
        return replace(self, columns=columns, score=self.score[rows])

    def change(self, column: str, rows: np.ndarray, to: Any) -> Made:
        """With other cells in some rows: `to` of the cell that is there."""
        cells = list(self.columns[column])
        for row in rows.tolist():
            cells[row] = to(cells[row])
        return self.put(**{column: cells})


def clean(
    seed: int,
    folder: Path,
    kind: Kind | None = None,
    pictures: bool | None = None,
    texts: bool | None = None,
    noise: float = 1.0,
    gaps: bool = True,
    least: int = 200,
    most: int = 2000,
) -> Made:
    """A table of `least` to `most` rows. What is None is drawn; `noise` in deviations of the score; `gaps`: are
    cells missing?"""
    rng = np.random.default_rng([seed, 77])
    rows = int(rng.integers(least, max(least, most) + 1))
    kind = kind or KINDS[int(rng.integers(len(KINDS)))]
    pictures = bool(rng.random() < 0.25) if pictures is None else pictures
    texts = bool(rng.random() < 0.6) if texts is None else texts
    columns: dict[str, Cells] = {}
    score = np.zeros(rows)
    if rng.random() < 0.5:
        columns["id"] = [f"R{number:05d}" for number in rng.permutation(rows)]
    names = tuple(str(name) for name in rng.choice(NUMBERS, int(rng.integers(4, 7)), replace=False))
    for name in names:
        plain, columns[name] = number(name, rows, rng)
        score += rng.uniform(0.3, 1.0) * rng.choice((-1, 1)) * (plain - plain.mean()) / plain.std()
    chosen = tuple(str(name) for name in rng.choice(list(CATEGORIES), 2, replace=False))
    for name in chosen:
        code = rng.choice(len(CATEGORIES[name]), rows, p=rng.dirichlet(np.full(len(CATEGORIES[name]), 8.0)))
        columns[name] = [CATEGORIES[name][place] for place in code]
        score += rng.normal(0, 0.7, len(CATEGORIES[name]))[code]
    days = rng.integers(0, 3000, rows)
    columns["joined"] = [str(date(2014, 3, 1) + timedelta(days=int(day))) for day in days]
    if texts:
        columns["note"] = sentences(score, rng)
    if pictures:
        columns["photo"] = photos(score, folder, rng)
    for cells in columns.values():
        if cells is not columns.get("id"):
            lost = rng.random(rows) < gaps * rng.choice((0.0, 0.0, 0.03, 0.1))
            cells[:] = [None if gone else cell for gone, cell in zip(lost, cells, strict=True)]
    score = (score - score.mean()) / score.std()
    columns["answer"] = answers(kind, score + noise * rng.normal(size=rows), rng)
    return Made(columns, score, folder, names, chosen)


def number(name: str, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, Cells]:
    """A column of numbers in the shape that its name asks for, as numbers that count and as they are written."""
    if name == "income":
        values = np.round(np.exp(rng.normal(10, 0.6, rows)), 2)
        return np.log(values), [f"{value:.2f}" for value in values]
    if name == "visits":
        values = rng.poisson(rng.uniform(2, 12), rows).astype(float)
        return values, [f"{value:.0f}" for value in values]
    if name == "years":
        values = np.clip(np.round(rng.normal(45, 15, rows)), 18, 95)
        return values, [f"{value:.0f}" for value in values]
    if name == "share":
        values = rng.beta(2, 3, rows)
        return values, [f"{value:.4f}" for value in values]
    if name == "distance":
        values = rng.gamma(2.0, 30.0, rows)
        return np.sqrt(values), [f"{value:.1f}" for value in values]
    centre, spread = {"height": (170.0, 9.0), "pressure": (0.0, 4.0), "speed": (60.0, 14.0)}[name]
    values = rng.normal(centre, spread, rows)
    return values, [f"{value:.2f}" for value in values]


def words(rng: np.random.Generator, count: int) -> list[str]:
    return sorted({"".join(rng.choice(SYLLABLES, int(size))) for size in rng.integers(1, 4, 2 * count)})[:count]


def sentences(score: np.ndarray, rng: np.random.Generator) -> Cells:
    """Words that are a bit more frequent where the score is high, or low."""
    known = words(rng, 240)
    order = rng.permutation(len(known))
    texts: Cells = []
    for value in score:
        size = int(np.clip(rng.lognormal(2.4, 0.5), 4, 60))
        place = (rng.beta(1.2, 1.2, size) + 0.05 * np.tanh(value)).clip(0, 0.999)
        chosen = [known[order[int(spot * len(known))]] for spot in place]
        texts.append(" ".join(chosen).capitalize() + ".")
    return texts


def photos(score: np.ndarray, folder: Path, rng: np.random.Generator) -> Cells:
    """A picture a row, a bit brighter where the score is high, below `folder`/photos."""
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    names = [f"photos/{number:04d}.png" for number in rng.permutation(len(score))]
    for name, value in zip(names, score, strict=True):
        level = 120 + 10 * np.tanh(value) + 20 * rng.normal()
        pixels = level + 25 * rng.normal(size=(12, 12, 3)) + np.linspace(-30, 30, 12)[:, None, None] * rng.normal()
        PIL.Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name)
    return list(names)


def answers(kind: Kind, noisy: np.ndarray, rng: np.random.Generator) -> Cells:
    """The target: a number, or the stretch of the noisy score that a row is in."""
    if kind == "number":
        return [f"{50 + 12 * value:.3f}" for value in noisy]
    names = ("no", "yes") if kind == "two" else CLASSES[: int(rng.integers(3, 6))]
    edges = np.quantile(noisy, np.cumsum(rng.dirichlet(np.full(len(names), 6.0)))[:-1])
    return [names[place] for place in np.searchsorted(edges, noisy)]
