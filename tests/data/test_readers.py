"""One table, one reading: whatever the format, its cells are the same, in pieces that fit; what is none says what it is."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from consilience.data import readers
from consilience.data.readers import endings, read_file
from consilience.data.table import Table, read_table
from consilience.errors import ConsilienceError

CELLS: dict[str, list[str | None]] = {
    "id": ["00123", "7", None, "1e5"],
    "said, or not": ['"no"', "a, b; c|d\te", "two\nlines", None],
    "word": ["NA", "日", "ä;", " null "],
}

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


def save(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cells(table: Table) -> dict[str, list]:
    return {name: table.cells(name) for name in table.names}


def read(folder: Path, content: str | bytes, name: str = "t.csv") -> dict[str, list]:
    return cells(read_table(save(folder, name, content)))


def told(folder: Path, content: str | bytes, name: str = "t.csv") -> str:
    """What is found in a file that is no table: one problem, that names the file."""
    with pytest.raises(ConsilienceError) as caught:
        read_table(save(folder, name, content))
    (problem,) = caught.value.problems
    assert str(folder / name) in problem.found
    return problem.found


def separated(sign: str) -> str:
    rows = [list(CELLS), *zip(*CELLS.values(), strict=True)]
    return "".join(
        sign.join("" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows
    )


def objects() -> list[dict[str, str | None]]:
    return [dict(zip(CELLS, row, strict=True)) for row in zip(*CELLS.values(), strict=True)]


TEXTS = {
    ".csv": separated(","),
    ".tsv": separated("\t"),
    ".tab": separated("\t"),
    ".json": json.dumps(objects(), indent=1),
    ".jsonl": "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in objects()),
    ".ndjson": "\n\n".join(json.dumps(record) for record in objects()),
}


def arrow(file: bool = True, compression: str | None = None) -> bytes:
    sink, table = io.BytesIO(), pa.table(CELLS)
    make = pa.ipc.new_file if file else pa.ipc.new_stream
    with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=3)
    return sink.getvalue()


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(CELLS), sink)
    return sink.getvalue()


def same(table: Table, folder: Path) -> None:
    assert cells(table) == CELLS
    assert table.digest() == read_table(save(folder, "same.parquet", parquet())).digest()


# The same table in every format


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("form", TEXTS)
def test_text_packed_or_not_is_the_table_that_parquet_is(tmp_path: Path, form: str, packed: str) -> None:
    table = read_table(save(tmp_path, f"t{form}{packed}", PACKED[packed](TEXTS[form].encode())))
    same(table, tmp_path)
    assert table.notes == ()


@pytest.mark.parametrize(("sign", "word"), [(";", "semicolons"), ("|", "bars"), ("\t", "tabs")])
def test_a_csv_with_another_separator_is_the_same_table_and_says_so(tmp_path: Path, sign: str, word: str) -> None:
    table = read_table(save(tmp_path, "t.csv", separated(sign)))
    same(table, tmp_path)
    assert table.notes == (f"its columns are separated by {word}",)


@pytest.mark.parametrize("name", ["t.arrow", "t.feather", "t.ipc", "T.ARROW"])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("file", [True, False])
def test_arrow_as_file_or_stream_is_the_same_table(tmp_path: Path, name: str, compression: str | None, file: bool) -> None:
    same(read_table(save(tmp_path, name, arrow(file, compression))), tmp_path)


def test_signs_in_quoted_names_and_cells_separate_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, '"a;b"\n"1;2"\n') == {"a;b": ["1;2"]}
    assert read(tmp_path, '"a, b";c\n1;2\n') == {"a, b": ["1"], "c": ["2"]}
    assert read(tmp_path, '"a\nb"|c\n1|2\n') == {"a\nb": ["1"], "c": ["2"]}
    assert read(tmp_path, "a,b\n1;2,3\t4\n") == {"a": ["1;2"], "b": ["3\t4"]}
    assert read(tmp_path, "a,b\n1,2\n", "t.tsv") == {"a,b": ["1,2"]}  # the ending decides


def test_a_packed_file_of_several_parts_is_read_to_its_end(tmp_path: Path) -> None:
    first = gzip.compress(b"a,b\n1,2\n")
    assert read(tmp_path, first + gzip.compress(b"3,4\n"), "t.csv.gz") == {"a": ["1", "3"], "b": ["2", "4"]}
    told(tmp_path, first + b"and more", "t.csv.gz")


def test_json_is_unpacked_with_its_types_and_parquet_with_its_own(tmp_path: Path) -> None:
    content = gzip.compress(b'[{"a": 1, "b": true}, {"a": null, "b": false}]')
    assert read(tmp_path, content, "t.json.gz") == {"a": [1, None], "b": [True, False]}


# In pieces


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each piece that is laid aside; a CSV is read 16 bytes at a time, or 64 where rows are longer."""
    seen: list[int] = []
    kept = readers.kept

    def watch(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
        def passing() -> Iterable[pa.RecordBatch]:
            for batch in batches:
                seen.append(batch.num_rows)
                yield batch

        return kept(schema, passing())

    monkeypatch.setattr(readers, "kept", watch)
    monkeypatch.setattr(readers, "BLOCKS", (16, 64))
    return seen


def test_a_csv_is_read_in_blocks(tmp_path: Path, pieces: list[int]) -> None:
    assert read(tmp_path, "a,b\n" + "1,2\n" * 100) == {"a": ["1"] * 100, "b": ["2"] * 100}
    assert sum(pieces) == 100
    assert 0 < max(pieces) <= 4  # 16 bytes are four rows


def test_parquet_is_read_in_batches(tmp_path: Path, pieces: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    size = pq.read_metadata(io.BytesIO(parquet())).row_group(0).total_byte_size
    for batch, expected in ((1, [1, 1, 1, 1]), (size // 2 + 1, [2, 2]), (size, [4])):
        pieces.clear()
        monkeypatch.setattr(readers, "BATCH", batch)
        assert read(tmp_path, parquet(), "t.parquet") == CELLS
        assert pieces == expected


def test_packed_arrow_is_unpacked_batch_by_batch_and_the_rest_lies_as_it_is(tmp_path: Path, pieces: list[int]) -> None:
    read(tmp_path, arrow(compression="zstd"), "t.arrow")
    assert pieces == [3, 1]
    read(tmp_path, arrow(file=False), "t.arrow")
    assert pieces == [3, 1]


@pytest.mark.parametrize("packed", PACKED)
def test_a_table_of_a_file_takes_no_memory_of_its_own(tmp_path: Path, packed: str) -> None:
    path = save(tmp_path, f"t.csv{packed}", PACKED[packed](b"a,b\n" + b"one word,another\n" * 200_000))
    before = pa.total_allocated_bytes()
    table = read_table(path)
    assert table.data.nbytes > 3_000_000
    end = time.monotonic() + 10
    while pa.total_allocated_bytes() - before > 100_000 and time.monotonic() < end:
        time.sleep(0.01)  # Arrow's threads let go a little later
    assert pa.total_allocated_bytes() - before < 100_000


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("rows", [1, 9])
def test_a_row_longer_than_the_first_block_is_read_with_the_next(tmp_path: Path, rows: int) -> None:
    long = "x" * 30
    assert read(tmp_path, "a,b\n" + f"{long},1\n" * rows + "2,3\n") == {
        "a": [long] * rows + ["2"],
        "b": ["1"] * rows + ["3"],
    }


def test_so_is_a_line_of_names(tmp_path: Path, pieces: list[int]) -> None:
    assert read(tmp_path, "x" * 30 + ",b\n1,2\n") == {"x" * 30: ["1"], "b": ["2"]}
    assert pieces == [1]


@pytest.mark.usefixtures("pieces")
def test_a_row_longer_than_the_last_block_is_an_error(tmp_path: Path) -> None:
    found = told(tmp_path, "a,b\n" + "1,2\n" * 50 + "x" * 300 + ",1\n")
    assert "has a row of more than 0 MB, or a quote that is not closed" in found


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("first", ["1", "", "2024-01-01", "true"])
def test_what_stands_far_down_changes_nothing(tmp_path: Path, first: str) -> None:
    got = read(tmp_path, "a,b\n" + f"{first},0\n" * 50 + "word,NA\n")
    assert got == {"a": [first or None] * 50 + ["word"], "b": ["0"] * 50 + ["NA"]}


@pytest.mark.parametrize("block", range(5, 40))
def test_quotes_run_over_block_borders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(readers, "BLOCKS", (block, 64))
    got = read(tmp_path, 'a,b\r\n"1\r\n2","3,4"\r\n5,"say ""6"""\r\n"7,\n8",ä\r\n')
    assert got == {"a": ["1\r\n2", "5", "7,\n8"], "b": ["3,4", 'say "6"', "ä"]}
    assert read(tmp_path, 'a,b\r\n"1\r\n2",3\r\n4,5\r\n') == {"a": ["1\r\n2", "4"], "b": ["3", "5"]}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_lines_end_as_they_like_in_small_blocks(tmp_path: Path, pieces: list[int], newline: str, packed: str) -> None:
    text = "\ufeffa,b\n" + "".join(f"{row},ä\n" for row in range(40)) + "\n" * 20 + "last,日"
    content = PACKED[packed](text.replace("\n", newline).encode())
    assert read(tmp_path, content, f"t.csv{packed}") == {
        "a": [*map(str, range(40)), "last"],
        "b": ["ä"] * 40 + ["日"],
    }
    assert len(pieces) > 5


# What is no table


@pytest.mark.parametrize("form", [".csv", ".tsv", ".json", ".jsonl"])
@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\n \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_nothing_is_no_table(tmp_path: Path, form: str, packed: str, content: bytes) -> None:
    found = told(tmp_path, PACKED[packed](content), f"t{form}{packed}")
    assert found.endswith({".json": "is no array", ".jsonl": "has no rows"}.get(form, "is empty"))


@pytest.mark.parametrize("name", ["t.csv.gz", "t.tsv.bz2", "t.csv.zst", "t.json.gz", "t.parquet", "t.arrow", "t.feather"])
def test_an_empty_file_is_no_table_though_its_name_says_packed(tmp_path: Path, name: str) -> None:
    told(tmp_path, b"", name)


@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a;b\r\n", "\ufeffa,b\n\n\n"])
def test_names_alone_are_no_rows(tmp_path: Path, content: str) -> None:
    assert told(tmp_path, content).endswith("has no rows")
    assert told(tmp_path, gzip.compress(content.encode()), "t.csv.gz").endswith("has no rows")


@pytest.mark.parametrize("form", [".csv", ".parquet", ".arrow"])
def test_names_must_differ_and_be_there(tmp_path: Path, form: str) -> None:
    table = pa.table([["1"], ["2"], ["3"], ["4"], ["5"]], names=["a", "b", "a", "b", " "])
    path = tmp_path / f"t{form}"
    if form == ".parquet":
        pq.write_table(table, path)
    elif form == ".arrow":
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        path.write_text("a,b,a,b, \n1,2,3,4,5\n")
    with pytest.raises(ConsilienceError) as caught:
        read_table(path)
    assert [problem.found for problem in caught.value.problems] == [
        f"{path} has columns of one name: a, b",
        f"{path} has a column without a name",
    ]


@pytest.mark.parametrize(("row", "count"), [("1", 1), ("1,2,3", 3), ("x y", 1)])
def test_a_ragged_row_is_named_wherever_it_is(tmp_path: Path, row: str, count: int, request: pytest.FixtureRequest) -> None:
    content = 'a,b\n"1\n",2\n' + "3,4\n" * 50 + f"{row}\n5,6\n"
    assert f"Row #53: Expected 2 columns, got {count}: {row}" in told(tmp_path, content)
    request.getfixturevalue("pieces")
    assert f"Row #53: Expected 2 columns, got {count}: {row}" in told(tmp_path, content)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "t.jsonl", "t.csv.gz"])
@pytest.mark.parametrize("far", [0, 1_500_000])
def test_nul_bytes_are_told_of_however_far_down(tmp_path: Path, name: str, far: int) -> None:
    content = b"a\tb\n" + b"1\t2\n" * (far >> 2) + b"\0\t2\n"
    if "json" in name:
        content = b"[" + b" " * far + b'{"a": "\0"}]' if name == "t.json" else b'{"a": 1}\n' + b"\n" * far + b'{"a": "\0"}'
    assert told(tmp_path, PACKED[".gz" if name.endswith("gz") else ""](content), name).endswith("holds NUL bytes")


def test_bytes_that_are_no_utf_8_are_told_of_with_their_place(tmp_path: Path) -> None:
    assert "column #1: Row #52: CSV conversion error to string: invalid UTF8" in told(
        tmp_path, ("a,b\n" + "1,2\n" * 50 + "3,é\n").encode("latin-1")
    )
    for name, content in (("t.json", '[{"a": "é"}]'), ("t.jsonl", '{"a": "é"}\n')):
        found = told(tmp_path, content.encode("latin-1"), name)
        assert f"can't decode byte 0xe9 in position {content.index('é')}" in found


@pytest.mark.parametrize("name", ["t.csv.xz", "t.parquet.gz", "t.arrow.zst", "t.xlsx", "t.csv.", "t", "tcsv", "t.gz"])
def test_an_unknown_ending_is_told_of_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, name, lzma.compress(b"a,b\n1,2\n"))
    assert read_file(path) is None
    with pytest.raises(ConsilienceError) as caught:
        read_table(path)
    (problem,) = caught.value.problems
    assert problem.found == f"{path} is no table that can be read"
    assert problem.expected == "a file that ends in " + ", ".join(endings())


def test_endings_are_all_that_can_be_read() -> None:
    assert sorted(endings()) == sorted(
        [f"{form}{packed}" for form in TEXTS for packed in PACKED] + [".parquet", ".pq", ".arrow", ".feather", ".ipc"]
    )


def test_a_folder_is_no_table_whatever_its_ending(tmp_path: Path) -> None:
    for form in endings():
        folder = tmp_path / f"t{form}"
        folder.mkdir()
        with pytest.raises(ConsilienceError, match=re.escape(f"the table {folder} is a folder")):
            read_table(folder)


CONTENTS = {
    "csv": b"a,b\n1,2\n" * 9,
    "json": TEXTS[".json"].encode(),
    "parquet": parquet(),
    "file": arrow(),
    "stream": arrow(False),
}


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize(("kind", "forms"), [
    ("csv", (".json", ".jsonl", ".parquet", ".arrow")),
    ("json", (".jsonl", ".parquet", ".feather")),
    ("parquet", (".csv", ".tsv", ".json", ".jsonl", ".arrow", ".csv.gz", ".json.bz2", ".csv.zst")),
    ("file", (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".csv.gz", ".tsv.bz2", ".jsonl.zst")),
    ("stream", (".csv", ".tsv", ".json", ".jsonl", ".pq", ".csv.gz", ".csv.bz2", ".csv.zst")),
])  # fmt: skip
def test_a_file_that_is_not_what_its_ending_says_is_told_of(
    tmp_path: Path, kind: str, forms: tuple[str, ...], packed: str
) -> None:
    for form in forms:
        if form.endswith(packed) and packed:
            continue
        told(tmp_path, PACKED[packed](CONTENTS[kind]), f"t{form}")


@pytest.mark.parametrize("kind", ["parquet", "file", "packed", "gz", "bz2", "zst"])
def test_a_file_cut_short_anywhere_is_told_of(tmp_path: Path, kind: str) -> None:
    text = separated(",").encode() * 40
    name, content = {
        "parquet": ("t.parquet", parquet()),
        "file": ("t.arrow", arrow()),
        "packed": ("t.arrow", arrow(compression="zstd")),
        **{form: (f"t.csv.{form}", PACKED[f".{form}"](text)) for form in ("gz", "bz2", "zst")},
    }[kind]
    for cut in {0, 1, 4, 7, *range(10, len(content), 29), len(content) - 9, len(content) - 4, len(content) - 1}:
        told(tmp_path, content[:cut], name)


def test_a_stream_cut_short_is_told_of_or_ends_with_a_whole_batch(tmp_path: Path) -> None:
    # Arrow's stream may end without a mark: cut between two batches, it is a shorter table.
    content, rows = arrow(file=False), set()
    for cut in range(0, len(content), 4):
        path = save(tmp_path, "t.arrow", content[:cut])
        try:
            table = read_table(path)
        except ConsilienceError as error:
            assert str(path) in error.problems[0].found
        else:
            rows.add(len(table))
            assert cells(table) == {name: column[: len(table)] for name, column in CELLS.items()}
    assert rows == {3, 4}


def test_damaged_pages_of_parquet_are_told_of(tmp_path: Path) -> None:
    content = parquet()
    told(tmp_path, content[:10] + content[30:], "t.parquet")
    told(tmp_path, content[:4] + bytes(len(content) // 3) + content[4 + len(content) // 3 :], "t.parquet")


def test_offsets_that_lead_out_of_a_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    feather.write_feather(pa.table({"text": ["ab", "cde", "f"]}), path, compression="uncompressed")
    data = path.read_bytes()
    offsets = np.array([0, 2, 5, 6], np.int32).tobytes()
    assert data.count(offsets) == 1
    path.write_bytes(data.replace(offsets, np.array([0, 2, 2**30, 6], np.int32).tobytes()))
    with pytest.raises(ConsilienceError, match="cannot be read"):  # Arrow itself would end the process
        read_table(path)


def test_names_of_parts_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    feather.write_feather(pa.table({"media": [{"bytes": b"x", "path": "p"}]}), path, compression="uncompressed")
    path.write_bytes(path.read_bytes().replace(b"path", b"pat\xff"))
    with pytest.raises(ConsilienceError, match="cannot be read"):
        read_table(path)


def test_a_damaged_file_leaves_nothing_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n" * 50)[:-9])

    def anonymous() -> int:
        return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line)

    if not Path("/proc/self/status").exists():
        pytest.skip("memory is counted by Linux")
    for rounds in (50, 400):
        before = anonymous()
        for _ in range(rounds):
            with pytest.raises(ConsilienceError):
                read_table(path)
    assert anonymous() - before < 8_000  # kB; with 64 kB lost a time it would be 25,600
