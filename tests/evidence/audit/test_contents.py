"""Files are told apart by their bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from consilience.evidence.audit import Examined, contents, quick


def test_contents(seen: Callable[..., Examined], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, level in (("a", 0), ("b", 1), ("c", 2), ("d", 3)):
        PIL.Image.new("RGB", (5, 5), (level, 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "e.png").write_bytes((tmp_path / "a.png").read_bytes())
    names = ["a.png", "b.png", "e.png", "a.png", None, "c.png", "d.png", None, "gone.png", "gone.png"]
    table = seen({"photo": names, "y": ["u", "v"] * 5}, "y", root=tmp_path)
    (item,) = quick.inputs(table)
    found = contents.contents(table, item, np.arange(10))
    assert found[0] == found[2] == found[3] != found[1]
    assert found[4] == found[7] == 0
    assert found[8] == found[9] != 0
    assert len(set(found.tolist())) == 6
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.png").write_bytes((tmp_path / "a.png").read_bytes())
    named = {"photo": ["../a.png", "../b.png", "../e.png", "a.png"], "y": ["u", "v", "u", "v"]}
    elsewhere = seen(named, "y", root=tmp_path / "root")
    found = contents.contents(elsewhere, quick.inputs(elsewhere)[0], np.arange(3))
    assert len(set(found.tolist())) == 3  # what lies outside of the media root is not opened
    monkeypatch.setattr(contents, "BYTES", 10)  # then by name
    found = contents.contents(table, item, np.arange(10))
    found = contents.contents(table, item, np.arange(9))
    assert found[0] == found[3] != found[2]
