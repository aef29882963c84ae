"""Runs that were saved long ago are opened, and answer what they answered then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consilience import load
from consilience.errors import ConsilienceError
from consilience.run import FORMAT

GOLDEN = sorted(path.parent for path in (Path(__file__).parent / "golden").glob("*/*/run"))


@pytest.mark.parametrize("folder", GOLDEN, ids=[f"{path.parent.name}-{path.name}" for path in GOLDEN])
def test_a_golden_run_answers_what_it_answered(folder: Path) -> None:
    found, wanted = load(folder / "run").predictions(folder / "table.parquet"), pq.read_table(folder / "answers.parquet")
    assert found.column_names == wanted.column_names
    for name in wanted.column_names:
        one, other = found[name], wanted[name]
        if pa.types.is_floating(other.type):  # the last digits differ from processor to processor
            np.testing.assert_allclose(one.to_numpy(), other.to_numpy(), rtol=1e-4, atol=1e-5)
        else:
            assert one.to_pylist() == other.to_pylist(), name


def test_there_are_golden_runs_of_this_format_with_every_predictor() -> None:
    heads = [json.loads((folder / "run" / "run.json").read_text()) for folder in GOLDEN]
    assert FORMAT in {head["format"] for head in heads}
    assert {kind for head in heads for kind in head["predictors"].values()} >= {"fused", "linear", "stack", "trees"}


def test_a_run_of_another_format_is_refused(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN[0] / "run", tmp_path / "run")
    head = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**head, "format": FORMAT + 1}))
    with pytest.raises(ConsilienceError, match=rf"has the format {FORMAT + 1}[\s\S]*format {FORMAT}"):
        load(tmp_path / "run")
