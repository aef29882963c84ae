"""Splits: shares, classes, groups and time hold for every seed; what cannot be split says why."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.data.split import Facts, Splits, kfold, part_of, split
from consilience.data.table import Cells, Table
from consilience.errors import ConsilienceError
from consilience.recipe import Split


def make(
    rows: int,
    *,
    seed: int = 0,
    strata: Sequence[int] | None = None,
    labelled: Sequence[bool] | None = None,
    group: Sequence[Any] | None = None,
    time: Sequence[Any] | None = None,
    column: Sequence[Any] | None = None,
    held_out: int = 0,
    **recipe: Any,
) -> Splits:
    """`rows` rows split; every row stands in one part at most, sorted."""
    full = np.ones(rows, dtype=bool) if labelled is None else np.array(labelled)
    classes = None if strata is None else np.array(strata)
    codes = Table(pa.table({"group": list(group)}), "the table").codes("group") if group is not None else None
    facts = Facts(full, classes, codes, *map(cells, (group, time, column)), held_out)
    keys = {"group": "person"} if group is not None else {}
    got = split(facts, Split(**(keys | recipe)), np.random.default_rng(seed))
    together = np.concatenate([got.train, got.valid, got.test])
    assert len(np.unique(together)) == len(together)
    assert set(together.tolist()) == set(np.flatnonzero(full).tolist())
    for part in (got.train, got.valid, got.test):
        assert (np.diff(part) > 0).all()
    return got


def cells(column: Sequence[Any] | None) -> Cells | None:
    return None if column is None else Cells(pa.chunked_array([pa.array(list(column))]))


def sizes(got: Splits) -> tuple[int, int, int]:
    return len(got.train), len(got.valid), len(got.test)


def parts(got: Splits) -> tuple[list[int], list[int], list[int]]:
    return got.train.tolist(), got.valid.tolist(), got.test.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_random_parts_have_their_share(seed: int) -> None:
    assert sizes(make(200, seed=seed, valid=0.15, test=0.25)) == (120, 30, 50)


def test_a_seed_fixes_the_split_and_another_changes_it() -> None:
    one, same, other = make(100, seed=1), make(100, seed=1), make(100, seed=2)
    assert one.train.tolist() == same.train.tolist()
    assert one.valid.tolist() == same.valid.tolist()
    assert one.train.tolist() != other.train.tolist()


def test_every_row_is_as_likely_to_be_taken() -> None:
    taken = np.zeros(10)
    for seed in range(400):
        taken[make(10, seed=seed, test=0.3, valid=0.2).test] += 1
    # 120 of 400 expected in each place; the standard deviation is 9.
    assert np.abs(taken - 120).max() < 40


@pytest.mark.parametrize(("rows", "expected"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (5, (3, 1, 1))])
def test_small_tables_still_have_all_parts(rows: int, expected: tuple[int, int, int]) -> None:
    for seed in range(20):
        assert sizes(make(rows, seed=seed)) == expected


def test_without_a_test_share_there_is_no_test_part() -> None:
    got = make(100, test=0, valid=0.2)
    assert sizes(got) == (80, 20, 0)
    assert got.notes == ("no test part, because split.test is 0", "valid: at random")


def shares_hold(labels: np.ndarray, got: Splits, valid: float, test: float) -> None:
    for label in np.unique(labels):
        count = (labels == label).sum()
        in_valid, in_test = (labels[got.valid] == label).sum(), (labels[got.test] == label).sum()
        assert (labels[got.train] == label).sum() >= 1, f"class {label} has no row to train on"
        assert abs(in_test - test * count) < 1
        assert abs(in_valid - min(valid * count, count - in_test - 1)) < 1


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=8).filter(lambda counts: max(counts) >= 20),
    valid=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_every_class_has_its_share_and_a_row_to_train_on(counts: list[int], valid: float, test: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    got = make(len(labels), seed=seed, strata=labels.tolist(), valid=valid, test=test)
    shares_hold(labels, got, valid, test)


@pytest.mark.parametrize("seed", range(10))
def test_classes_of_one_and_two_rows_are_trained_on(seed: int) -> None:
    labels = np.array([0] * 60 + [1] * 38 + [2] + [3, 3])
    got = make(len(labels), seed=seed, strata=labels.tolist(), test=0.4, valid=0.5)
    assert set(labels[got.train].tolist()) == {0, 1, 2, 3}
    assert 2 not in labels[np.concatenate([got.valid, got.test])]


def test_random_looks_at_no_class() -> None:
    labels = [0] * 50 + [1] * 50
    assert {sum(make(100, seed=seed, strata=labels, method="random").test < 50) for seed in range(9)} - {7, 8}


@given(
    sizes_of=st.lists(st.integers(1, 12), min_size=6, max_size=30),
    valid=st.floats(0.1, 0.4),
    test=st.floats(0.1, 0.4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_groups_stay_whole_and_come_near_their_share(sizes_of: list[int], valid: float, test: float, seed: int) -> None:
    group = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes_of)), sizes_of)).tolist()
    got = make(len(group), seed=seed, group=group, valid=valid, test=test)
    parts = [{group[row] for row in part} for part in (got.train, got.valid, got.test)]
    assert all(parts)
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    # No further from the share than the largest group, which may have been the only one on offer.
    assert abs(len(got.test) - test * len(group)) <= max(sizes_of)


def test_a_giant_group_is_trained_on() -> None:
    group = ["giant"] * 900 + [f"small {row // 10}" for row in range(100)]
    for seed in range(10):
        got = make(1000, seed=seed, group=group, test=0.05, valid=0.03)
        assert sizes(got) == (920, 30, 50)


@pytest.mark.parametrize(
    ("counts", "test", "valid", "expected"),
    [
        ((50, 20, 30), 0.05, 0.05, (50, 30, 20)),  # all far over the share: the smallest
        ((9, 9, 2), 0.1, 0.8, (9, 9, 2)),  # both groups of 9 would come nearer to 16 rows, but one is trained on
    ],
)
def test_a_part_gets_a_group_and_one_is_left(
    counts: tuple[int, ...], test: float, valid: float, expected: tuple[int, int, int]
) -> None:
    group = np.repeat(np.arange(3), counts).tolist()
    for seed in range(10):
        assert sizes(make(len(group), seed=seed, group=group, test=test, valid=valid)) == expected


@pytest.mark.parametrize("empty", [None, "", "  ", float("nan")])
def test_rows_with_an_empty_group_are_groups_of_one(empty: Any) -> None:
    got = make(60, group=[empty] * 60, test=0.2, valid=0.2)
    assert sizes(got) == (36, 12, 12)


@pytest.mark.parametrize("method", ["grouped", "random", "stratified", "auto"])
def test_no_method_splits_a_known_group(method: str) -> None:
    got = make(60, group=[row // 6 for row in range(60)], strata=[0, 1] * 30, method=method)
    assert {row // 6 for row in got.train}.isdisjoint({row // 6 for row in [*got.valid, *got.test]})
    assert "test: whole groups of person, at random" in got.notes


def test_a_group_on_both_sides_is_an_error_that_names_it() -> None:
    column, group = ["train"] * 6 + ["valid"] * 2 + ["test"] * 2, ["a", "b", "c", None, "e", "f", "a", None, "b", "g"]
    with pytest.raises(ConsilienceError) as caught:
        make(10, column=column, group=group)
    assert [problem.found for problem in caught.value.problems] == [
        "1 groups stand both in train and in valid: a",
        "1 groups stand both in train and in test: b",
    ]


def test_the_latest_rows_are_the_test_part() -> None:
    time = [5, 3, 9, 1, 7, 0, 8, 2, 6, 4]
    assert parts(make(len(time), time=time, test=0.2, valid=0.3)) == ([1, 3, 5, 7, 9], [0, 4, 8], [2, 6])


def test_rows_of_one_moment_stay_together() -> None:
    time = [1, 1, 2, 2, 2, 3, 3, 3, 3, 4]
    # 3 rows wanted: after moment 3 there is 1, after moment 2 there are 5; 1 and 5 are as near, and the earlier cut wins.
    assert parts(make(len(time), time=time, test=0.3, valid=0.2))[2] == [5, 6, 7, 8, 9]
    assert parts(make(len(time), time=time, test=0.2, valid=0.2))[2] == [9]
    # A last moment with more rows than the share is tested whole.
    assert parts(make(8, time=[1, 2, 3, 4, 4, 4, 4, 4], test=0.1, valid=0.1)) == ([0, 1], [2], [3, 4, 5, 6, 7])


@given(st.lists(st.integers(0, 15), min_size=8, max_size=60).filter(lambda time: len(set(time)) >= 3), st.integers(0, 9))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_what_is_tested_is_strictly_later(time: list[int], seed: int) -> None:
    got = make(len(time), time=time, seed=seed)
    moments = np.array(time)
    assert moments[got.train].max() < moments[got.valid].min()
    assert moments[got.valid].max() < moments[got.test].min()


@pytest.mark.parametrize(
    "time",
    [
        ["2024-01-01", "2024-01-02", "2023-12-31", "2024-10-01"],
        ["2024-01-01T10:30", "2024-01-01T10:30:00.5", "2024-01-01T10:15", "2024-01-01T10:45"],
        ["2024-01-01T10:00Z", "2024-01-01T12:30+02:00", "2024-01-01T11:30+02:00", "2024-01-01T10:45Z"],
        ["2024-01-01T10:00", "2024-01-01T11:30+01:00", "2024-01-01T09:00", "2024-01-01T11:00"],
        ["2024-02", "2024-03", "2024-01", "2024-04"],
        ["10", "9.5e1", " 2", "1e3"],
        [datetime.date(2024, 1, 2), datetime.date(2024, 1, 3), datetime.date(2024, 1, 1), datetime.date(2024, 2, 1)],
        [datetime.datetime(2024, 1, 1, hour, tzinfo=datetime.UTC) for hour in (2, 3, 1, 4)],
        [2, 3, -1, 4.5],
    ],
)
def test_times_are_numbers_or_iso_dates(time: list) -> None:
    assert parts(make(len(time), time=time, test=0.25, valid=0.25)) == ([0, 2], [1], [3])


@pytest.mark.parametrize(
    ("time", "wrong"),
    [
        (["2024-01-01", None, "2024-01-03", ""], "2 of 4 cells of the time column are no time: None, ''"),
        ([1.0, float("nan"), 2, 3], "1 of 4 cells of the time column are no time: nan"),
        (["1", "2", "soon", "3"], "1 of 4 cells of the time column are no time: 'soon'"),
        (["2024-01-01", "5", "2024-01-03", "2024-01-04"], "1 of 4 cells of the time column are no time: '5'"),
        (["01.02.2024"] * 4, "4 of 4 cells"),
        (["12:30"] * 4, "4 of 4 cells"),
        ([3, 3, 3, 3], "all rows that are left to split are of one time"),
        ([1, 3, 3, 1], "all rows that are left to split are of one time"),
    ],
)
def test_what_is_no_time_is_an_error(time: list, wrong: str) -> None:
    with pytest.raises(ConsilienceError) as caught:
        make(4, time=time)
    assert wrong in str(caught.value)


def test_the_split_column_decides() -> None:
    got = make(6, column=["train", "test", "valid", "train", "train", "test"])
    assert parts(got) == ([0, 3, 4], [2], [1, 5])
    assert got.notes == ("parts as the split column says",)


def test_usual_spellings_are_understood_and_said() -> None:
    got = make(4, column=["Training", " val ", "HELDOUT", "tr"])
    assert parts(got) == ([0, 3], [1], [2])
    assert got.notes == ("parts as the split column says (read  val , HELDOUT, Training, tr as usual)",)


@pytest.mark.parametrize(
    ("cell", "part"),
    [("dev", "valid"), ("Eval", "valid"), ("te", "test"), ("held-out", "test"), ("fit", "train"), (None, None), (0, None)],
)
def test_part_of(cell: Any, part: str | None) -> None:
    assert part_of(cell) == part


def test_cells_that_name_no_part_are_an_error() -> None:
    with pytest.raises(ConsilienceError, match="3 cells of the split column name no part: 'later', None"):
        make(5, column=["train", "later", None, "later", "valid"])


def test_valid_rows_are_taken_from_train_where_the_column_has_none() -> None:
    got = make(100, column=["train"] * 80 + ["test"] * 20, strata=[0, 1] * 50, valid=0.1)
    assert sizes(got) == (70, 10, 20)
    assert sum(row % 2 for row in got.valid) == 5
    assert got.notes == ("parts as the split column says", "valid: at random within each class")


def test_a_column_without_test_rows_means_no_test() -> None:
    assert sizes(make(10, column=["train"] * 7 + ["valid"] * 3, test=0.5)) == (7, 3, 0)


def test_few_train_rows_are_halved_and_that_is_said() -> None:
    got = make(100, column=["train"] * 10 + ["test"] * 90, valid=0.2)
    assert sizes(got) == (5, 5, 90)
    assert "valid is half of the train rows, because split.valid of all rows is more than that" in got.notes


def test_a_separate_table_is_the_test_part() -> None:
    got = make(100, held_out=20, valid=0.25)
    assert got.test.tolist() == list(range(80, 100))
    assert sizes(got) == (60, 20, 20)
    assert got.notes == ("the separate table's 20 rows are the test part", "valid: at random")


def test_a_separate_table_adds_to_the_test_rows_of_a_column() -> None:
    got = make(6, column=["train", "test", "valid", "train", "anything", None], held_out=2)
    assert parts(got) == ([0, 3], [2], [1, 4, 5])


def test_rows_without_a_target_are_an_error_or_left_out() -> None:
    labelled = [True] * 8 + [False] + [True] * 9 + [False, True]
    with pytest.raises(ConsilienceError, match=r"2 of 20 rows have an empty target[\s\S]*split\.unlabelled=exclude"):
        make(20, labelled=labelled)
    got = make(20, labelled=labelled, unlabelled="exclude", held_out=3)
    assert got.test.tolist() == [17, 19]
    assert got.notes[0] == "2 rows without a target are in no part"


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"strata": [0] * 30 + [1] * 12 + [2] * 5},
        {"group": [row // 4 for row in range(47)]},
        {"group": [row // 4 for row in range(47)], "strata": [row // 24 for row in range(47)]},
        {"time": [row // 3 for row in range(47)]},
    ],
)
@pytest.mark.parametrize("folds", [2, 5])
def test_every_row_is_tested_in_exactly_one_fold(facts: dict[str, Any], folds: int) -> None:
    parts = [make(47, folds=folds, fold=fold, seed=3, **facts).test.tolist() for fold in range(folds)]
    assert sorted(row for part in parts for row in part) == list(range(47))
    slack = 4 if "group" in facts else 3 if "time" in facts else 1
    assert max(map(len, parts)) - min(map(len, parts)) <= 2 * slack


def test_folds_of_classes_are_even_to_within_one_row() -> None:
    labels = np.array([0] * 33 + [1] * 13 + [2] * 5 + [3] * 2)
    fold = kfold(np.arange(53), 5, labels, None, np.random.default_rng(0))
    for label in range(4):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(fold).tolist() == [11, 11, 11, 10, 10]


@pytest.mark.parametrize("seed", range(5))
def test_folds_of_groups_differ_by_the_largest_group_at_most(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 25, size=200)
    fold = kfold(np.arange(200), 4, None, group, rng)
    assert all(len(set(fold[group == name])) == 1 for name in np.unique(group))
    counts = np.bincount(fold, minlength=4)
    assert counts.max() - counts.min() <= np.bincount(group).max()


def test_kfold_answers_for_the_rows_asked_and_looks_up_the_rest_by_row() -> None:
    rows, group = np.array([9, 2, 7, 4]), np.zeros(10, np.int64)
    group[2] = group[7] = 2
    group[9], group[4] = 9, 4
    fold = kfold(rows, 3, None, group, np.random.default_rng(0))
    assert fold[1] == fold[2]
    assert sorted(fold[[0, 1, 3]].tolist()) == [0, 1, 2]


def test_folds_by_time_are_stretches() -> None:
    time = [1, 1, 2, 2, 3, 3]
    assert [make(6, time=time, folds=3, fold=fold).test.tolist() for fold in range(3)] == [[0, 1], [2, 3], [4, 5]]
    uneven = [1, 1, 2, 2, 3, 3, 3, 3, 3, 4]
    assert [len(make(10, time=uneven, folds=2, fold=fold).test) for fold in range(2)] == [4, 6]
    assert "test: fold 1 of 3, stretches of time" in make(6, time=time, folds=3, fold=1).notes


def test_folds_say_so_and_leave_a_split_column_aside() -> None:
    got = make(20, column=["train"] * 20, strata=[0, 1] * 10, folds=4, fold=2)
    assert "the split column is not used, because split.folds is set" in got.notes
    assert "test: fold 2 of 4, at random within each class" in got.notes
    assert sizes(got) == (12, 3, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "column"}, "split.method is column, but split.column is not set"),
        ({"method": "grouped"}, "split.method is grouped, but split.group is not set"),
        ({"method": "time"}, "split.method is time, but split.time is not set"),
        ({"method": "stratified"}, "the target has no classes"),
        ({"folds": 3, "fold": 3}, "a fold below split.folds = 3"),
        ({"fold": 1}, "a fold below split.folds, which is not set"),
        ({"folds": 11}, "10 rows cannot be cut into 11 folds"),
        ({"folds": 5, "group": [0, 1] * 5}, "2 groups cannot be cut into 5 folds"),
        ({"folds": 5, "time": [0, 1, 2] * 3 + [1]}, "3 different times cannot be cut into 5 folds"),
        ({"folds": 2, "held_out": 3}, "split.folds is set, but a separate table is the test part"),
        ({"folds": 2, "method": "column", "column": ["train"] * 10}, "split.folds is set, but the split column is"),
        ({"valid": 0.5, "test": 0.6}, "split.valid is 0.5 of all rows, but the test part leaves 4 of 10"),
        ({"valid": 0.6, "folds": 2}, "split.valid is 0.6 of all rows, but the test part leaves 5 of 10"),
        ({"group": ["a"] * 10}, "all rows that are left to split are of one group"),
        ({"column": ["test", "valid"] * 5}, "the train part has no rows"),
        ({"strata": range(10)}, "the valid part has no rows"),
    ],
)
def test_what_cannot_be_done_is_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConsilienceError) as caught:
        make(10, **arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(("rows", "parts"), [(0, ["train", "valid"]), (1, ["valid"]), (2, ["valid"])])
def test_too_few_rows_are_an_error(rows: int, parts: list[str]) -> None:
    with pytest.raises(ConsilienceError) as caught:
        make(rows)
    assert [problem.found for problem in caught.value.problems] == [f"the {part} part has no rows" for part in parts]
