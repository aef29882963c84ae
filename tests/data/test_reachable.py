"""Names of files in a table must not make us open any file there is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from consilience import pipeline
from consilience.errors import ConsilienceError
from consilience.media import OUTSIDE

ROWS = 40


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """The media root with the pictures of even rows, and a folder beside it with those of odd ones."""
    inside, beside = tmp_path / "media", tmp_path / "beside"
    rng = np.random.default_rng(0)
    for row in range(ROWS):
        path = (inside, beside)[row % 2] / f"{row}.png"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    return inside, beside


def reasons(cells: list[str], root: Path, outside: bool = False) -> list[str]:
    """Why each cell is missing, "" where it was read."""
    table = pa.table({"photo": cells, "number": list(range(len(cells)))})
    settings = [{"limits": {"outside": outside}, "inputs": {"photo": {"modality": "image", "columns": ["photo"]}}}]
    view = pipeline.opened(table, None, root, pipeline.whole_recipe(None, None, "fast", settings))[1]
    return list(view.reasons("photo", np.arange(len(cells))))


def test_files_elsewhere_are_missing_whether_there_is_one_or_not(places: tuple[Path, Path]) -> None:
    inside, beside = places
    named = ["0.png", f"{beside}/1.png", "../beside/1.png", f"{inside}/2.png", "./x/../2.png", "../media/2.png", "/gone.png"]
    # What is taken back by .. is judged by where it leads.
    assert reasons(named, inside) == ["", OUTSIDE, OUTSIDE, "", "file not found", "", OUTSIDE]
    assert reasons(named, inside, outside=True) == ["", "", "", "", "file not found", "", "file not found"]


def test_links_are_followed_before_they_are_judged(places: tuple[Path, Path], tmp_path: Path) -> None:
    inside, beside = places
    (inside / "out.png").symlink_to(beside / "1.png")
    (inside / "in.png").symlink_to(inside / "0.png")
    (inside / "folder").symlink_to(beside)
    (inside / "round.png").symlink_to(inside / "round.png")
    (tmp_path / "alias").symlink_to(inside)
    named = ["out.png", "in.png", "folder/1.png", "round.png", "0.png"]
    found = reasons(named, inside)
    assert (found[0], found[1], found[2], found[4]) == (OUTSIDE, "", OUTSIDE, "")
    assert found[3] in ("file not found", "cannot be read")
    assert reasons(named, tmp_path / "alias") == found  # the root may be a link itself


def test_a_folder_whose_name_begins_as_the_root_is_another(places: tuple[Path, Path], tmp_path: Path) -> None:
    inside, beside = places
    beside.rename(tmp_path / "media2")
    assert reasons(["0.png", "../media2/1.png"], inside) == ["", OUTSIDE]


def test_an_input_all_of_whose_files_lie_elsewhere_is_an_error_that_says_where(places: tuple[Path, Path]) -> None:
    inside, beside = places
    cells = [str(beside / f"{row}.png") for row in range(1, ROWS, 2)]
    with pytest.raises(ConsilienceError) as told:
        reasons(cells, inside)
    (problem,) = told.value.problems
    assert problem.found == f"the files of 'photo' lie outside of the media root {inside}, such as {beside}/1.png"
    assert re.search(rf"--media-root {beside} .*limits\.outside=true", problem.do)
    assert reasons(cells, beside) == [""] * len(cells)
    assert reasons(cells, inside, outside=True) == [""] * len(cells)


def test_lists_of_files_are_held_to_it_item_by_item(places: tuple[Path, Path]) -> None:
    inside, beside = places
    lists = [["0.png", str(beside / "1.png")], [str(beside / "3.png")], ["2.png"], []]
    table = pa.table({"photos": lists, "number": list(range(4))})
    settings = [{"inputs": {"photos": {"modality": "image", "columns": ["photos"]}}}]
    view = pipeline.opened(table, None, inside, pipeline.whole_recipe(None, None, "fast", settings))[1]
    assert list(view.reasons("photos", np.arange(4))) == ["", OUTSIDE, "", "empty"]
    assert view.notes("photos", 0) == (f"items that could not be read: {OUTSIDE}",)
    table = pa.table({"photos": lists[1:2] * 4, "number": list(range(4))})
    with pytest.raises(ConsilienceError, match="the files of 'photos' lie outside"):
        pipeline.opened(table, None, inside, pipeline.whole_recipe(None, None, "fast", settings))


def test_a_series_elsewhere_is_not_opened_to_see_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for row in range(8):
        np.save(tmp_path / f"{row}.npy", np.arange(12.0).reshape(6, 2) + row)
    column = {"pulse": [f"../{row}.npy" for row in range(8)], "number": list(range(8))}
    with pytest.raises(ConsilienceError, match="the files of 'pulse' lie outside"):
        pipeline.opened(pa.table(column), None, tmp_path / "root", pipeline.whole_recipe(None, None, "fast", []))
    allowing = pipeline.whole_recipe(None, None, "fast", [{"limits": {"outside": True}}])
    view = pipeline.opened(pa.table(column), None, tmp_path / "root", allowing)[1]
    assert set(view.reasons("pulse", np.arange(8))) == {""}
