"""A training by the command line, which can be cut off at any moment and gone on with.

Beside the run that is to be, `.RUN.training` holds what was asked for and the checkpoints. It is removed when the run is there.
SIGTERM, by which clusters and shells end a process, makes a checkpoint first where a network is trained.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from consilience import pipeline
from consilience.checkpoint import ABOUT, ENDED, Checkpoints, Clock, finished
from consilience.errors import fail
from consilience.files import read_json, told
from consilience.progress import Bars
from consilience.recipe import NO_YAML, validate
from consilience.run import Run, check_place

PATIENCE = 5.0
"""Seconds that a step may take after SIGTERM until its checkpoint; then the process ends with the one before."""

ASKED: Mapping[str, Any] = {"table": str, "recipe": str, "test": str | None, "media_root": str | None, "strict": bool}
"""What a training was asked for, with the type of each."""


def begun(
    out: Path,
    overwrite: bool,
    table: Path,
    target: str | None,
    recipe: Path | None,
    preset: str,
    settings: Sequence[Mapping[str, Any]],
    test: Path | None,
    media_root: Path | None,
    strict: bool,
) -> dict[str, Any]:
    """What is asked for. Raises ConsilienceError where `out` is taken, by a run or by an unfinished training of one."""
    check_place(out, overwrite)
    folder = _folder(out)
    with told(folder):
        begun_before = folder.exists()
    if begun_before:
        if not overwrite:
            raise fail(
                f"{folder} holds an unfinished training of {out}",
                "a path that is free",
                f"go on with it: consilience train --resume {out}; or begin anew with --overwrite",
            )
        shutil.rmtree(folder)
    whole = pipeline.whole_recipe(recipe, target, preset, settings)
    return {
        "table": str(table.absolute()),
        "recipe": whole.dump(),
        "test": str(test.absolute()) if test is not None else None,
        "media_root": str(media_root.absolute()) if media_root is not None else None,
        "strict": strict,
    }


def resumed(out: Path) -> dict[str, Any]:
    """What was asked for when the training of that run began. Raises ConsilienceError where none is unfinished."""
    path = _folder(out) / ABOUT
    if not path.exists():
        raise fail(f"there is no unfinished training of {out}", "a run whose training was cut off", "check the path")
    request = read_json(path).get("request")
    if not isinstance(request, dict) or not all(isinstance(request.get(key, ...), sort) for key, sort in ASKED.items()):
        raise fail(f"{path} is damaged", "what was asked for", "remove the folder and begin anew")
    try:
        yaml.safe_load(request["recipe"])
    except NO_YAML as error:
        said = " ".join(str(error).split())
        raise fail(f"the recipe in {path} is damaged: {said}", "YAML", "remove the folder and begin anew") from None
    return request


def trained(out: Path, request: Mapping[str, Any], overwrite: bool) -> Run:
    """Train, or go on, and leave the run at `out`."""
    folder, clock, progress = _folder(out), Clock(), Bars()
    try:
        with _ending(clock):
            run = pipeline.fit(
                request["table"],
                recipe=validate(yaml.safe_load(request["recipe"])),
                test=request["test"],
                media_root=request["media_root"],
                strict=request["strict"],
                progress=progress,
                checkpoints=Checkpoints(folder, clock, request),
            )
            run.save(out, overwrite=overwrite)
    except (KeyboardInterrupt, SystemExit):
        if folder.exists():
            progress.say(f"go on with: consilience train --resume {out}")
        raise
    if run.interrupted:
        progress.say(f"go on with: consilience train --resume {out}")
    else:
        finished(folder)
    return run


@contextmanager
def _ending(clock: Clock) -> Iterator[None]:
    """SIGTERM asks for a checkpoint; where none is made soon, because nothing long is under way, the process ends without."""

    def end(number: int, frame: Any) -> None:
        del number, frame
        clock.ending.set()
        timer = threading.Timer(PATIENCE, os._exit, (ENDED,))
        timer.daemon = True
        timer.start()

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.training")
