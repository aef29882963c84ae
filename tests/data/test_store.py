"""The store: bounded in bytes, the oldest-used goes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from consilience.data.store import Store, digest


def kept(store: Store, keys: str) -> str:
    """Which of the one-letter keys are still there. Asking renews their use, so ask last."""
    return "".join(key for key in keys if store.get(key) is not None)


def test_what_was_put_comes_back_itself() -> None:
    store, value = Store(), [1, 2]
    store.put(("input", 3), value, 16)
    assert store.get(("input", 3)) is value
    assert store.get(("input", 4)) is None
    assert store.held == 16
    assert store.encoded == 0


def test_the_oldest_goes_when_the_bytes_run_out() -> None:
    store = Store(limit=100)
    for key in "abc":
        store.put(key, key.upper(), 40)
    assert store.held == 80
    assert kept(store, "abc") == "bc"


def test_use_makes_young() -> None:
    store = Store(limit=100)
    store.put("a", "A", 40)
    store.put("b", "B", 40)
    store.get("a")
    store.put("c", "C", 40)
    assert kept(store, "abc") == "ac"


def test_a_large_item_drives_out_as_many_as_it_needs() -> None:
    store = Store(limit=100)
    for key in "abcde":
        store.put(key, key, 20)
    assert kept(store, "abcde") == "abcde", "exactly at the limit everything stays"
    store.put("f", "f", 50)
    assert store.held == 90
    assert kept(store, "abcdef") == "def"


def test_putting_again_replaces_and_counts_once() -> None:
    store = Store(limit=100)
    store.put("a", "old", 60)
    store.put("b", "B", 30)
    store.put("a", "new", 10)
    assert store.get("a") == "new"
    assert store.held == 40
    store.put("c", "C", 70)
    assert kept(store, "abc") == "ac", "putting again is a use"


def test_an_item_over_the_limit_is_kept_alone() -> None:
    store = Store(limit=100)
    store.put("a", "A", 10)
    store.put("b", "B", 500)
    assert kept(store, "ab") == "b"
    store.put("c", "C", 10)
    assert kept(store, "abc") == "c"
    assert store.held == 10


def test_several_threads_leave_the_books_in_order() -> None:
    store = Store(limit=1000)

    def work(worker: int) -> None:
        for step in range(200):
            key = (worker * step) % 37
            store.put(key, key, 1 + key % 50)
            assert store.get(key) in (key, None)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(1, 5)))
    assert store.held == sum(1 + key % 50 for key in range(37) if store.get(key) is not None) <= 1000


def test_once_makes_what_is_not_kept_and_nothing_twice() -> None:
    store, made = Store(limit=100), []

    def make(name: str, size: int) -> str:
        return store.once(name, lambda: made.append(name) or name.upper(), lambda value: size * len(value))

    assert [make("a", 40), make("a", 40), make("b", 40), make("a", 40)] == ["A", "A", "B", "A"]
    assert made == ["a", "b"]
    assert store.held == 80
    make("c", 40)  # drives out b, the oldest-used
    make("b", 40)
    assert made == ["a", "b", "c", "b"]


def test_once_keeps_nothing_where_making_fails() -> None:
    store = Store()
    with pytest.raises(ZeroDivisionError):
        store.once("a", lambda: 1 / 0, lambda value: 8)
    assert store.held == 0
    assert store.get("a") is None


def test_digest_is_equal_for_equal_content_however_it_lies_in_memory() -> None:
    array = np.arange(12).reshape(3, 4)
    assert digest(array) == digest(np.asfortranarray(array)) == digest(array[:, ::-1][:, ::-1])
    assert digest(array, array) == digest(array, array.copy())
    assert digest(np.zeros((0, 3))) == digest(np.zeros((0, 3)))


def test_digest_differs_for_content_shape_type_order_and_number() -> None:
    one, two = np.arange(12.0), np.arange(12.0) + 1
    changed = one.copy()
    changed[5] = np.nextafter(changed[5], 9)
    arrays = [(one,), (two,), (changed,), (one.reshape(3, 4),), (one.astype(np.float32),), (one.view(np.int64),)]
    arrays += [(one, two), (two, one), (one, one), (), (np.zeros((0, 3)),), (np.zeros((3, 0)),)]
    assert len({digest(*group) for group in arrays}) == len(arrays)
