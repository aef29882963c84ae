"""Files of a run: whole or not at all; damaged JSON is an error with the path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from consilience.errors import ConsilienceError
from consilience.files import check_free, read_json, replacing, write_json


class BrokenError(Exception):
    """What goes wrong while a file is written."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"text": 'naïve 日本 " \\ \n', "list": [1, 2.5, True, None, {"x": []}], "pair": (1, "a"), "small": 1e-300}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value | {"pair": [1, "a"]}
    assert "日本" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    nan, infinity = float("nan"), float("inf")
    write_json(tmp_path / "a.json", {"a": nan, "b": [infinity, {"c": (-infinity, 1.0)}]})
    assert read_json(tmp_path / "a.json") == {"a": None, "b": [None, {"c": [None, 1.0]}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (b'{"a": 1', "is damaged"),
        (b'{"a": "\xff"}', "is damaged"),
        (b"[" * 200_000, "is damaged"),
        (b"[1, 2]", "holds list"),
        (b"null", "holds NoneType"),
    ],
)
def test_what_is_no_json_object_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ConsilienceError, match=message) as caught:
        read_json(tmp_path / "a.json")
    assert "a.json" in str(caught.value)


def test_json_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConsilienceError, match=r"a\.json cannot be read: No such file"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ConsilienceError, match="Is a directory"):
        read_json(tmp_path)


def test_check_free(tmp_path: Path) -> None:
    check_free(tmp_path / "new", overwrite=False)
    check_free(tmp_path, overwrite=True)
    with pytest.raises(ConsilienceError, match="exists already"):
        check_free(tmp_path, overwrite=False)


def make(path: Path, kind: str, text: str) -> None:
    """A file with `text`, or a folder with a file `inside` with `text`."""
    if kind == "folder":
        path.mkdir()
        path = path / "inside"
    path.write_text(text)


def content(path: Path) -> str:
    return (path / "inside" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("new", ["file", "folder"])
def test_replacing_makes_a_new_path_and_its_parents(tmp_path: Path, new: str) -> None:
    with replacing(tmp_path / "deep" / "a", overwrite=False) as part:
        assert part.parent == tmp_path / "deep", "not beside its goal: a rename could not be atomic"
        make(part, new, "new")
        assert not (tmp_path / "deep" / "a").exists()
    assert content(tmp_path / "deep" / "a") == "new"
    assert names(tmp_path / "deep") == ["a"]


@pytest.mark.parametrize("old", ["file", "folder"])
@pytest.mark.parametrize("new", ["file", "folder"])
def test_replacing_puts_the_new_in_the_place_of_the_old(tmp_path: Path, old: str, new: str) -> None:
    make(tmp_path / "a", old, "old")
    with replacing(tmp_path / "a", overwrite=True) as part:
        make(part, new, "new")
        assert content(tmp_path / "a") == "old"
    assert content(tmp_path / "a") == "new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("old", ["file", "folder"])
@pytest.mark.parametrize("new", ["file", "folder"])
def test_an_exception_leaves_the_old_and_nothing_beside_it(tmp_path: Path, old: str, new: str) -> None:
    make(tmp_path / "a", old, "old")
    with pytest.raises(BrokenError), replacing(tmp_path / "a", overwrite=True) as part:
        make(part, new, "half")
        raise BrokenError
    assert content(tmp_path / "a") == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("old", ["file", "folder"])
def test_the_old_stays_where_nothing_new_was_written(tmp_path: Path, old: str) -> None:
    make(tmp_path / "a", old, "old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a", overwrite=True):
        pass
    assert content(tmp_path / "a") == "old"
    assert names(tmp_path) == ["a"]


def test_the_old_stays_where_the_last_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "a", "folder", "old")
    rename = Path.rename

    def fails_for_the_new(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise PermissionError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    with pytest.raises(PermissionError), replacing(tmp_path / "a", overwrite=True) as part:
        make(part, "folder", "new")
    assert content(tmp_path / "a") == "old"
    assert names(tmp_path) == ["a"]


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    make(tmp_path / "real", "folder", "old")
    (tmp_path / "a").symlink_to(tmp_path / "real")
    with replacing(tmp_path / "a", overwrite=True) as part:
        make(part, "folder", "new")
    assert content(tmp_path / "a") == "new"
    assert content(tmp_path / "real") == "old"
    assert names(tmp_path) == ["a", "real"]


def test_replacing_refuses_before_any_work_is_done(tmp_path: Path) -> None:
    make(tmp_path / "a", "file", "old")
    with pytest.raises(ConsilienceError, match="exists already"), replacing(tmp_path / "a", overwrite=False):
        raise AssertionError("the work was begun")
    assert content(tmp_path / "a") == "old"


def test_json_is_readable_text(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1, "b": 2})
    text = (tmp_path / "a.json").read_text()
    assert text.endswith("}\n")
    assert len(text.splitlines()) == 4
    assert json.loads(text) == {"a": 1, "b": 2}
