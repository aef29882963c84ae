"""Bad input through the public commands: a clear error, or a counted reason, and nothing lost either way."""

from __future__ import annotations

import errno
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

import consilience
from consilience import files
from consilience import run as run_module
from consilience.cli import main
from consilience.errors import ConsilienceError

TINY = "predictors={fused: null, single: null, stack: null, trees: null, linear: {encoders: {image: {side: 32, cell: 16}}}}"
Outcome = tuple[int, str]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Exit code and standard error of a command."""

    def call(*args: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["consilience", *map(str, args)])
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return code, said

    return call


@pytest.fixture(scope="module")
def trained(table: Any, media: Path, settings: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved run."""
    run = consilience.fit(table(), "answer", settings=[settings("linear")], media_root=media)
    return run.save(tmp_path_factory.mktemp("bad") / "run")


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


# Tables that are refused


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ["is empty", "a line of column names and at least one row"]),
        (b"a,answer\n", ["has no rows", "at least one row"]),
        (b"a,answer\n1,x\n2,y,3\n", ["Expected 2 columns, got 3", "mend the file"]),
        (b"a,answer\n\xe9,x\n", ["UTF", "save it as UTF-8"]),
        (b"a,answer\n1\x00,x\n", ["NUL", "do: "]),
        (b"a,a,answer\n1,2,x\n", ["columns of one name: a", "rename them"]),
        (b"a,,answer\n1,2,x\n", ["a column without a name", "mend the first line"]),
        (b"a,answer\n1,x\n2,\n3,\n4,y\n", ["2 of 4 rows have an empty target", "split.unlabelled"]),
        (b"a,answer\n1,x\n2,x\n3,x\n4,x\n", ["one class only in the training rows: 'x'", "choose another target"]),
        (b"a,answer\n1,\n2,\n", ["the target 'answer' is empty in every row", "choose another target"]),
        (b"a,answer\n7,x\n7,y\n7,x\n7,y\n", ["no column can be used as an input (a: every cell is the same", "`inputs`"]),
        (b"a,b\n7,x\n8,y\n", ["target names the column 'answer'", "expected: a column"]),
    ],
)
def test_a_table_that_cannot_be_trained_on(content: bytes, said: list[str], cli: Any, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    before = everything(tmp_path)
    code, err = cli("train", tmp_path / "table.csv", "--target", "answer", "--set", TINY, "--out", tmp_path / "run")
    assert code == 2
    for word in said:
        assert word in err, err
    assert everything(tmp_path) == before


def test_a_target_with_gaps_is_left_out_of_training_only_when_told(cli: Any, table: Any, columns: Any, media: Path) -> None:
    answers = columns()["answer"]
    answers[3] = answers[90] = None
    pacsv.write_csv(table(answer=answers), media / "gaps.csv")
    options = ("--target", "answer", "--set", TINY, "--out", media / "gaps")
    code, err = cli("train", media / "gaps.csv", *options)
    assert code == 2 and "2 of 120 rows have an empty target" in err
    code, err = cli("train", media / "gaps.csv", *options, "--set", "split.unlabelled=exclude")
    assert code == 0 and "2" in err
    run = consilience.load(media / "gaps")
    assert sum(map(len, (run.splits.train, run.splits.valid, run.splits.test))) == 118
    assert len(run.predict(media / "gaps.csv")) == 120


def test_all_columns_that_a_run_lacks_are_named_at_once(cli: Any, trained: Path, table: Any, tmp_path: Path) -> None:
    other = table().rename_columns(["photos", "note", "years", "dose", "ward", "answers"])
    pacsv.write_csv(other, tmp_path / "other.csv")
    code, err = cli("predict", trained, tmp_path / "other.csv", "--out", tmp_path / "out.csv")
    assert code == 2
    assert "has no column 'photo'" in err and "did you mean 'photos'?" in err and "has no column 'age'" in err
    assert not (tmp_path / "out.csv").exists()
    code, err = cli("evaluate", trained, tmp_path / "other.csv")
    assert code == 2 and err.count("has no column") == 3


# Cells that are missing, with a reason, and rows that stay


def bomb() -> bytes:
    """A PNG of 10,000 x 10,000 pixels in a few hundred kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 10_000, 10_000, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(10_000 * 1251), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_bad_cells_are_missing_with_a_reason_and_every_row_is_answered(
    trained: Path, table: Any, columns: Any, media: Path, cli: Any, tmp_path: Path
) -> None:
    (media / "bomb.png").write_bytes(bomb())
    (media / "folder.png").mkdir(exist_ok=True)
    cells: dict[str, list[Any]] = columns()
    cells["photo"][:3] = ["bomb.png", "folder.png", "a\x01b.png"]
    cells["age"][:4] = ["inf", "1e400", "9" * 500, "-inf"]
    cells["ward"][:2] = ["a ward that was never seen", "\u202eodd"]
    cells["note"][0] = "x" * 200_000
    pacsv.write_csv(table(**cells), media / "odd.csv")
    code, _ = cli("predict", trained, media / "odd.csv", "--out", tmp_path / "out.csv")
    assert code == 0
    answers = pacsv.read_csv(tmp_path / "out.csv", convert_options=pacsv.ConvertOptions(strings_can_be_null=False))
    assert answers.column("row").to_pylist() == list(range(120))
    chances = np.stack([answers.column(name).to_numpy() for name in answers.column_names if name.startswith("probability_")])
    assert np.isfinite(chances).all() and np.allclose(chances.sum(0), 1)
    reasons = answers.column("reasons").to_pylist()
    assert "photo: over the pixel limit" in reasons[0]
    assert "note: text cut at 100000 characters" in reasons[0]
    assert "photo: is a directory" in reasons[1]
    assert "photo: file not found" in reasons[2]
    assert all("age: infinite" in reason for reason in reasons[:4])
    plain = consilience.load(trained).predict_proba(table(), media)
    again = consilience.load(trained).predict_proba(media / "odd.csv")
    assert np.array_equal(again[4:], plain[4:]), "the other rows are answered as ever"


# A full disk, and places that may not be written to


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("taken", [False, True])
def test_a_run_that_cannot_be_written_leaves_what_was_there(
    number: int, taken: bool, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = consilience.load(trained), tmp_path / "out" / "run"
    if taken:
        run.save(out)
    before = everything(tmp_path)

    def refuse(path: Path, value: Any) -> None:
        if path.name == "selection.json":
            raise OSError(number, os.strerror(number))
        files.write_json(path, value)

    monkeypatch.setattr(run_module, "write_json", refuse)
    with pytest.raises(ConsilienceError) as caught:
        run.save(out, overwrite=True)
    said = str(caught.value)
    assert f"{out} cannot be written: {os.strerror(number)}" in said and "nothing there has changed" in said
    assert {name: data for name, data in everything(tmp_path).items() if name != "out"} == {
        name: data for name, data in before.items() if name != "out"
    }


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_predictions_that_find_no_room_leave_the_old_ones(
    ending: str, cli: Any, trained: Path, table: Any, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacsv.write_csv(table(), media / "room.csv")
    out = tmp_path / f"out.{ending}"
    out.write_bytes(b"the old ones")

    def full(self: Any, *args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full(run_module.pacsv.CSVWriter if ending == "csv" else run_module.pq.ParquetWriter):  # type: ignore[misc]
        write_batch = full

    if ending == "csv":
        monkeypatch.setattr(run_module.pacsv, "CSVWriter", Full)
    else:
        monkeypatch.setattr(run_module.pq, "ParquetWriter", Full)
    code, err = cli("predict", trained, media / "room.csv", "--out", out, "--overwrite")
    assert code == 2
    assert f"{out} cannot be written: No space left on device" in err
    assert everything(tmp_path) == {out.name: b"the old ones"}


def test_a_place_below_a_file_is_no_place(cli: Any, trained: Path, table: Any, media: Path, tmp_path: Path) -> None:
    pacsv.write_csv(table(), media / "place.csv")
    (tmp_path / "file").write_text("mine")
    code, err = cli("predict", trained, media / "place.csv", "--out", tmp_path / "file" / "out.csv")
    assert code == 2 and "cannot be written" in err
    assert (tmp_path / "file").read_text() == "mine"


# Tables in memory


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (3, "the table is int"),
        ({}, "has no rows"),
        ({"a": []}, "has no rows"),
        ({"a": [1, 2], "b": [1]}, "the columns have different lengths"),
        ({"a": ["x", "\ud800"]}, "no Unicode"),
        (pa.table({"a": pa.array([], pa.int64())}), "has no rows"),
    ],
)
def test_what_is_no_table_is_refused_by_every_function(source: Any, said: str, trained: Path) -> None:
    run = consilience.load(trained)
    for call in (consilience.inspect, run.predict, run.evaluate, lambda table: consilience.fit(table, "a")):
        with pytest.raises(ConsilienceError, match=said):
            call(source)
