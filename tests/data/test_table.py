"""The one reader: what stands in the file stands in the table, in its order; what cannot be read says why."""

from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consilience.data import readers
from consilience.data.readers import BLOCKS
from consilience.data.table import SAMPLED, Table, read_table
from consilience.errors import ConsilienceError


def csv(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cells(table: Table) -> dict[str, list]:
    return {name: table.cells(name) for name in table.names}


# What a CSV holds


def test_cells_of_a_csv_are_strings_as_they_stand(tmp_path: Path) -> None:
    got = read_table(csv(tmp_path, "zip,word,number,flag,date\n00123,NA,1.0,True,2024-01-01\n7,null,-1e5, false ,\n"))
    assert cells(got) == {
        "zip": ["00123", "7"],
        "word": ["NA", "null"],
        "number": ["1.0", "-1e5"],
        "flag": ["True", " false "],
        "date": ["2024-01-01", None],
    }


def test_an_empty_cell_is_null_quoted_or_not(tmp_path: Path) -> None:
    assert cells(read_table(csv(tmp_path, 'a,b\n"",\n" ",x\n'))) == {"a": [None, " "], "b": [None, "x"]}


def test_quotes_hold_commas_newlines_and_quotes(tmp_path: Path) -> None:
    got = read_table(csv(tmp_path, '"a","b, c"\n"1,\n2","say ""hi"""\n5" nail,"x"\n'))
    assert cells(got) == {"a": ["1,\n2", '5" nail'], "b, c": ['say "hi"', "x"]}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("before", ["", "\n\n"])
def test_bom_newlines_and_blank_lines_change_nothing(tmp_path: Path, bom: bytes, newline: str, last: bool, before: str) -> None:
    text = (before + "a,b\n1,ä\n2,日\n").replace("\n", newline)
    content = bom + (text if last else text.removesuffix(newline)).encode()
    got = read_table(csv(tmp_path, content))
    assert cells(got) == {"a": ["1", "2"], "b": ["ä", "日"]}


@pytest.mark.parametrize(
    ("name", "compress"), [("t.csv.gz", gzip.compress), ("t.csv.bz2", bz2.compress), ("T.CSV.GZ", gzip.compress)]
)
def test_compressed_csv(tmp_path: Path, name: str, compress) -> None:
    assert cells(read_table(csv(tmp_path, compress(b"a,b\n1,2\n"), name))) == {"a": ["1"], "b": ["2"]}


def test_zstandard(tmp_path: Path) -> None:
    content = pa.compress(b"a,b\n1,2\n", codec="zstd", asbytes=True)
    assert cells(read_table(csv(tmp_path, content, "t.csv.zst"))) == {"a": ["1"], "b": ["2"]}


def test_a_long_cell_and_strings_far_down_are_read_alike(tmp_path: Path) -> None:
    long = "x" * (3 << 20)
    rows = 200_000
    got = read_table(csv(tmp_path, f"a,b\n{long},1\n" + "1,2\n" * rows + "word,NA\n"))
    assert len(got) == rows + 2
    assert got.cells("a", np.array([0, 1, rows + 1])) == [long, "1", "word"]
    assert BLOCKS[0] < len(long) < BLOCKS[1]


def test_a_cell_may_go_on_in_the_next_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "BLOCKS", (20, 50))
    rows = "".join(f'{row},"line\none, {row}"\n' for row in range(100))
    assert cells(read_table(csv(tmp_path, "a,b\n" + rows))) == {
        "a": [str(row) for row in range(100)],
        "b": [f"line\none, {row}" for row in range(100)],
    }


# What is no table


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\r\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a,b\n", "has no rows"),
        (b"a,b", "has no rows"),
        (b"a,b\n1,2,3\n", "Expected 2 columns, got 3"),
        (b"a,b\n1,2\n3\n", "Expected 2 columns, got 1"),
        ("a,b\n1,é\n".encode("latin-1"), "do: save it as UTF-8"),
        ("é,b\n1,2\n".encode("latin-1"), "do: save it as UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "it may be UTF-16"),
        (b"a,b\n1,\x002\n", "holds NUL bytes"),
        (b"a,b,a\n1,2,3\n", "columns of one name: a"),
        (b"a,,b\n1,2,3\n", "a column without a name"),
        (b"a, \n1,2\n", "a column without a name"),
        (b'a,b\n1,"2\n3,4\n5,6\n', "a quote that is not closed, before '2 3,4 5,6'"),
        (b'a,"b\n1,2\n', "cannot be read"),
        (b'a,"b\n' + b"1,2\n" * 100_000, "cannot be read"),
    ],
)
def test_a_damaged_csv_is_an_error_that_names_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ConsilienceError, match=r"table\.csv") as caught:
        read_table(csv(tmp_path, content))
    assert message in str(caught.value)


def test_a_last_cell_with_a_newline_in_closed_quotes_is_fine(tmp_path: Path) -> None:
    assert read_table(csv(tmp_path, 'a,b\n1,"2\n3"\n\n')).cells("b") == ["2\n3"]


def test_problems_of_the_header_are_raised_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConsilienceError) as caught:
        read_table(csv(tmp_path, "a,a,\n"))
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.bz2", "t.csv.zst", "t.parquet", "t.pq"])
def test_a_file_that_is_not_what_its_name_says_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConsilienceError, match=rf"{name} cannot be read"):
        read_table(csv(tmp_path, "a,b\n1,2\n", name))


def test_a_compressed_file_cut_short_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConsilienceError, match="cannot be read"):
        read_table(csv(tmp_path, gzip.compress(b"a,b\n1,2\n")[:-9], "t.csv.gz"))


@pytest.mark.parametrize("name", ["table.xlsx", "table", "csv", "table.csv.zip", "parquet"])
def test_an_unknown_suffix_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConsilienceError, match=r"ends in \.csv, .*\.parquet, \.pq"):
        read_table(csv(tmp_path, "a\n1\n", name))


def test_a_file_that_does_not_exist_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    csv(tmp_path, "a\n1\n", "patients.csv")
    with pytest.raises(ConsilienceError, match=r"does not exist\n.*\n.*did you mean 'patients\.csv'"):
        read_table(tmp_path / "patiens.csv")
    with pytest.raises(ConsilienceError, match=r"the folder .* does not exist or is empty"):
        read_table(tmp_path / "nowhere" / "a.csv")


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(ConsilienceError, match="is a folder"):
        read_table(tmp_path / "a.csv")


def test_a_media_root_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConsilienceError, match="media root"):
        read_table(csv(tmp_path, "a\n1\n"), tmp_path / "nowhere")


# Parquet and Arrow

TYPED = {
    "number": pa.array([1, None, 3]),
    "real": pa.array([0.5, None, float("inf")]),
    "flag": pa.array([True, None, False]),
    "word": pa.array(["00123", "", None]),
    "bytes": pa.array([b"\x00\xff", None, b""]),
    "day": pa.array([datetime.date(2024, 5, 1), None, None]),
    "moment": pa.array([datetime.datetime(2024, 5, 1, 12), None, None], pa.timestamp("ms")),
    "exact": pa.array([decimal.Decimal("1.10"), None, None]),
    "list": pa.array([[1, 2], None, []]),
    "record": pa.array([{"path": "a.png"}, None, {"path": None}]),
}


def test_a_parquet_file_keeps_its_types(tmp_path: Path) -> None:
    pq.write_table(pa.table(TYPED), tmp_path / "t.parquet")
    got = read_table(tmp_path / "t.parquet")
    assert cells(got) == {name: array.to_pylist() for name, array in TYPED.items()}
    assert got.source == str(tmp_path / "t.parquet")


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    (tmp_path / "split=train").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "split=train" / "t.pq")
    assert read_table(tmp_path / "split=train" / "t.pq").names == ("a",)


def test_dictionary_columns_are_their_words(tmp_path: Path) -> None:
    coded = pa.chunked_array([pa.array(["b", "a", None]).dictionary_encode(), pa.array(["c", "b"]).dictionary_encode()])
    pq.write_table(pa.table({"a": coded, "n": range(5)}), tmp_path / "t.parquet")
    for got in (read_table(tmp_path / "t.parquet"), read_table(pa.table({"a": coded, "n": range(5)}))):
        assert got.cells("a") == ["b", "a", None, "c", "b"]
        assert got.data.schema.field("a").type == pa.string()
        assert got.column("a").distinct == 3


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["a", " ", None], pa.string_view()), ["a", " ", None]),
        (pa.array([b"a", b"", None], pa.binary_view()), [b"a", b"", None]),
        (pa.array([1_714_564_800_000_000_123, None, 0], pa.timestamp("ns")), [datetime.datetime(2024, 5, 1, 12), None]),
    ],
)
def test_types_that_arrow_cannot_count_are_made_plain(array: pa.Array, expected: list) -> None:
    got = read_table(pa.table({"a": array}))
    assert got.cells("a")[: len(expected)] == expected
    assert got.column("a").rows == 3
    got.digest()


def test_an_arrow_table_must_be_sound_too() -> None:
    with pytest.raises(ConsilienceError, match=r"columns of one name: a\n.*\n.*\nthe table has no rows"):
        read_table(pa.table([pa.array([], pa.int64())] * 2, names=["a", "a"]))


def test_a_table_is_taken_as_it_is() -> None:
    table = read_table(pa.table({"a": [1]}))
    assert read_table(table) is table


def test_cells_come_in_the_order_asked_for() -> None:
    table = read_table(pa.table({"a": pa.chunked_array([["x", "y"], ["z"]])}))
    assert table.cells("a", np.array([2, 0, 0])) == ["z", "x", "x"]
    assert table.cells("a", np.array([], dtype=np.int64)) == []
    assert len(table) == 3


# What a modality sees of a column


@pytest.mark.parametrize(
    ("array", "empty", "distinct", "shown"),
    [
        (pa.array(["a", "", "  \t", None, "a", "b"]), 3, 2, ["a", "a", "b"]),
        (pa.array(["a", " ", None, "a"], pa.large_string()), 2, 1, ["a", "a"]),
        (pa.array([1.5, float("nan"), None, 2.0]), 2, 2, [1.5, 2.0]),
        (pa.array([None, None], pa.string()), 2, 0, []),
        (pa.array([None, None]), 2, 0, []),
        (pa.array([[1], None, [1], [2, 3]]), 1, 2, [[1], [1], [2, 3]]),
        (pa.array([{"a": 1}, {"a": 1}, None]), 1, 1, [{"a": 1}, {"a": 1}]),
        (pa.array([True, False, True]), 0, 2, [True, False, True]),
        (pa.array([b"", b"x"]), 0, 2, [b"", b"x"]),
        (pa.array([datetime.date(2024, 1, 1), None]), 1, 1, [datetime.date(2024, 1, 1)]),
    ],
)
def test_column_counts_by_hand(array: pa.Array, empty: int, distinct: int, shown: list) -> None:
    column = read_table(pa.table({"a": array})).column("a")
    assert (column.name, column.rows, column.empty, column.distinct) == ("a", len(array), empty, distinct)
    assert list(column.cells) == shown


@pytest.mark.parametrize("rows", [1, 2, 199, 200, 201, 1000])
def test_column_shows_some_cells_from_the_first_to_the_last(rows: int) -> None:
    column = read_table(pa.table({"a": pa.array([*range(rows), None])})).column("a")
    assert column.distinct == rows
    shown = list(column.cells)
    assert len(shown) == min(rows, SAMPLED)
    assert shown[0] == 0
    assert shown[-1] == rows - 1
    gaps = np.diff(shown)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1, "not even over the table"


# Two tables


def test_below_takes_columns_by_name_in_any_order() -> None:
    top = read_table(pa.table({"a": ["1", "2"], "b": ["x", "y"]}))
    got = top.below(read_table(pa.table({"other": [0], "b": ["z"], "a": ["3"]})))
    assert cells(got) == {"a": ["1", "2", "3"], "b": ["x", "y", "z"]}
    assert cells(top) == {"a": ["1", "2"], "b": ["x", "y"]}


def test_below_names_every_missing_column_and_the_nearest() -> None:
    top = read_table(pa.table({"price": [1], "label": [1], "c": [1]}))
    with pytest.raises(ConsilienceError) as caught:
        top.below(read_table(pa.table({"Price": [1], "lable": [2], "c": [1]})))
    assert [problem.found for problem in caught.value.problems] == [
        "the table has no column 'price'",
        "the table has no column 'label'",
    ]
    assert "did you mean 'Price'" in str(caught.value)


@pytest.mark.parametrize(
    ("top", "bottom", "expected"),
    [
        (pa.array(["1"]), pa.array([2]), ["1", "2"]),
        (pa.array([1]), pa.array(["2"]), [1, 2]),
        (pa.array([1]), pa.array([2.0]), [1, 2]),
        (pa.array([1.5]), pa.array([2]), [1.5, 2.0]),
        (pa.array(["1"]), pa.array([None]), ["1", None]),
        (pa.array(["1"]), pa.array(["2"], pa.large_string()), ["1", "2"]),
    ],
)
def test_below_casts_to_the_types_of_the_table_above(top: pa.Array, bottom: pa.Array, expected: list) -> None:
    got = read_table(pa.table({"a": top})).below(read_table(pa.table({"a": bottom})))
    assert got.cells("a") == expected
    assert got.data.schema.field("a").type == top.type


@pytest.mark.parametrize(
    ("top", "bottom"),
    [
        (pa.array([1]), pa.array(["x"])),
        (pa.array([1]), pa.array([1.5])),
        (pa.array([[1]]), pa.array([1])),
        (pa.array([None]), pa.array(["x"])),
    ],
)
def test_below_refuses_cells_that_do_not_fit(top: pa.Array, bottom: pa.Array) -> None:
    with pytest.raises(ConsilienceError, match="has other column types than"):
        read_table(pa.table({"a": top})).below(read_table(pa.table({"a": bottom})))


def test_below_refuses_empty_cells_where_the_table_above_forbids_them() -> None:
    strict = pa.table({"a": [1]}, schema=pa.schema([pa.field("a", pa.int64(), nullable=False)]))
    with pytest.raises(ConsilienceError, match="null values"):
        read_table(strict).below(read_table(pa.table({"a": pa.array([None], pa.int64())})))


def test_each_stretch_of_rows_keeps_its_media_root(tmp_path: Path) -> None:
    paths = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        paths.append(csv(tmp_path / name, "a,b\n1,2\n3,4\n"))
    table = read_table(paths[0]).below(read_table(paths[1]).below(read_table(paths[2], tmp_path)))
    assert [table.root(row) for row in range(6)] == [tmp_path / "one"] * 2 + [tmp_path / "two"] * 2 + [tmp_path] * 2
    assert table.column("a").root == tmp_path / "one"


def test_the_media_root_is_the_folder_of_the_file_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv(tmp_path, "a\n1\n")
    monkeypatch.chdir(tmp_path)
    assert read_table("table.csv").root(0) == tmp_path
    assert read_table(pa.table({"a": [1]})).root(0) == tmp_path


# Digest


def test_digest_is_equal_however_the_table_is_stored(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b\n1,x\n2,\n3,z\n")
    whole = read_table(path)
    chunked = pa.table(
        {"a": pa.chunked_array([["1"], ["2", "3"]]), "b": pa.chunked_array([["x", None], pa.array([], pa.string()), ["z"]])}
    )
    pq.write_table(whole.data, tmp_path / "t.parquet", row_group_size=1)
    digests = {table.digest() for table in (whole, read_table(path), read_table(chunked), read_table(tmp_path / "t.parquet"))}
    assert len(digests) == 1
    assert len(digests.pop()) == 64


@pytest.mark.parametrize(
    "changed",
    [
        {"a": ["1", "2"], "b": ["x", "y"]},
        {"a": ["1", "2"], "b": ["x", ""]},
        {"a": ["2", "1"], "b": ["x", None]},
        {"b": ["x", None], "a": ["1", "2"]},
        {"a": ["1", "2"], "c": ["x", None]},
        {"a": [1, 2], "b": ["x", None]},
        {"a": ["1", "2", "3"], "b": ["x", None, None]},
        {"a": ["1', '2", "2"], "b": ["x", None]},
        {"a": pa.array(["1", "2"], pa.large_string()), "b": ["x", None]},
    ],
)
def test_digest_differs_for_any_change(changed: dict) -> None:
    table = read_table(pa.table({"a": ["1", "2"], "b": ["x", None]}))
    assert table.digest() != read_table(pa.table(changed)).digest()


def test_categories_of_polars_are_words() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": polars.Series(["x", None, "y", "x"], dtype=polars.Categorical), "b": ["1", "2", None, "4"]})
    assert cells(read_table(frame)) == {"a": ["x", None, "y", "x"], "b": ["1", "2", None, "4"]}
