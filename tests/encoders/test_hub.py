"""Models of every family, out of folders that hold tiny ones: opened, encoded, tuned, kept, and refused where they must be."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import soundfile
import torch
import transformers as hf
from safetensors.numpy import load_file

from consilience import component
from consilience.data.encoding import encode
from consilience.encoders import hub
from consilience.encoders.base import Encoder
from consilience.encoders.pretrained import Pretrained
from consilience.encoders.tuned import Tuned
from consilience.errors import ConsilienceError
from consilience.modalities.base import Modality
from consilience.types import Input, Limits, State
from families import FAMILIES, saved

TEXTS = ("the leg hurts at night", "not the legs.", "the night and the leg and the night hurts not at the leg", "leg")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {family: saved(family, root / family.replace(" ", "_")) for family in FAMILIES}


def cell(modality: str, number: int) -> Any:
    rng = np.random.default_rng(number)
    buffer = io.BytesIO()
    if modality == "text":
        return TEXTS[number]
    if modality == "image":
        coarse = PIL.Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
        coarse.resize((60 + 10 * number, 50)).save(buffer, "PNG")
    else:
        soundfile.write(buffer, 0.1 * rng.standard_normal(3000 + 1000 * number), 8000, format="WAV")
    return buffer.getvalue()


def samples(modality: str) -> list[Any]:
    kind: Modality = component.find("modalities", modality)()
    return [kind.read(Input("it", modality, ("it",)), {"it": cell(modality, number)}, Limits()) for number in range(4)]


def make(modality: str, folder: Path, **options: Any) -> Pretrained:
    cls: Any = component.load(component.find("modalities", modality)().encoders()["pretrained"])
    config = cls.Config(model=str(folder), **{"precision": "float32", **options})
    encoder = cls(config=config, input=Input("it", modality, ("it",)))
    encoder.fit([], np.random.default_rng(0))
    return encoder.eval()


def encoded(encoder: Encoder, found: list[Any]) -> list[torch.Tensor]:
    return encode(encoder, [encoder.prepare(sample) for sample in found])


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_are_those_of_the_library_itself(family: str, folders: Mapping[str, Path]) -> None:
    modality, folder = FAMILIES[family][0], folders[family]
    encoder = make(modality, folder, pool="mean")
    with torch.no_grad():
        for sample, found in zip(samples(modality), encoded(encoder, samples(modality)), strict=True):
            torch.testing.assert_close(found, by_library(modality, folder, sample, encoder), atol=1e-4, rtol=0)


def by_library(modality: str, folder: Path, sample: Any, encoder: Any) -> torch.Tensor:
    """The mean of the tokens [1, D], made by the library's processor and its model."""
    whole = hf.AutoModel.from_pretrained(folder).eval()
    if modality == "text":
        model = getattr(whole, "text_model", whole)
        given = hf.AutoTokenizer.from_pretrained(folder)(sample.text, return_tensors="pt")
        return model(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state.mean(1)
    if modality == "image":
        model = getattr(whole, "vision_model", whole)
        processor = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")
        image = PIL.Image.fromarray(sample.pixels)
        plain: Any = processor(image, return_tensors="pt", do_rescale=False, do_normalize=False)["pixel_values"][0]
        pixels = encoder.prepare(sample)["pixels"]
        assert (pixels.float() - plain.float()).abs().max() <= 1
        normal = (pixels.float() / 255 - encoder.mean) / encoder.deviation
        mean, deviation = (torch.tensor(getattr(processor, name)).view(3, 1, 1) for name in ("image_mean", "image_std"))
        assert torch.allclose(normal, (pixels.float() / 255 - mean) / deviation)
        hidden = model(pixel_values=normal[None]).last_hidden_state
        if hidden.ndim == 4:
            return hidden.flatten(2).mean(2)
        return hidden[:, hidden.shape[1] - int(hidden.shape[1] ** 0.5) ** 2 :].mean(1)
    extractor = hf.AutoFeatureExtractor.from_pretrained(folder)
    rate = extractor.sampling_rate
    waves = sample.waves if rate == sample.rate else hub_resampled(sample, rate)
    given = extractor(waves, sampling_rate=rate, return_tensors="pt")
    kind = whole.config.model_type
    if kind == "whisper":
        hidden = whole.encoder(given["input_features"]).last_hidden_state
        return hidden[:, : int(np.ceil(len(sample.waves) / sample.rate / 0.02))].mean(1)
    if kind == "clap":
        return whole.audio_model(given["input_features"], is_longer=given["is_longer"]).last_hidden_state.mean((2, 3))
    hidden = whole(given["input_values"]).last_hidden_state
    if kind == "audio-spectrogram-transformer":
        there = int(np.ceil(len(sample.waves) / sample.rate / 0.1 - 1e-9))
        return hidden[:, 2:].unflatten(1, (2, -1)).mean(1)[:, :there].mean(1)
    return hidden.mean(1)


def hub_resampled(sample: Any, rate: int) -> np.ndarray:
    from consilience.sound import resample

    return resample(sample.waves, sample.rate, rate)


@pytest.mark.parametrize("family", FAMILIES)
def test_returns_what_its_options_say(family: str, folders: Mapping[str, Path]) -> None:
    modality, folder = FAMILIES[family][0], folders[family]
    found = samples(modality)
    sequence = encoded(make(modality, folder, tokens=5), found)
    assert all(1 <= len(tokens) <= 5 for tokens in sequence)
    first, mean = (encoded(make(modality, folder, pool=pool), found) for pool in ("first", "mean"))
    assert all(len(tokens) == 1 for tokens in (*first, *mean))
    before = encoded(make(modality, folder, pool="mean", layer=1), found)
    assert not any(len(one[0]) == len(two[0]) and torch.allclose(one, two) for one, two in zip(mean, before, strict=True))
    half = encoded(make(modality, folder, pool="mean", precision="half"), found)
    assert half[0].dtype == torch.float16
    torch.testing.assert_close(half[0].float(), mean[0], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_comes_back_without_its_folder(family: str, folders: Mapping[str, Path], tmp_path: Path) -> None:
    modality = FAMILIES[family][0]
    folder = tmp_path / "model"
    shutil.copytree(folders[family], folder)
    encoder = make(modality, folder)
    expected, fingerprint = encoded(encoder, samples(modality)), encoder.fingerprint()
    state = encoder.state()
    kept = State(json.loads(json.dumps(state.json)), {name: array.copy() for name, array in state.arrays.items()})
    shutil.rmtree(folder)
    again = type(encoder)(config=encoder.options, input=encoder.input)
    again.adopt(restored_anew(kept, again))
    assert again.fingerprint() == fingerprint
    for one, two in zip(encoded(again, samples(modality)), expected, strict=True):
        assert torch.equal(one, two)


def restored_anew(state: State, encoder: Pretrained) -> Any:
    """As another process restores them, that does not hold the weights yet."""
    from consilience.encoders.weights import Weights, filled

    about: Any = state.json["about"]
    module = filled(encoder.empty(about), state.arrays).eval()
    return Weights(about, module, str(state.json["digest"]))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_learns_and_comes_back(family: str, method: str, folders: Mapping[str, Path]) -> None:
    modality, folder = FAMILIES[family][0], folders[family]
    inner = make(modality, folder)
    found = samples(modality)
    before = encoded(inner, found)
    torch.manual_seed(0)
    tuned = inner.tuned(method, 2)
    assert isinstance(tuned, Tuned)
    assert tuned.begin() is tuned
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(encoded(tuned.eval(), found), before, strict=True))
    learned = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    every = sum(parameter.numel() for parameter in tuned.parameters())
    assert (sum(parameter.numel() for parameter in learned) < 0.7 * every) == (method == "lora")
    optimizer = torch.optim.AdamW(learned, 0.1)
    for _ in range(2):  # an adapter's second factor begins at zero, so that its first learns from the second step on
        tokens = tuned.train()(tuned.collate([tuned.prepare(sample) for sample in found]))
        optimizer.zero_grad()
        (tokens.values[tokens.mask] - 1).square().mean().backward()
        optimizer.step()
    after = encoded(tuned.eval(), found)
    assert not any(torch.equal(one, two) for one, two in zip(after, before, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(encoded(inner, found), before, strict=True)), "the frozen one learned"
    again = type(inner)(config=inner.options, input=inner.input).tuned(method, 2)
    again.restore(State(json.loads(json.dumps(tuned.state().json))))
    again.load_state_dict(tuned.state_dict())
    assert all(torch.equal(one, two) for one, two in zip(encoded(again.eval(), found), after, strict=True))


def test_rates_fall_from_the_last_layer_to_the_first(folders: Mapping[str, Path]) -> None:
    tuned = make("text", folders["bert"]).tuned("full", 1)
    assert isinstance(tuned, Tuned)
    depths = tuned.begin().depths()
    assert depths["module.embeddings.word_embeddings.weight"] == 2
    assert depths["module.encoder.layer.0.attention.self.query.weight"] == 1
    assert depths["module.encoder.layer.1.attention.self.query.weight"] == 0
    assert set(depths) == {name for name, _ in tuned.named_parameters()}


@pytest.mark.parametrize("family", ["bert", "modernbert", "clip"])
def test_a_row_does_not_depend_on_its_neighbours(family: str, folders: Mapping[str, Path]) -> None:
    modality = FAMILIES[family][0]
    encoder = make(modality, folders[family])
    rng = np.random.default_rng(0)
    many = [samples(modality)[index] for index in rng.integers(0, 4, 70)]
    together = encoded(encoder, many)
    for index in (0, 33, 69):
        assert torch.equal(encoded(encoder, [many[index]])[0], together[index])


def test_batches_of_one_length_hold_no_padding_to_speak_of(folders: Mapping[str, Path]) -> None:
    encoder = make("text", folders["bert"], tokens=64)
    items = [encoder.prepare(sample) for sample in samples("text")]
    assert [len(item["ids"]) for item in items] == [7, 7, 15, 3]
    shapes = [(places, tuple(batch["ids"].shape)) for places, batch in encoder.chunks(items)]
    assert shapes == [([0, 1, 3], (36, 8)), ([2], (18, 16))]
    padded = encoder(encoder.collate(items, encoder.length))  # to the longest that there may be
    for index, tokens in enumerate(encode(encoder, items)):
        torch.testing.assert_close(padded.values[index][padded.mask[index]], tokens, atol=1e-5, rtol=0)


def test_equal_weights_are_held_once(folders: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["bert"], tmp_path / "copy")
    one, two = make("text", folders["bert"]), make("text", tmp_path / "copy")
    assert one.weights is two.weights
    assert one.fingerprint() == two.fingerprint()
    assert make("text", folders["bert"], layer=1).fingerprint() != one.fingerprint()


def test_other_weights_have_another_fingerprint(folders: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["bert"], folder)
    one = make("text", folder).fingerprint()
    model = hf.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[7] += 0.01
    model.save_pretrained(folder)
    assert make("text", folder).fingerprint() != one


def test_preparation_is_in_the_fingerprint(folders: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["vit"], folder)
    one = make("image", folder).fingerprint()
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "image_mean": [0.4, 0.4, 0.4]}))
    assert make("image", folder).fingerprint() != one


@pytest.mark.parametrize(
    ("model", "revision", "said"),
    [
        ("./not-there", None, "there is no folder ./not-there"),
        ("owner/name", None, "has no revision"),
        ("a/b/c", None, "there is no folder a/b/c"),
    ],
)
def test_says_what_is_wrong_with_a_name(model: str, revision: str | None, said: str) -> None:
    with pytest.raises(ConsilienceError, match=said):
        hub.located(model, revision)


def test_a_folder_takes_no_revision(folders: Mapping[str, Path]) -> None:
    with pytest.raises(ConsilienceError, match="is a folder, and a revision is given"):
        hub.located(str(folders["bert"]), "0" * 40)


def test_says_that_the_hub_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConsilienceError, match="cannot be had from the hub") as caught:
        hub.located("owner/name", "0" * 40)
    assert "without a network" in str(caught.value)


def test_weights_are_safetensors_or_nothing(folders: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["bert"], folder)
    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, folder / "pytorch_model.bin")
    with pytest.raises(ConsilienceError, match=r"holds no \.safetensors file"):
        hub.opened("text", str(folder), None)


def test_code_that_a_folder_brings_is_not_run(folders: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["bert"], folder)
    (folder / "mine.py").write_text("raise SystemExit('run')\n")
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mine", "auto_map": own}))
    with pytest.raises(ConsilienceError, match="holds no model that can be opened"):
        hub.opened("text", str(folder), None)


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "tokenizer.json"])
def test_damaged_folders_are_refused(damage: str, folders: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["bert"], folder)
    path = folder / damage
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ConsilienceError, match="holds no model that can be opened"):
        hub.opened("text", str(folder), None)


def test_pictures_need_the_models_own_preparation(folders: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["vit"], folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ConsilienceError, match=r"has no preprocessor_config\.json"):
        hub.opened("image", str(folder), None)


def test_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConsilienceError, match=r"pip install consilience\[hub\]"):
        hub.transformers()


def test_numbers_that_half_precision_cannot_hold_are_an_error(folders: Mapping[str, Path]) -> None:
    encoder = make("text", folders["bert"], precision="half")
    item = encoder.prepare(samples("text")[0])
    weights = encoder.weights.module.state_dict()["encoder.layer.1.output.LayerNorm.bias"]
    before = weights.clone()
    try:
        weights += 70_000
        with pytest.raises(ConsilienceError, match=r"set encoders\.it\.precision to float32"):
            encode(encoder, [item])
    finally:
        weights.copy_(before)


def test_a_filter_that_is_not_known_is_an_error(folders: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["vit"], folder)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "resample": 1}))
    with pytest.raises(ConsilienceError, match="resizes by Pillow's filter 1"):
        make("image", folder)


def test_what_the_library_shows_is_as_before(folders: Mapping[str, Path], tmp_path: Path) -> None:
    logging = hf.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    try:
        shutil.copytree(folders["bert"], tmp_path / "model")
        hub.opened("text", str(tmp_path / "model"), None)
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.INFO, True)
    finally:
        logging.set_verbosity(before[0])
        (logging.enable_progress_bar if before[1] else logging.disable_progress_bar)()


@pytest.mark.parametrize("family", ["bert", "vit", "wav2vec2"])
def test_threads_change_no_bits(family: str, folders: Mapping[str, Path]) -> None:
    modality = FAMILIES[family][0]
    encoder, before = make(modality, folders[family]), torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            found.append(encoded(encoder, samples(modality) * 3))
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
