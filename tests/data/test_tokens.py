"""Tokens come back bit by bit, for the rows asked for; what was never put is not there, and a full disk is told of."""

from __future__ import annotations

import errno
import gc
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from consilience.data.tokens import Kept
from consilience.errors import ConsilienceError


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def tokens(row: int, count: int, width: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """[count, width]: 100 row + 10 token + place."""
    values = 100 * row + 10 * torch.arange(count)[:, None] + torch.arange(width)
    return values.to(dtype)


def filled(counts: list[int], dtype: torch.dtype = torch.float32) -> Kept:
    """As many rows as counts, each with so many tokens."""
    kept = Kept(len(counts), 3)
    kept.put(np.arange(len(counts)), [tokens(row, count, dtype=dtype) for row, count in enumerate(counts)])
    return kept


def test_rows_come_with_as_many_tokens_as_they_have() -> None:
    got = filled([2, 1, 3]).get(rows(0, 1, 2))
    assert got.mask.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    assert got.values.tolist() == [
        [[0, 1, 2], [10, 11, 12], [0, 0, 0]],
        [[100, 101, 102], [0, 0, 0], [0, 0, 0]],
        [[200, 201, 202], [210, 211, 212], [220, 221, 222]],
    ]
    assert got.seconds is None


def test_the_most_tokens_are_those_of_the_rows_asked_for() -> None:
    kept = filled([2, 1, 3])
    assert kept.get(rows(1)).values.tolist() == [[[100, 101, 102]]]
    assert kept.get(rows(1, 0)).values.shape == (2, 2, 3)


def test_rows_come_in_the_order_asked_for_and_as_often() -> None:
    got = filled([2, 1, 3]).get(rows(2, 0, 2, 1, 0))
    assert got.mask.sum(1).tolist() == [3, 2, 3, 1, 2]
    assert got.values[:, 0, 0].tolist() == [200, 0, 200, 100, 0]
    assert torch.equal(got.values[0], got.values[2])
    assert torch.equal(got.values[1], got.values[4])


def test_no_row_is_asked_for() -> None:
    got = filled([2]).get(rows())
    assert (got.values.shape, got.mask.shape) == ((0, 1, 3), (0, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_bits_are_those_that_were_put(dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    odd = [0.0, -0.0, 1 / 3, limits.max, -limits.max, limits.tiny, limits.tiny / 4, float("inf"), -float("inf"), float("nan")]
    values = torch.tensor(odd, dtype=dtype).reshape(5, 2)
    kept = Kept(2, 2)
    kept.put(rows(1, 0), [values[:3], values[3:]])
    got = kept.get(rows(1, 0, 1))
    assert got.values.dtype == dtype
    for place, expected in enumerate([values[:3], values[3:], values[:3]]):
        assert got.values[place][got.mask[place]].numpy().tobytes() == expected.numpy().tobytes()


def test_what_is_put_need_not_lie_in_one_piece() -> None:
    values = torch.arange(12.0).reshape(3, 4)
    kept = Kept(1, 3)
    kept.put(rows(0), [values.T])  # [4, 3]
    assert torch.equal(kept.get(rows(0)).values[0], values.T)


def test_rows_without_any_are_masked_whether_put_or_not() -> None:
    kept = Kept(4, 3)
    kept.put(rows(2, 0), [tokens(2, 0), tokens(0, 2)])
    got = kept.get(rows(0, 1, 2, 3))
    assert got.mask.tolist() == [[True, True], [False] * 2, [False] * 2, [False] * 2]
    assert got.values[1:].abs().sum() == 0
    assert (kept.start >= 0).tolist() == [True, False, True, False], "a row of no tokens was put, and is not asked for again"


def test_before_anything_is_put_there_is_one_token_that_is_not_there() -> None:
    got = Kept(3, 5).get(rows(2, 0))
    assert got.values.shape == (2, 1, 5)
    assert (got.values.dtype, got.values.abs().sum(), got.mask.any()) == (torch.float32, 0, False)


def test_rows_of_no_tokens_alone_are_not_there_either() -> None:
    kept = Kept(2, 3)
    kept.put(rows(1), [tokens(1, 0)])
    assert kept.get(rows(0, 1)).mask.tolist() == [[False], [False]]


def test_what_is_put_later_comes_beside_what_was_put_before() -> None:
    kept = Kept(5, 3)
    kept.put(rows(4, 1), [tokens(4, 1), tokens(1, 2)])
    first = kept.get(rows(1, 4, 0))
    kept.put(rows(0, 3), [tokens(0, 3), tokens(3, 1)])
    kept.put(rows(2), [tokens(2, 1)])
    got = kept.get(np.arange(5))
    assert got.mask.sum(1).tolist() == [3, 2, 1, 1, 1]
    for row, count in enumerate([3, 2, 1, 1, 1]):
        assert torch.equal(got.values[row, :count], tokens(row, count))
    assert torch.equal(first.values[0], tokens(1, 2)), "what was handed out stays"
    assert first.mask.sum(1).tolist() == [2, 1, 0]


def test_what_is_handed_out_may_be_changed() -> None:
    kept = filled([2])
    kept.get(rows(0)).values.zero_()
    assert torch.equal(kept.get(rows(0)).values[0], tokens(0, 2))


@pytest.mark.parametrize("values", [torch.zeros(2, 4), torch.zeros(2, 3, dtype=torch.float64), torch.zeros(3)])
def test_tokens_of_another_width_or_type_are_refused(values: torch.Tensor) -> None:
    kept = filled([2])
    with pytest.raises(AssertionError):
        kept.put(rows(0), [values])
    assert torch.equal(kept.get(rows(0)).values[0], tokens(0, 2))


def test_several_threads_may_put_and_get() -> None:
    kept = Kept(200, 3)

    def work(row: int) -> bool:
        kept.put(rows(row), [tokens(row, 1 + row % 4)])
        got = kept.get(rows(row))
        return torch.equal(got.values[0], tokens(row, 1 + row % 4))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))
    got = kept.get(np.arange(200))
    assert got.mask.sum(1).tolist() == [1 + row % 4 for row in range(200)]
    assert got.values[:, 0, 0].tolist() == [100 * row for row in range(200)]


# The file


def test_a_write_may_take_several_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = os.pwrite, []

    def some(file: int, data: Any, place: int) -> int:
        written.append(place)
        return write(file, bytes(data)[:7], place)

    monkeypatch.setattr(os, "pwrite", some)
    kept = filled([2, 1])
    kept.put(rows(0), [tokens(5, 1)])
    assert written == [0, 7, 14, 21, 28, 35, 36, 43]  # 3 tokens of 3 floats, then 12 bytes more
    got = kept.get(rows(0, 1))
    assert got.values.tolist() == [[[500, 501, 502]], [[100, 101, 102]]]


def test_a_full_disk_is_told_of_and_what_was_there_stays(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    kept, write = filled([2, 1]), os.pwrite

    def full(file: int, data: Any, place: int) -> int:
        if place > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, bytes(data)[:8], place)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ConsilienceError) as caught:
        kept.put(rows(1, 0), [tokens(7, 2), tokens(8, 1)])
    (problem,) = caught.value.problems
    assert problem.found == f"the disk is full: no room for tokens in {temporary}"
    assert "TMPDIR" in problem.do
    assert torch.equal(kept.get(rows(0)).values[0], tokens(0, 2))
    monkeypatch.undo()
    kept.put(rows(1), [tokens(7, 2)])  # there is room again
    assert torch.equal(kept.get(rows(0, 1)).values, torch.stack([tokens(0, 2), tokens(7, 2)]))


def test_another_fault_of_the_disk_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: int, data: Any, place: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(OSError, match="Input/output error") as caught:
        filled([1])
    assert caught.value.errno == errno.EIO


def test_the_file_has_no_name_and_goes_with_the_object(temporary: Path) -> None:
    kept = filled([2, 1])
    got, file = kept.get(rows(0, 1)), kept._file
    assert list(temporary.iterdir()) == []
    assert os.fstat(file.fileno()).st_size == 3 * 3 * 4
    del kept
    gc.collect()
    assert file.closed
    assert torch.equal(got.values[0], tokens(0, 2)), "what was handed out stays"
