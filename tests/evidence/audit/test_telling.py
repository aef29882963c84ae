"""What tells the target without being a value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from consilience.evidence.audit import Finding
from consilience.evidence.audit.leaks import CHECKS
from consilience.recipe import setting

Look = Callable[..., list[Finding]]
ROWS = 400
RNG = np.random.default_rng(0)
LABELS = [str(name) for name in RNG.choice(["no", "yes"], ROWS)]
BESIDE = [f"{value:.3f}" for value in RNG.normal(size=ROWS)]


def gappy(filled: np.ndarray) -> list[str | None]:
    return [f"{value:.3f}" if here else None for value, here in zip(RNG.normal(size=ROWS), filled, strict=True)]


def test_gaps(look: Look) -> None:
    yes = np.array([label == "yes" for label in LABELS])
    columns = {"beside": BESIDE, "dose": gappy(RNG.random(ROWS) < np.where(yes, 0.9, 0.3)), "y": LABELS}
    (finding,) = look(CHECKS, columns, "y")
    assert (finding.kind, finding.columns, finding.setting) == ("telling-gaps", ("dose",), "exclude=[dose]")
    assert finding.count == sum(cell is None for cell in columns["dose"])
    assert "of those are 'no', against" in finding.found
    assert look(CHECKS, columns, "y", setting(finding.setting)) == []


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
def test_gaps_at_random(share: float, look: Look) -> None:
    assert look(CHECKS, {"beside": BESIDE, "dose": gappy(RNG.random(ROWS) >= share), "y": LABELS}, "y") == []


def test_gaps_of_a_number(look: Look) -> None:
    score = RNG.normal(size=ROWS)
    numbers = [f"{value:.3f}" for value in score]
    (finding,) = look(CHECKS, {"beside": BESIDE, "dose": gappy(score + RNG.normal(size=ROWS) > 0), "y": numbers}, "y")
    assert finding.kind == "telling-gaps"
    assert "deviations lower there" in finding.found
    assert look(CHECKS, {"beside": BESIDE, "dose": gappy(RNG.random(ROWS) > 0.3), "y": numbers}, "y") == []


def pictures(folder: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        PIL.Image.new("RGB", (4, 4), (number % 256, number // 256, 0)).save(folder / name)


@pytest.mark.parametrize(
    ("form", "what"), [("{label}/{row}.png", "folders"), ("p/{row}_{label}.png", "names"), ("p/{label}{row}.png", "names")]
)
def test_names(form: str, what: str, look: Look, tmp_path: Path) -> None:
    names = [form.format(label=label, row=row) for row, label in enumerate(LABELS)]
    pictures(tmp_path, names)
    columns = {"beside": BESIDE, "photo": [None if row % 7 == 0 else name for row, name in enumerate(names)], "y": LABELS}
    (finding,) = look(CHECKS, columns, "y", root=tmp_path)
    assert (finding.kind, finding.columns) == ("telling-names", ("photo",))
    assert finding.found.startswith(f"the {what} of the files in 'photo' tell the target")
    assert finding.setting == "audit.accept=['telling-names:photo']"
    columns["y"] = [LABELS[-1], *LABELS[:-1]]
    assert look(CHECKS, columns, "y", root=tmp_path) == []


def test_sorted_classes(look: Look) -> None:
    (finding,) = look(CHECKS, {"beside": BESIDE, "y": sorted(LABELS)}, "y")
    assert (finding.kind, finding.columns, finding.count) == ("rows-sorted-by-target", (), 400)
    assert "it changes 1 times in 400 rows" in finding.found
    assert finding.setting == "audit.accept=[rows-sorted-by-target]"
    assert look(CHECKS, {"beside": BESIDE, "y": LABELS}, "y") == []


def test_sorted_numbers(look: Look) -> None:
    numbers = np.sort(RNG.normal(size=ROWS))
    (finding,) = look(CHECKS, {"beside": BESIDE, "y": [f"{value:.4f}" for value in -numbers]}, "y")
    assert finding.kind == "rows-sorted-by-target"
    assert "correlation -1.000" in finding.found
    drift = [f"{value:.4f}" for value in numbers + RNG.normal(size=ROWS) / 2]
    assert look(CHECKS, {"beside": BESIDE, "y": drift}, "y") == []
