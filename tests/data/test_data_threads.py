"""Threads where they are worth it, and the same answers."""

from __future__ import annotations

import threading
import time

import pytest

from consilience.data.threads import in_threads


@pytest.mark.parametrize("slow", [False, True])
def test_cells_are_read_by_threads_where_that_is_worth_it(slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    threads: set[int] = set()

    def work(place: int) -> int:
        threads.add(threading.get_ident())
        time.sleep(0.003 if slow else 0)
        return place

    for count in (0, 1, 16, 17, 40):
        assert in_threads(work, count) == list(range(count))
    assert (len(threads) > 1) == slow
