"""What a training was asked for is read from a file that may be damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consilience.checkpoint import ABOUT
from consilience.errors import ConsilienceError
from consilience.files import write_json
from consilience.unfinished import resumed

ASKED = {"table": "t.csv", "recipe": "seed: 1\n", "test": None, "media_root": "m", "strict": False}


def kept(folder: Path, request: Any) -> Path:
    """The run whose unfinished training was asked for that."""
    (folder / ".run.training").mkdir()
    write_json(folder / ".run.training" / ABOUT, {"request": request})
    return folder / "run"


def test_what_was_asked_for_comes_back(tmp_path: Path) -> None:
    assert resumed(kept(tmp_path, ASKED)) == ASKED


@pytest.mark.parametrize(
    "request_of",
    [
        None,
        [],
        {key: value for key, value in ASKED.items() if key != "test"},
        {**ASKED, "table": 5},
        {**ASKED, "recipe": None},
        {**ASKED, "test": ["t.csv"]},
        {**ASKED, "strict": "yes"},
    ],
)
def test_another_request_is_damage(request_of: Any, tmp_path: Path) -> None:
    with pytest.raises(ConsilienceError, match=f"{ABOUT} is damaged"):
        resumed(kept(tmp_path, request_of))


@pytest.mark.parametrize(
    "text", ["a: b: c", "seed: 2024-02-30", "seed: !!bool x", "seed: !!timestamp x", "seed: 0x_", "[" * 5000, "\0"]
)
def test_a_recipe_that_is_no_yaml_is_damage(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConsilienceError, match=r"the recipe in .* is damaged"):
        resumed(kept(tmp_path, {**ASKED, "recipe": text}))
