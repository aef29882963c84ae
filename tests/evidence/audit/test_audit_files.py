"""Cells that cannot be read, and the files that they name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from consilience.evidence.audit import Finding, files
from consilience.evidence.audit.files import CHECKS

Look = Callable[..., list[Finding]]


def said(look: Look, photos: list[str | None], root: Path) -> list[tuple[str, int, tuple[int, ...]]]:
    made = {"photo": photos, "size": [f"{1 + row * 0.37:.2f}" for row in range(len(photos))]}
    return [(finding.kind, finding.count, finding.rows) for finding in look(CHECKS, made, root=root)]


@pytest.fixture
def folder(media: Path, tmp_path: Path) -> Path:
    """60 pictures that can be read."""
    (tmp_path / "a").mkdir()
    for row in range(60):
        shutil.copy(media / f"{20 + row}.png", tmp_path / "a" / f"{row}.png")
    return tmp_path


PHOTOS: list[str | None] = [f"a/{row}.png" for row in range(60)]


def test_nothing_wrong(look: Look, folder: Path) -> None:
    assert said(look, PHOTOS, folder) == []
    assert said(look, [None, "", *PHOTOS[2:]], folder) == []  # nothing is named, so nothing is gone


def test_files_that_are_not_there(look: Look, folder: Path) -> None:
    found = ["a/x.png", "b/1.png", *PHOTOS[2:]]
    assert said(look, found, folder) == [("files-not-found", 2, (0, 1))]


def test_files_outside_of_the_media_root(look: Look, folder: Path) -> None:
    cells: list[str | None] = ["../x.png", "/gone/1.png", *PHOTOS[2:]]
    (found,) = look(CHECKS, {"photo": cells, "size": [f"{1 + row * 0.37:.2f}" for row in range(60)]}, root=folder)
    assert (found.kind, found.count, found.rows, found.setting) == ("files-outside-root", 2, (0, 1), "limits.outside=true")
    assert (
        found.found == f"'photo': 2 of 60 cells name files outside of the media root {folder}, such as '../x.png': not opened"
    )


def test_capital_letters(look: Look, folder: Path) -> None:
    found = ["a/0.PNG", "a/gone.png", *PHOTOS[2:]]
    assert said(look, found, folder) == [("files-not-found", 1, (1,)), ("file-name-case", 1, (0,))]


def test_empty_and_damaged_files(look: Look, folder: Path) -> None:
    (folder / "a" / "3.png").write_bytes(b"")
    (folder / "a" / "4.png").write_bytes(b"404 not found")
    whole = (folder / "a" / "5.png").read_bytes()
    (folder / "a" / "5.png").write_bytes(whole[: len(whole) // 2])
    assert sorted(said(look, PHOTOS, folder)) == [("empty-files", 1, (3,)), ("unreadable-cells", 2, (4, 5))]
    found = look(CHECKS, {"photo": PHOTOS, "size": ["1.5", "2.5"] * 30}, root=folder)
    (unreadable,) = [finding for finding in found if finding.kind == "unreadable-cells"]
    assert "not an image 1" in unreadable.found
    assert unreadable.setting == "audit.accept=['unreadable-cells:photo']"


def test_items_of_lists(look: Look, folder: Path) -> None:
    lists = [f"a/{row}.png;a/{(row + 1) % 60}.png" for row in range(60)]
    assert said(look, list(lists), folder) == []
    (folder / "a" / "3.png").write_bytes(b"")
    assert said(look, list(lists), folder) == [("empty-files", 2, (2, 3))]


def test_other_endings(look: Look, folder: Path) -> None:
    for row in (7, 8):
        shutil.copy(folder / "a" / f"{row}.png", folder / "a" / f"{row}.bmp")
    found = [f"a/{row}.bmp" if row in (7, 8) else f"a/{row}.png" for row in range(60)]
    assert said(look, list(found), folder) == [("odd-file-endings", 2, (7, 8))]
    for row in range(10):
        shutil.copy(folder / "a" / f"{row}.png", folder / "a" / f"{row}.bmp")
    assert said(look, [f"a/{row}.bmp" if row < 10 else f"a/{row}.png" for row in range(60)], folder) == []  # two formats


def test_of_large_tables_some_files_are_read(look: Look, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "READ", 20)
    (found,) = look(CHECKS, {"photo": ["x.png"] * 30 + PHOTOS[30:], "size": ["1.5", "2.5"] * 30}, root=folder)
    assert (found.kind, found.count) == ("files-not-found", 10)
    assert "10 of 20 cells" in found.found
