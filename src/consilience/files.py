"""Files of a run: written whole or not at all, read without executing anything."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from consilience.errors import fail

_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
_REFUSED |= {errno.ENAMETOOLONG}


def write_json(path: Path, value: Any) -> None:
    """Readable JSON in UTF-8; numbers that are not finite become null, which JSON has a word for."""
    path.write_text(json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ConsilienceError where the file is absent or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise fail(f"{path} cannot be read: {error.strerror}", "a complete run folder", "check the path") from None
    except (ValueError, RecursionError) as error:
        raise fail(f"{path} is damaged: {error}", "JSON", "train the run again, or take an undamaged copy") from None
    if not isinstance(value, dict):
        raise fail(f"{path} holds {type(value).__name__}", "a JSON object", "train the run again")
    return value


def check_free(path: Path, overwrite: bool) -> None:
    """Raise ConsilienceError where `path` exists and may not be replaced, or where nothing can have its name."""
    with told(path):
        taken = path.exists()
    if taken and not overwrite:
        raise fail(f"{path} exists already", "a path that is free", "choose another, or say --overwrite")


@contextmanager
def replacing(path: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or folder to; it takes the place of `path` only when all went well.

    Raises ConsilienceError where there is no room, or no right to write there.
    """
    check_free(path, overwrite)
    beside = _beside(path, "part")
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with told(path):
            yield beside
            _put(beside, path)
    finally:
        _remove(beside)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What keeps a file from being written, as an error that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise fail(
            f"{path} cannot be written: {os.strerror(error.errno)}",
            "room on the disk, the right to write there, and a name that it takes",
            "free some, or choose another place; nothing there has changed",
        ) from None


def _put(new: Path, path: Path) -> None:
    """`new` in the place of `path`. Only a file can take a file's place in one step; a folder is moved aside first."""
    if not path.exists() or not (path.is_dir() or new.is_dir()):
        new.replace(path)
        return
    old = _beside(path, "old")
    path.rename(old)
    try:
        new.rename(path)
    except OSError:
        old.rename(path)
        raise
    _remove(old)


def _beside(path: Path, ending: str) -> Path:
    """A free path in the same folder; the name is cut, because a disk takes 255 bytes of one."""
    return path.with_name(f".{path.name[:50]}.{uuid4().hex[:8]}.{ending}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
