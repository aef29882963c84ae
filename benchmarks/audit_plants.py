"""Faults that are planted into clean tables: for each the kind of finding that names it, and what a table must have for it."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from audit_tables import Cells, Made, clean

Planting = Callable[[Made, np.random.Generator], tuple[Made, str | None]]
"""(clean table, generator) -> the table with the fault, and the column that it is in; None where it is in no one column."""


@dataclass(frozen=True)
class Plant:
    """A fault. `needs` are what `clean` is told, so that there is something to plant it into."""

    kind: str
    plant: Planting
    needs: dict[str, Any] = field(default_factory=dict)

    def into(self, seed: int, folder: Path) -> tuple[Made, str | None]:
        """The table of that seed with the fault in it."""
        made = clean(seed, folder, **self.needs)
        return self.plant(made, np.random.default_rng([seed, 78]))


def some(made: Made, rng: np.random.Generator, share: float = 0.05, column: str | None = None, least: int = 4) -> np.ndarray:
    """Rows at random, at least `least`; of those in which something stands, where a column is named."""
    rows = np.arange(made.rows) if column is None else np.flatnonzero([cell is not None for cell in made.columns[column]])
    return np.sort(rng.choice(rows, max(least, round(share * made.rows)), replace=False))


def cell_plant(kind: str, name: str, make: Callable[[Made, np.random.Generator], Cells], **needs: Any) -> Plant:
    """A column of its own that is faulty throughout."""
    return Plant(kind, lambda made, rng: (made.put(**{name: make(made, rng)}), name), needs)


def spoil(
    kind: str, pick: Callable[[Made], str], to: Callable[[Any, np.random.Generator], Any], share: float = 0.04, **needs: Any
):
    """Some cells of a column that is there."""

    def plant(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
        column = pick(made)
        return made.change(column, some(made, rng, share, column), lambda cell: to(cell, rng)), column

    return Plant(kind, plant, needs)


def number(made: Made) -> str:
    """A column of numbers that are not whole, if there is one."""
    return next((name for name in made.numbers if name not in ("visits", "years")), made.numbers[0])


def category(made: Made) -> str:
    return made.categories[0]


def lognormal(made: Made, rng: np.random.Generator, middle: float = 8.0) -> np.ndarray:
    return np.exp(rng.normal(middle, 0.5, made.rows))


def days(made: Made, rng: np.random.Generator) -> list[date]:
    return [date(2016, 1, 1) + timedelta(days=int(day)) for day in rng.integers(0, 2000, made.rows)]


def duplicate_columns(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    return made.put(size_2=list(made.columns[made.numbers[0]])), "size_2"


def alike_names(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    name = f"{made.numbers[0].capitalize()} "
    return made.put(**{name: [f"{value:.2f}" for value in rng.normal(5, 2, made.rows)]}), name


def header_rows(made: Made, rng: np.random.Generator) -> tuple[Made, None]:
    """As in files that were joined end to end; the target's cell says so, too."""
    for row in (made.rows // 3, made.rows // 2):
        for name in made.columns:
            made = made.change(name, np.array([row]), lambda _, name=name: name)
    return made, None


def no_input(made: Made, rng: np.random.Generator) -> tuple[Made, None]:
    rows = some(made, rng, 0.01)
    for name in made.columns.keys() - {"answer", "id"}:
        made = made.change(name, rows, lambda _: None)
    return made, None


def nearly_constant(made: Made, rng: np.random.Generator) -> Cells:
    cells: Cells = ["EU"] * made.rows
    cells[int(rng.integers(made.rows))] = "US"
    return cells


def mixed_numbers(to: Callable[[str], str], share: float = 0.04) -> Planting:
    def plant(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
        column = number(made)
        return made.change(column, some(made, rng, share, column), to), column

    return plant


def outliers(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    """Grams where kilograms were meant."""
    made = made.put(mass=[f"{value:.2f}" for value in rng.normal(70, 12, made.rows)])
    return made.change("mass", some(made, rng, 0.01), lambda cell: f"{1000 * float(cell):.0f}"), "mass"


def zeros(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    made = made.put(glucose=[f"{value:.0f}" for value in rng.normal(120, 12, made.rows)])
    return made.change("glucose", some(made, rng, 0.03), lambda _: "0"), "glucose"


def minus_one(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    made = made.put(seniority=[str(value) for value in rng.integers(18, 80, made.rows)])
    return made.change("seniority", some(made, rng, 0.03), lambda _: "-1"), "seniority"


def dates_with(to: Callable[[Any, np.random.Generator], str], share: float, kind: str) -> Plant:
    """Some cells of the column of dates that every table has."""
    return spoil(kind, lambda made: "joined", to, share)


def spelled(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    column = category(made)
    return made.change(column, some(made, rng, 0.04, column), str.upper), column


def unicode_form(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    cells = [str(name) for name in rng.choice(["café", "bistro", "bar"], made.rows)]
    made = made.put(place=list(cells))
    rows = np.flatnonzero([cell == "café" for cell in cells])[:5]
    return made.change("place", rows, lambda cell: unicodedata.normalize("NFD", cell)), "place"


def noted(made: Made, rng: np.random.Generator, to: Callable[[str], str], share: float = 0.03) -> tuple[Made, str]:
    return made.change("note", some(made, rng, share, "note"), to), "note"


def cut(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    """At the length that a third of the texts reach."""
    lengths = sorted(len(cell) for cell in made.columns["note"] if cell is not None)
    limit = lengths[len(lengths) * 2 // 3]
    rows = np.flatnonzero([cell is not None for cell in made.columns["note"]])
    return made.change("note", rows, lambda cell: cell[:limit]), "note"


def files_gone(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    for row in some(made, rng, 0.02, "photo").tolist():
        (made.folder / str(made.columns["photo"][row])).unlink()
    return made, "photo"


def files_outside(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    return made.change("photo", some(made, rng, 0.02, "photo"), lambda cell: f"../{cell}"), "photo"


def file_case(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    return made.change("photo", some(made, rng, 0.02, "photo"), lambda cell: cell.replace(".png", ".PNG")), "photo"


def files_of(content: bytes | None) -> Planting:
    """Files with that content, or with half of what is in them."""

    def plant(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
        for row in some(made, rng, 0.02, "photo").tolist():
            path = made.folder / str(made.columns["photo"][row])
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2] if content is None else content)
        return made, "photo"

    return plant


def odd_endings(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    rows = some(made, rng, 0.01, "photo")
    for row in rows.tolist():
        path = made.folder / str(made.columns["photo"][row])
        path.rename(path.with_suffix(".bmp"))
    return made.change("photo", rows, lambda cell: cell.replace(".png", ".bmp")), "photo"


def answered(made: Made, cells: Cells) -> tuple[Made, str]:
    return made.put(answer=cells), "answer"


def rare(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    return made.change("answer", some(made, rng, 0.0, least=2), lambda _: "larch"), "answer"


def imbalance(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    """The highest scores are the other class, a few of a hundred rows each."""
    count = max(5, made.rows // 120)
    high = np.argsort(-made.score + rng.normal(size=made.rows))[:count]
    cells: Cells = ["healthy"] * made.rows
    for row in high.tolist():
        cells[row] = "ill"
    return answered(made, cells)


def parts(made: Made, rng: np.random.Generator, counts: tuple[float, float]) -> Made:
    """A column that says the part of each row: shares of valid and test."""
    drawn = rng.random(made.rows)
    valid, test = counts
    return made.put(split=["valid" if one < valid else "test" if one < valid + test else "train" for one in drawn])


def lacking(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    """The test part has no row of the last class."""
    made = parts(made, rng, (0.2, 0.2))
    last = sorted({str(cell) for cell in made.columns["answer"]})[-1]
    rows = np.flatnonzero([cell == last for cell in made.columns["answer"]])
    return made.change("split", rows, lambda cell: "train" if cell == "test" else cell), "answer"


def small_part(made: Made, rng: np.random.Generator) -> tuple[Made, None]:
    made = parts(made, rng, (0.2, 0.0))
    rows = some(made, rng, 0.0, least=12)
    return made.change("split", rows, lambda _: "test"), None


def few_values(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    steps = np.digitize(made.score + rng.normal(size=made.rows), [-1.2, -0.4, 0.4, 1.2])
    return answered(made, [f"{1 + step / 2:.1f}" for step in steps])


def many_numbers(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    """Points out of 26, in so many rows that they look like classes."""
    return answered(made, [str(value) for value in rng.binomial(26, 1 / (1 + np.exp(-made.score)))])


def skewed(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    return answered(made, [f"{value:.2f}" for value in np.exp(5 + 1.3 * made.score + 1.3 * rng.normal(size=made.rows))])


def duplicate_rows(made: Made, rng: np.random.Generator) -> tuple[Made, None]:
    rows = np.concatenate([np.arange(made.rows), some(made, rng, 0.03, least=8)])
    return made.take(rng.permutation(rows)), None


def contradictory(made: Made, rng: np.random.Generator) -> tuple[Made, None]:
    rows = some(made, rng, 0.03, least=8)
    labels = sorted({str(cell) for cell in made.columns["answer"]})
    made = made.take(np.concatenate([np.arange(made.rows), rows]))
    copies = np.arange(made.rows - len(rows), made.rows)
    return made.change("answer", copies, lambda cell: labels[(labels.index(cell) + 1) % len(labels)]), None


def near_duplicates(made: Made, rng: np.random.Generator) -> tuple[Made, None]:
    """Copies with another spelling of the text and one number changed in nothing."""
    rows = some(made, rng, 0.04, "note", least=8)
    made = made.take(np.concatenate([np.arange(made.rows), rows]))
    copies = np.arange(made.rows - len(rows), made.rows)
    return made.change("note", copies, lambda cell: cell.upper().replace(".", "!")), None


def copied_files(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    """The bytes of one picture under the name of another."""
    rows = some(made, rng, 0.06, "photo", least=24)
    for one, two in zip(rows[::2].tolist(), rows[1::2].tolist(), strict=False):
        shutil.copy(made.folder / str(made.columns["photo"][one]), made.folder / str(made.columns["photo"][two]))
    return made, "photo"


def placeholder(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    rows = some(made, rng, 0.08, "photo", least=30)
    name = made.columns["photo"][int(rows[0])]
    return made.change("photo", rows, lambda _: name), "photo"


def grouped(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    count = made.rows // 8
    return made.put(patient_id=[f"P{code:03d}" for code in rng.integers(0, count, made.rows)]), "patient_id"


def grouped_in_parts(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    return grouped(parts(made, rng, (0.2, 0.2)), rng)


def timed(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    """The score rises over the years, and with it the target; the tables' own date goes."""
    late = 0.8 * made.score + 0.6 * rng.normal(size=made.rows)
    made = made.put(joined=[str(date(2018, 1, 1) + timedelta(days=int(day))) for day in 800 + 300 * late])
    return made, "joined"


def copy(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    return made.put(outcome=list(made.columns["answer"])), "outcome"


def recoding(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    labels = sorted({str(cell) for cell in made.columns["answer"]})
    return made.put(group_code=["KLMNPQ"[labels.index(str(cell))] for cell in made.columns["answer"]]), "group_code"


def leak(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    """A number that was written down once the class was known."""
    labels = sorted({str(cell) for cell in made.columns["answer"]})
    level = np.array([labels.index(str(cell)) for cell in made.columns["answer"]])
    return made.put(dose_given=[f"{value:.3f}" for value in 10 * level + rng.normal(size=made.rows)]), "dose_given"


def telling_names(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    cells: Cells = []
    for cell, label in zip(made.columns["photo"], made.columns["answer"], strict=True):
        if cell is not None:
            path = made.folder / "photos" / str(label) / Path(cell).name
            path.parent.mkdir(exist_ok=True)
            (made.folder / cell).rename(path)
        cells.append(None if cell is None else f"photos/{label}/{Path(cell).name}")
    return made.put(photo=cells), "photo"


def telling_gaps(made: Made, rng: np.random.Generator) -> tuple[Made, str]:
    """A measurement that is mostly taken of one class."""
    label = sorted({str(cell) for cell in made.columns["answer"]})[0]
    chance = np.where([cell == label for cell in made.columns["answer"]], 0.9, 0.15)
    cells = [f"{value:.2f}" if one < share else None for value, one, share in zip(*draws(made, rng), chance, strict=True)]
    return made.put(biopsy=cells), "biopsy"


def draws(made: Made, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(5, 1, made.rows), rng.random(made.rows)


def in_order(made: Made, rng: np.random.Generator) -> tuple[Made, None]:
    return made.take(np.argsort([str(cell) for cell in made.columns["answer"]], kind="stable")), None


def wrong_labels(made: Made, rng: np.random.Generator) -> tuple[Made, None]:
    """Of classes that are easily told."""
    other = {"yes": "no", "no": "yes"}
    return made.change("answer", some(made, rng, 0.03, least=8), lambda cell: other[cell]), None


def wrong_numbers(made: Made, rng: np.random.Generator) -> tuple[Made, None]:
    return made.change("answer", some(made, rng, 0.01), lambda cell: f"{float(cell) + rng.choice((-1, 1)) * 150:.3f}"), None


def named_id(made: Made, rng: np.random.Generator) -> Cells:
    return [str(value) for value in 4000 + 37 * rng.integers(0, made.rows // 3, made.rows)]


def tokens(made: Made, rng: np.random.Generator) -> Cells:
    return ["".join(rng.choice(list("0123456789abcdef"), 12)) for _ in range(made.rows)]


def formatted(shape: str) -> Callable[[Made, np.random.Generator], Cells]:
    return lambda made, rng: [shape.format(value) for value in lognormal(made, rng, 3.0)]


def later(cell: Any, rng: np.random.Generator) -> str:
    return str(date.today() + timedelta(days=int(rng.integers(100, 2000))))


PHOTO = {"pictures": True}
NOTE = {"texts": True}
CLASSES = {"kind": "many"}

PLANTS: dict[str, Plant] = {
    "duplicate column": Plant("duplicate-columns", duplicate_columns),
    "name in another case": Plant("alike-names", alike_names),
    "header in the middle": Plant("header-rows", header_rows, {"kind": "two"}),
    "rows without input": Plant("rows-without-input", no_input),
    "empty column": cell_plant("empty-column", "spare", lambda made, rng: [None] * made.rows),
    "column of NA": cell_plant("empty-column", "spare", lambda made, rng: ["NA"] * made.rows),
    "mostly empty column": cell_plant(
        "mostly-empty-column", "remark", lambda made, rng: ["x" if one < 0.02 else None for one in draws(made, rng)[1]]
    ),
    "constant column": cell_plant("constant-column", "unit", lambda made, rng: ["kg"] * made.rows),
    "nearly constant column": cell_plant("nearly-constant-column", "market", nearly_constant),
    "row numbers": cell_plant(
        "id-column", "position", lambda made, rng: [str(1000 + place) for place in rng.permutation(made.rows)]
    ),
    "identifier read as number": cell_plant("id-column", "store_id", named_id),
    "tokens": cell_plant("unused-column", "token", tokens),
    "words among numbers": spoil("numbers-with-words", number, lambda cell, rng: "unknown", 0.02),
    "numbers with units": cell_plant("numbers-with-units", "mass", formatted("{:.1f} kg")),
    "units in some numbers": spoil("numbers-with-units", number, lambda cell, rng: f"{cell} cm", 0.02),
    "decimal commas": cell_plant(
        "decimal-commas", "ratio", lambda made, rng: [f"{value:.2f}".replace(".", ",") for value in lognormal(made, rng, 1.0)]
    ),
    "thousands separators": cell_plant(
        "thousands-separators", "sales", lambda made, rng: [f"{v:,.0f}" for v in lognormal(made, rng)]
    ),
    "currency signs": cell_plant("currency-signs", "price", formatted("${:.2f}")),
    "percent signs": cell_plant("percent-signs", "rate", formatted("{:.1f}%")),
    "-999 for missing": spoil("sentinel-numbers", number, lambda cell, rng: "-999", 0.03),
    "-1 for missing": Plant("sentinel-numbers", minus_one),
    "0 for missing": Plant("sentinel-numbers", zeros),
    "infinite numbers": spoil("infinite-numbers", number, lambda cell, rng: "inf", 0.01),
    "units mixed up": Plant("gross-outliers", outliers),
    "dates as numbers": cell_plant("dates-as-numbers", "visited", lambda made, rng: [f"{d:%Y%m%d}" for d in days(made, rng)]),
    "day and month unclear": cell_plant(
        "day-month-order", "visited", lambda made, rng: [f"{d.day:02d}/{d.month:02d}/{d.year}" for d in days(made, rng)]
    ),
    "two formats of dates": cell_plant(
        "mixed-date-formats",
        "visited",
        lambda made, rng: [
            f"{d:%d.%m.%Y}" if one < 0.3 else str(d) for d, one in zip(days(made, rng), draws(made, rng)[1], strict=True)
        ],
    ),
    "names of months": cell_plant("unread-dates", "visited", lambda made, rng: [f"{d:%d %b %Y}" for d in days(made, rng)]),
    "no dates": dates_with(lambda cell, rng: "2021-02-30", 0.02, "no-dates"),
    "dates in the future": dates_with(later, 0.02, "future-dates"),
    "dates far off": dates_with(lambda cell, rng: f"0{cell[1:]}", 0.02, "far-off-dates"),
    "1900 for missing": dates_with(lambda cell, rng: "1900-01-01", 0.06, "far-off-dates"),
    "categories in capitals": Plant("spellings", spelled),
    "Unicode forms": Plant("spellings", unicode_form),
    "blanks around categories": spoil("outer-blanks", category, lambda cell, rng: f"{cell} "),
    "classes in capitals": Plant(
        "class-spellings", lambda made, rng: (made.change("answer", some(made, rng), str.capitalize), "answer"), CLASSES
    ),
    "wrong encoding": Plant("broken-encoding", lambda made, rng: noted(made, rng, lambda cell: f"{cell} CafÃ©"), NOTE),
    "replacement characters": Plant(
        "broken-encoding", lambda made, rng: noted(made, rng, lambda cell: f"caf\ufffd {cell}"), NOTE
    ),
    "control characters": Plant("control-characters", lambda made, rng: noted(made, rng, lambda cell: f"{cell}\x07"), NOTE),
    "HTML": Plant("html-in-text", lambda made, rng: noted(made, rng, lambda cell: f"<p>{cell}</p>"), NOTE),
    "entities": Plant("html-in-text", lambda made, rng: noted(made, rng, lambda cell: f"{cell} &amp; more"), NOTE),
    "texts cut": Plant("cut-text", cut, NOTE | {"least": 400}),
    "placeholder for texts": Plant("repeated-text", lambda made, rng: noted(made, rng, lambda _: "see above", 0.1), NOTE),
    "NA as a class": Plant(
        "missing-as-class", lambda made, rng: (made.change("answer", some(made, rng), lambda _: "N/A"), "answer"), CLASSES
    ),
    "files gone": Plant("files-not-found", files_gone, PHOTO),
    "files elsewhere": Plant("files-outside-root", files_outside, PHOTO),
    "case of file names": Plant("file-name-case", file_case, PHOTO),
    "empty files": Plant("empty-files", files_of(b""), PHOTO),
    "files cut off": Plant("unreadable-cells", files_of(None), PHOTO),
    "no pictures in files": Plant("unreadable-cells", files_of(b"404 not found"), PHOTO),
    "other format of files": Plant("odd-file-endings", odd_endings, PHOTO),
    "unlabelled rows": Plant(
        "unlabelled-rows", lambda made, rng: (made.change("answer", some(made, rng), lambda _: None), "answer")
    ),
    "one class": Plant("one-class", lambda made, rng: answered(made, ["yes"] * made.rows)),
    "class of two rows": Plant("rare-classes", rare, CLASSES),
    "rare class": Plant("class-imbalance", imbalance, {"least": 700}),
    "class not in test": Plant("class-missing-in-part", lacking, CLASSES),
    "small test part": Plant("small-part", small_part),
    "ratings as a quantity": Plant("few-valued-target", few_values),
    "counts as classes": Plant("number-classes", many_numbers, {"least": 1500}),
    "skewed target": Plant("skewed-target", skewed),
    "target outliers of a thousand": Plant(
        "gross-outliers",
        lambda made, rng: (
            made.change("answer", some(made, rng, 0.005), lambda cell: f"{1e5 + abs(float(cell)) * 1000:.1f}"),
            "answer",
        ),
        {"kind": "number"},
    ),
    "words in the target": Plant(
        "numbers-with-words",
        lambda made, rng: (made.change("answer", some(made, rng, 0.01), lambda _: "failed"), "answer"),
        {"kind": "number"},
    ),
    "duplicate rows": Plant("duplicate-rows", duplicate_rows),
    "contradictory rows": Plant("contradictory-rows", contradictory, CLASSES),
    "duplicates across parts": Plant("duplicates-across-parts", duplicate_rows),
    "near duplicates": Plant("near-duplicate-rows", near_duplicates, NOTE),
    "file in two parts": Plant("media-across-parts", copied_files, PHOTO),
    "placeholder for files": Plant("repeated-media", placeholder, PHOTO),
    "patients": Plant("group-column", grouped),
    "patient in two parts": Plant("group-across-parts", grouped_in_parts),
    "target over time": Plant("time-column", timed),
    "copy of the target": Plant("target-copy", copy),
    "target recoded": Plant("target-recoding", recoding, CLASSES),
    "leak": Plant("target-leak", leak, CLASSES | {"least": 300}),
    "class in file names": Plant("telling-names", telling_names, CLASSES | PHOTO | {"least": 300}),
    "telling gaps": Plant("telling-gaps", telling_gaps, CLASSES),
    "sorted by target": Plant("rows-sorted-by-target", in_order, CLASSES | {"least": 300}),
    "wrong labels": Plant("label-errors", wrong_labels, {"kind": "two", "noise": 0.1, "gaps": False, "least": 600}),
    "wrong numbers": Plant("target-outliers", wrong_numbers, {"kind": "number", "noise": 0.3, "gaps": False, "least": 300}),
}
