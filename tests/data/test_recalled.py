"""What came of a cell is remembered by its bytes; nothing else is told for it than what reading it would tell."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from consilience import pipeline
from consilience.data import isolated, recalled, shelf
from consilience.modalities.image import Image, Picture
from consilience.predictors.base import make_encoder
from consilience.predictors.linear import Linear
from consilience.train.features import fit_encoders
from consilience.types import Input, Limits, Missing

PHOTO = Input("photo", "image", ("photo",))
ROWS = np.arange(12)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures: sound ones, one with two frames, a damaged one; and a folder that things are kept in."""
    place = tmp_path / "media"
    place.mkdir()
    rng = np.random.default_rng(0)
    for row in range(10):
        PIL.Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(place / f"{row}.png")
    frames = [PIL.Image.new("L", (9, 9), level) for level in (0, 200)]
    frames[0].save(place / "10.gif", save_all=True, append_images=frames[1:])
    (place / "11.png").write_bytes((place / "0.png").read_bytes()[:60])
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "kept"))
    return place


@pytest.fixture
def view(folder: Path) -> Callable[..., Any]:
    def make(root: Path = folder, **limits: Any) -> Any:
        names = [f"{row}.png" for row in range(10)] + ["10.gif", "11.png"]
        table = pa.table({"photo": names, "number": list(range(12))})
        recipe = pipeline.whole_recipe(None, None, "fast", [{"limits": limits}] if limits else [])
        return pipeline.opened(table, None, root, recipe)[1]

    return make


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One more for each picture that is decoded."""
    calls: list[int] = []
    own = Image.read

    def counted(self: Any, *args: Any) -> Any:
        calls.append(1)
        return own(self, *args)

    monkeypatch.setattr(Image, "read", counted)
    return calls


def told(made: Any) -> tuple[Any, ...]:
    return made.reasons("photo", ROWS), [made.notes("photo", row) for row in range(12)], made.counts(ROWS)


def test_what_is_remembered_is_told_and_encoded_without_decoding(view: Any, read: list[int]) -> None:
    first = view()
    encoder = make_encoder(Linear.Config(), first.schema["photo"])
    fit_encoders({"photo": encoder}, first, ROWS[:8], 0)
    wanted, tokens = told(first), first.tokens(encoder, "photo", ROWS).values
    assert len(read) == 12
    again = view()
    assert told(again) == wanted
    assert wanted[0][11] == "truncated" and wanted[1][10] == ("only the first frame read",)
    assert again.tokens(encoder, "photo", ROWS).values.equal(tokens)
    assert len(read) == 12
    assert isinstance(again.samples("photo", ROWS)[0], Picture)  # who wants the sample itself has it read
    assert len(read) == 12 + 11  # but for the one that is missing


def test_other_bytes_limits_or_versions_are_read_anew(
    view: Any, read: list[int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view().reasons("photo", ROWS)
    shutil.copy(folder / "1.png", folder / "0.png")
    view().reasons("photo", ROWS)
    assert len(read) == 12  # those bytes are known
    PIL.Image.new("RGB", (5, 5), (1, 2, 3)).save(folder / "0.png")
    view().reasons("photo", ROWS)
    assert len(read) == 13
    view(pixels=399).reasons("photo", ROWS)
    assert len(read) == 25
    monkeypatch.setattr(recalled, "_versions", lambda: "pillow 99")
    view().reasons("photo", ROWS)
    assert len(read) == 37


def test_a_damaged_view_reads_for_itself(view: Any, read: list[int]) -> None:
    made = view()
    encoder = make_encoder(Linear.Config(), made.schema["photo"])
    fit_encoders({"photo": encoder}, made, ROWS[:8], 0)
    plain = made.tokens(encoder, "photo", ROWS).values
    before = len(read)
    damaged = made.damaged("photo", "noise", 0.5, 0).tokens(encoder, "photo", ROWS).values
    assert len(read) > before
    assert not damaged.equal(plain)
    assert view().tokens(encoder, "photo", ROWS).values.equal(plain)


def test_elsewhere_the_same_bytes_are_known(view: Any, read: list[int], folder: Path, tmp_path: Path) -> None:
    view().reasons("photo", ROWS)
    shutil.copytree(folder, tmp_path / "copy")
    assert view(tmp_path / "copy").reasons("photo", ROWS)[11] == "truncated"
    assert len(read) == 12


def test_what_may_be_otherwise_next_time_is_not_remembered() -> None:
    for reason in (isolated.SLOW, isolated.ENDED, isolated.FULL, "no permission"):
        assert recalled.remembered(Missing(reason)) is None
    assert recalled.remembered(Missing("damaged")) is not None


def test_an_outcome_comes_back_as_it_was() -> None:
    sample = Picture(pixels=np.zeros((2, 2, 3), np.uint8), notes=("a", "é"))
    data = recalled.remembered(sample)
    assert data is not None
    assert recalled.outcome(data) == recalled.Outcome("", shelf.content(sample), ("a", "é"))
    data = recalled.remembered(Missing("damaged"))
    assert data is not None
    assert recalled.outcome(data) == recalled.Outcome("damaged", b"", ())


def test_keys_hold_what_decides_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    def key(cell: Any, item: Input = PHOTO, **limits: Any) -> bytes | None:
        return recalled.key(item, {"photo": cell}, Limits(**limits))

    path, data = folder / "1.png", (folder / "1.png").read_bytes()
    shutil.copy(path, tmp_path / "other.png")
    shutil.copy(path, tmp_path / "other.gif")
    assert key(path) == key(tmp_path / "other.png") == key(path, outside=True, isolate=3.0) is not None
    lists = Input("photo", "image", ("photo",), many=True)
    different = [
        key(path),
        key(tmp_path / "other.gif"),
        key(data),
        key(folder / "2.png"),
        key(path, pixels=9),
        key([path], lists),
    ]
    different += [key([path, path], lists), key([path], Input("photo", "series", ("photo",)))]
    assert None not in different and len(set(different)) == len(different)
    nothing = [None, "https://x.org/1.png", folder / "gone.png", [path, None], ["https://x.org/1.png"], 7]
    assert [key(cell) for cell in nothing] == [None] * len(nothing)
    assert key(path, bytes=10) is None  # over the limit: quickly said again
