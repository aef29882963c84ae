"""Trainings by the command that the system ends, or whose disk is full: in processes and on a disk of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

OPTIONS = ("--target", "answer", "--preset", "fast", "--seed", "3")
EPOCHS = '{"epochs": 4000, "patience": 4000}'
NETWORK = f'predictors={{"linear": {{}}, "stack": null, "trees": null, "fused": {{"width": 32, "train": {EPOCHS}}}}}'


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = [
        f"{rng.normal():.3f},{'xyz'[row % 3]},word{row % 7} again,{('no', 'yes')[int(rng.random() < 0.5)]}"
        for row in range(120)
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["a,kind,note,answer", *lines]) + "\n")
    return path


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "consilience.cli", *map(str, words)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGTERM to answer")
def test_sigterm_leaves_a_checkpoint_within_seconds(table: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "run", tmp_path / ".run.training"
    process = subprocess.Popen(command("train", table, *OPTIONS, "--set", NETWORK, "--out", out), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(kept.glob("train+linear+*.checkpoint")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # the network has thousands of epochs before it
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - asked < 5
    assert process.returncode == 143
    assert f"consilience train --resume {out}" in said.decode()
    assert list(kept.glob("train+fused+network*.checkpoint"))
    assert not out.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, where the system lets us make one."""
    place = tmp_path / "disk"
    place.mkdir()
    asked = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    made = subprocess.run(asked, capture_output=True) if sys.platform == "linux" else None
    if made is None or made.returncode:
        pytest.skip("no disk can be made here: full ones are feigned in test_checkpoint.py and test_files.py")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_on_a_full_disk_training_stops_and_goes_on_when_there_is_room(table: Path, tmp_path: Path, small_disk: Path) -> None:
    whole = tmp_path / "whole"
    small = 'predictors={"linear": {}, "stack": null, "trees": {"iterations": 20, "folds": 2}}'
    subprocess.run(command("train", table, *OPTIONS, "--set", small, "--out", whole), check=True, capture_output=True)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 48_000)  # of others: 16 KiB are left
    out = small_disk / "run"
    done = subprocess.run(command("train", table, *OPTIONS, "--set", small, "--out", out), capture_output=True, text=True)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    again = subprocess.run(command("train", "--resume", out), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert files(out) == files(whole)
