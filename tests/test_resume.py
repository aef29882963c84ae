"""A training that is cut off at any moment and gone on with leaves the same files as one that was not."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from consilience import pipeline
from consilience.checkpoint import Checkpoints, Clock
from consilience.errors import ConsilienceError
from consilience.pipeline import fit
from consilience.predictors import trees
from consilience.train import loop

NAMES = ("scratch", "linear", "trees")


class Killed(BaseException):
    """As if the process were gone: nothing catches it."""


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def train(table: Any, settings: Any, media: Path) -> Callable[..., dict[str, bytes]]:
    """Train, with checkpoints at every step where a folder for them is named, and save; the files of the run."""

    def run(folder: Path, *, only: str | None = None, checkpoints: bool = True, names: Any = NAMES, **more: Any) -> Any:
        wanted = settings(*names, select={"only": only} if only else {"method": "ensemble"}, **more)
        kept = Checkpoints(folder / "training", Clock(every=0.0)) if checkpoints else None
        trained = fit(table(), "answer", settings=[wanted], media_root=media, checkpoints=kept)
        return files(trained.save(folder / "run", overwrite=True))

    return run


@pytest.fixture(scope="module")
def undisturbed(train: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the run without checkpoints."""
    return train(tmp_path_factory.mktemp("undisturbed"), checkpoints=False)


def kill(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, after: bool = False) -> None:
    """The function is killed at, or after, its n-th call."""
    function, calls = getattr(owner, name), itertools.count(1)

    def killed(*args: Any, **options: Any) -> Any:
        number = next(calls)
        if number == call and not after:
            raise Killed
        found = function(*args, **options)
        if number == call:
            raise Killed
        return found

    monkeypatch.setattr(owner, name, killed)


def test_checkpoints_change_nothing(train: Any, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    assert train(tmp_path) == undisturbed


def begun(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """At which batch each epoch that follows begins."""
    found: list[int] = []
    batches = loop.training_batches
    monkeypatch.setattr(loop, "training_batches", lambda *a, start, **o: found.append(start) or batches(*a, start=start, **o))
    return found


# 84 training rows in batches of 32 are 3 steps an epoch, of which there are 2; the refit on 102 rows has 4 an epoch.
@pytest.mark.parametrize(("step", "start"), [(1, 0), (4, 3), (6, 2)])
def test_killed_in_a_step_of_the_network(
    step: int, start: int, train: Any, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, torch.nn.utils, "clip_grad_norm_", step)
        train(tmp_path)
    starts = begun(monkeypatch)
    assert train(tmp_path) == undisturbed
    assert starts[0] == start, "it went on where it was, not from the start"


def test_killed_in_a_step_of_the_refit(train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(tmp_path / "whole", only="scratch", checkpoints=False)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, torch.nn.utils, "clip_grad_norm_", 9)
        train(tmp_path, only="scratch")
    starts = begun(monkeypatch)
    assert train(tmp_path, only="scratch") == whole
    assert starts[0] == 2


@pytest.mark.parametrize(
    ("owner", "name", "call", "after"),
    [
        (pipeline, "make_predictors", 1, True),
        (Checkpoints, "put", 1, False),
        (Checkpoints, "drop", 1, False),
        (trees.Trees, "fit", 1, True),
        (pipeline, "select", 1, True),
        (pipeline, "refit", 1, True),
        (pipeline, "estimate", 2, True),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_killed_elsewhere(
    owner: Any, name: str, call: int, after: bool, train: Any, undisturbed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, owner, name, call, after)
        train(tmp_path)
    assert train(tmp_path) == undisturbed


def test_killed_again_and_again(
    train: Any, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):  # each does one step more
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill(patch, torch.nn.utils, "clip_grad_norm_", 2)
            train(tmp_path)
    assert train(tmp_path) == undisturbed


def test_what_is_trained_is_not_trained_again(train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(tmp_path)
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(trees.Trees, "fit", lambda *_: pytest.fail("trained again"))
    assert train(tmp_path) == first


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    train: Any, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, torch.nn.utils, "clip_grad_norm_", 6)
        train(tmp_path)
    kept = sorted((tmp_path / "training").glob("train+scratch+network.*"), key=lambda path: int(path.suffixes[-2][1:]))
    assert len(kept) == 2
    kept[-1].write_bytes(kept[-1].read_bytes()[:-1] + b"\0")
    assert train(tmp_path) == undisturbed


def test_another_table_recipe_or_training_is_refused(
    train: Any, table: Any, settings: Any, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, names=["linear"])
    with pytest.raises(ConsilienceError, match="holds an unfinished training with other recipe"):
        train(tmp_path, names=["linear"], seed=1)
    with pytest.raises(ConsilienceError, match="holds an unfinished training with other recipe and table"):
        fit(table(100), "answer", settings=[settings("trees")], media_root=media, checkpoints=tmp_path / "training")
    later = media.parent / "later"
    shutil.copytree(media, later)
    (later / "0.png").unlink()
    with pytest.raises(ConsilienceError, match="holds an unfinished training with other files"):
        fit(
            table(),
            "answer",
            settings=[settings("linear", select={"method": "ensemble"})],
            media_root=later,
            checkpoints=tmp_path / "training",
        )
    shutil.rmtree(tmp_path / "training")
    within = pipeline.select

    def meanwhile(*args: Any) -> Any:
        with pytest.raises(ConsilienceError, match="another process trains in"):
            train(tmp_path, names=["linear"])
        return within(*args)

    monkeypatch.setattr(pipeline, "select", meanwhile)
    train(tmp_path, names=["linear"])


def test_an_interrupted_training_is_gone_on_with(
    train: Any, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        calls = itertools.count(1)
        batches = loop.training_batches

        def interrupted(*args: Any, **options: Any) -> Any:
            if next(calls) == 2:
                raise KeyboardInterrupt
            return batches(*args, **options)

        patch.setattr(loop, "training_batches", interrupted)
        first = train(tmp_path)
    assert b'"interrupted": true' in first["run.json"]
    assert train(tmp_path) == undisturbed


def test_nothing_is_left_where_the_table_is_refused(table: Any, tmp_path: Path) -> None:
    with pytest.raises(ConsilienceError):
        fit(table(), "anser", checkpoints=tmp_path / "training")
    assert not (tmp_path / "training").exists()
