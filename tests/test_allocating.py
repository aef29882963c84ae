"""Sizes in a file are held against the weights beside them, before anything is allocated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from consilience import load
from consilience.allocating import SLACK, Allocating
from consilience.errors import ConsilienceError

GOLDEN = Path(__file__).parent / "golden" / "1"


@pytest.mark.parametrize("make", [torch.empty, torch.zeros, torch.randn, torch.ones, torch.rand])
def test_what_is_too_much_is_not_made(make: Any) -> None:
    with Allocating(10):
        assert make((SLACK + 20) // 2).numel() == (SLACK + 20) // 2
        with pytest.raises(ConsilienceError, match=f"more than {SLACK + 20} numbers"):
            make(1 << 40, 4)  # would be 16 TiB


def test_all_that_is_made_counts() -> None:
    with Allocating(0), pytest.raises(ConsilienceError, match="numbers"):
        kept = [torch.nn.Linear(1000, 1000) for _ in range(20)]
        assert not kept


@pytest.mark.parametrize(
    ("run", "keys", "value"),
    [
        ("scratch", ("encoders", "text", "buckets"), 10_000_000),
        ("scratch", ("encoders", "text", "width"), 4096),
        ("scratch", ("encoders", "tabular", "depth"), 48),
        ("scratch", ("encoders", "image", "width"), 512),
        ("scratch", ("fusion", "depth"), 48),
        ("scratch", ("width",), 4096),
        ("concat", ("width",), 4096),
    ],
)
def test_a_run_that_asks_for_more_than_it_holds_is_refused(run: str, keys: tuple[str, ...], value: int, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / run / "run", tmp_path / "run")
    for path in (tmp_path / "run").glob("predictors/*/*/config.json"):
        head = json.loads(path.read_text())
        node = head["config"]
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value
        path.write_text(json.dumps(head))
    with pytest.raises(ConsilienceError, match=r"asks for more than|do not fit"):
        load(tmp_path / "run")
