"""Checkpoints: what was kept comes back bit for bit, or the one before it, and never a damaged one."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consilience import checkpoint
from consilience.checkpoint import ENDED, Checkpoints, Clock, finished, training
from consilience.errors import ConsilienceError
from consilience.types import State


def state(number: int) -> State:
    arrays = {
        "a/ä": np.array([number, np.nan, -0.0]),
        "json": np.arange(3, dtype=np.uint8),
        "empty": np.zeros((0, 2), np.float32),
    }
    return State({"number": number, "nan": float("nan"), "list": [1, None], "large": 2**127}, arrays)


def number(found: State | None) -> int | None:
    return None if found is None else found.json["number"]


def paths(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_kept_comes_back_bit_for_bit(tmp_path: Path) -> None:
    kept, given = Checkpoints(tmp_path), state(1)
    assert kept.get("x") is None
    kept.put("x", given)
    found = kept.get("x")
    assert found is not None
    assert repr(found.json) == repr(given.json)
    assert found.arrays.keys() == given.arrays.keys()
    for name, array in given.arrays.items():
        assert found.arrays[name].dtype == array.dtype and found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


def test_the_newest_and_the_one_before_are_there_by_number_not_by_name(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for step in range(1, 12):
        kept.put("x", state(step))
    assert paths(tmp_path) == ["x.10.checkpoint", "x.11.checkpoint"]
    assert number(kept.get("x")) == 11
    kept.drop("x")
    assert paths(tmp_path) == []


def test_names_do_not_touch_each_other(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    names = ("a", "a.1", "a/b", "a+b", ".", "*", "a?")
    for place, name in enumerate(names):
        kept.put(name, state(place))
        kept.below(name).put("a", state(10 + place))
    kept.below("a").below("b").put("a", state(99))
    assert [number(kept.get(name)) for name in names] == list(range(len(names)))
    assert [number(kept.below(name).get("a")) for name in names] == list(range(10, 10 + len(names)))
    kept.drop("a")
    assert number(kept.get("a")) is None
    assert number(kept.below("a").get("a")) == 10


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "digest", "longer", "gone"])
def test_a_damaged_one_is_passed_over(damage: str, tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.put("x", state(1))
    kept.put("x", state(2))
    path = tmp_path / "x.2.checkpoint"
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    elif damage == "digest":
        data[0] ^= 1
    changed = {"cut": data[:-1], "empty": b"", "longer": data + b"\0"}.get(damage, bytes(data))
    path.unlink() if damage == "gone" else path.write_bytes(changed)
    assert number(kept.get("x")) == 1
    kept.put("x", state(3))
    assert number(kept.get("x")) == 3


def test_every_cut_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.put("x", state(1))
    path = tmp_path / "x.1.checkpoint"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert kept.get("x") is None


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_told_and_leaves_what_was_kept(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoints(tmp_path)
    kept.put("x", state(1))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
        with pytest.raises(ConsilienceError, match="No space left on device") as caught:
            kept.put("x", state(2))
    assert "what was kept before is still there" in str(caught.value)
    assert paths(tmp_path) == ["x.1.checkpoint"]
    assert number(kept.get("x")) == 1


def test_a_checkpoint_is_due_after_its_time_or_when_the_process_must_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = 100.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    clock = Clock(every=60.0)
    kept = Checkpoints(tmp_path, clock)
    now = 159.0
    assert not clock.due() and clock.due(5.0)
    now = 160.0
    assert clock.due()
    kept.put("x", state(1))
    assert not clock.due() and not clock.due(5.0)
    clock.ending.set()
    assert clock.due()
    with pytest.raises(SystemExit) as ended:
        kept.below("y").put("x", state(2))
    assert ended.value.code == ENDED
    assert number(kept.below("y").get("x")) == 2


def test_one_training_at_a_time_and_only_the_same(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "here", request={"table": "a.csv"})
    with training(kept, {"table": "1"}):
        assert paths(kept.folder) == ["lock", "training.json"]
        with pytest.raises(ConsilienceError, match="another process trains in"), training(kept, {"table": "1"}):
            pass
    with training(kept, {"table": "1"}):
        pass
    for about, request, other in (({"table": "2"}, {"table": "a.csv"}, "table"), ({"table": "1"}, {}, "request")):
        again = Checkpoints(kept.folder, request=request)
        with pytest.raises(ConsilienceError, match=f"an unfinished training with other {other}"), training(again, about):
            pass


def test_what_is_finished_is_gone(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "here")
    with training(kept, {}):
        kept.put("x", state(1))
    finished(kept.folder)
    assert not kept.folder.exists()
