"""A pretrained picture model: any backbone of `transformers`, EfficientNet-Lite0 by default.

Pictures are prepared as the model's own preprocessor file says, with torch's antialiased resize of bytes instead of Pillow's:
within one grey level of it. Of the patches the summary token, where there is one, and a grid of averages are kept. On a
processor every picture is a batch of its own: it fills a core, and no neighbour can change its bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from consilience.encoders import shipped
from consilience.encoders.pretrained import Pretrained as Base
from consilience.encoders.pretrained import pooled
from consilience.encoders.weights import Weights, held
from consilience.errors import fail
from consilience.modalities.image import Picture
from consilience.types import Sample, Tokens

_LITE = "efficientnet-lite0"
_MODES: Mapping[int, str] = {2: "bilinear", 3: "bicubic"}  # of Pillow's filters


class Pretrained(Base):
    """Tokens [B, N, D]: the summary token, then a square grid of patches, N at most `tokens`; mask all True."""

    class Config(Base.Config):
        tokens: int = Field(17, ge=1, le=1024, description="The most tokens: a summary where there is one, and a square grid.")

    modality: ClassVar[str] = "image"

    def shipped(self, name: str) -> Weights:
        assert name == _LITE
        return held(*_lite())

    def empty(self, about: Mapping[str, Any]) -> nn.Module:
        return _lite_module() if about.get("source") == _LITE else super().empty(about)

    def prepares(self, about: Mapping[str, Any]) -> None:
        config, prepared = about["config"], about["prepared"]
        self.lite = about.get("source") == _LITE
        self.scale = _size(prepared.get("size", config.get("image_size", 224)))
        crop = prepared.get("crop_size") if prepared.get("do_center_crop", "crop_size" in prepared) else None
        self.crop = _size(crop)[0] if crop is not None else None
        self.resize = bool(prepared.get("do_resize", True)) or self.crop is None  # a batch has one shape
        if self.scale[1] is not None and self.crop is None:  # pictures of all shapes would be batches of all shapes
            self.scale = ((self.scale[1], self.scale[1]), None)
        filtered = prepared.get("resample", 2)
        if filtered not in _MODES:
            known = ", ".join(f"{number} ({name})" for number, name in _MODES.items())
            raise fail(f"the model of {self.input.name} resizes by Pillow's filter {filtered}", known, "choose another model")
        self.mode = _MODES[filtered]
        factor = float(prepared.get("rescale_factor", 1 / 255)) if prepared.get("do_rescale", True) else 1.0
        normal = bool(prepared.get("do_normalize", True))
        mean, deviation = (
            prepared.get(key, 0.5) if normal else plain for key, plain in (("image_mean", 0.0), ("image_std", 1.0))
        )
        self.mean, self.deviation = (torch.tensor(value, dtype=torch.float32).view(-1, 1, 1) for value in (mean, deviation))
        self.factor = factor
        widths = _widths(config)
        self.check_layer(len(widths) - 1)
        self.width = widths[-1 - self.options.layer]
        self.summary = not self.lite and config.get("model_type") in _SUMMARY
        self.grid = max(1, math.isqrt(max(1, self.options.tokens - self.summary)))
        self.length = 1 if self.options.pool != "tokens" else self.grid**2 + self.summary

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """pixels uint8 [3, H, W], as large as the model takes them."""
        assert isinstance(sample, Picture)
        self.open()
        return {"pixels": self.reduced(sample)}

    def reduced(self, sample: Picture) -> Tensor:
        """Resized, and the middle cut out where the model asks for that."""
        values = torch.from_numpy(sample.pixels.copy()).permute(2, 0, 1)
        if self.resize:
            (height, width), shortest = self.scale
            if shortest is not None:
                height, width = (max(shortest, int(shortest * side / min(values.shape[1:]))) for side in values.shape[1:])
            values = F.interpolate(values[None], size=(height, width), mode=self.mode, antialias=True)[0]
        if self.crop is not None:
            values = _middle(values, *self.crop)
        return values.contiguous()

    def chunks(self, items: Sequence[dict[str, Tensor]]) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        for place, item in enumerate(items):
            yield [place], self.collate([item])

    def run(self, module: nn.Module, batch: dict[str, Tensor]) -> Tokens:
        pixels = batch["pixels"]
        mean, deviation = self.mean.to(pixels.device), self.deviation.to(pixels.device)
        values = (pixels.float() * self.factor - mean) / deviation
        if self.lite:
            return self._reduced(None, _lite_features(module, values, self.options.layer))
        found = module(pixel_values=values, output_hidden_states=self.options.layer > 0)
        hidden = found.hidden_states[-1 - self.options.layer] if self.options.layer else found.last_hidden_state
        if hidden.ndim == 4:  # [B, D, H, W] of a convolutional network
            return self._reduced(None, hidden)
        side = math.isqrt(hidden.shape[1])  # registers and summaries are fewer than another row of patches
        extra = hidden.shape[1] - side**2
        patches = hidden[:, extra:].transpose(1, 2).unflatten(2, (side, side))
        return self._reduced(hidden[:, :1] if extra and self.summary else None, patches)

    def _reduced(self, first: Tensor | None, patches: Tensor) -> Tokens:
        """first [B, 1, D] or None; patches [B, D, H, W]."""
        if self.options.pool == "tokens":
            side = min(self.grid, *patches.shape[2:])
            grid = F.adaptive_avg_pool2d(patches, side).flatten(2).transpose(1, 2)
            values = grid if first is None else torch.cat([first, grid], dim=1)
            return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))
        whole = patches.flatten(2).transpose(1, 2)
        # Without a summary the first is the mean: no corner of a picture stands for it.
        values = first if first is not None and self.options.pool == "first" else whole
        tokens = Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))
        return pooled(tokens, "mean")


_SUMMARY = ("vit", "deit", "beit", "dinov2", "dinov2_with_registers", "dinov3_vit", "clip_vision_model", "clip")
"""Types of models whose first token stands for the whole picture."""


def _size(size: Any) -> tuple[tuple[int, int], int | None]:
    """((height, width), shortest edge or None) of a preprocessor's size."""
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            edge = int(size["shortest_edge"])
            return (edge, edge), edge
        return (int(size["height"]), int(size["width"])), None
    if isinstance(size, list | tuple):
        return (int(size[0]), int(size[1])), None
    return (int(size), int(size)), None


def _middle(values: Tensor, height: int, width: int) -> Tensor:
    """The middle of [3, H, W], with black around what is smaller."""
    short, narrow = max(0, height - values.shape[1]), max(0, width - values.shape[2])
    if short or narrow:
        above, left = -(-short // 2), -(-narrow // 2)
        values = F.pad(values, (left, narrow - left, above, short - above))
    top, left = (values.shape[1] - height) // 2, (values.shape[2] - width) // 2
    return values[:, top : top + height, left : left + width]


def _widths(config: Mapping[str, Any]) -> list[int]:
    """D of every layer that can be read, the first first."""
    if "widths" in config:
        return list(config["widths"])
    if "hidden_sizes" in config:
        return list(config["hidden_sizes"])
    return [int(config["hidden_size"])] * (int(config["num_hidden_layers"]) + 1)


def _lite() -> tuple[dict[str, Any], nn.Module]:
    """EfficientNet-Lite0 (Tan and Le 2019, without squeeze and excitation) as its package holds it."""
    module, kept = _lite_module(), shipped.tensors(_LITE)
    module.load_state_dict({name: value for name, value in kept.items() if not name.startswith("_fc.")})
    blocks: Any = module._blocks
    about = {
        "source": _LITE,
        "config": {"widths": [*(block._project_conv.out_channels for block in blocks), 1280]},
        # Half and half did better than the statistics of ImageNet on four of five pictures with known classes.
        "prepared": {"size": {"height": 224, "width": 224}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3},
    }
    return about, module


def _lite_module() -> Any:
    shipped.place(_LITE)
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-untyped]

    module: Any = EfficientNet.from_name("efficientnet-lite0")
    module._fc = nn.Identity()
    return module


def _lite_features(module: Any, values: Tensor, from_end: int) -> Tensor:
    """[B, D, H, W] behind the last convolution, or behind a block that many before it."""
    values = module._swish(module._bn0(module._conv_stem(values)))
    blocks = list(module._blocks)
    for block in blocks[: len(blocks) + 1 - from_end] if from_end else blocks:
        values = block(values)
    return values if from_end else module._swish(module._bn1(module._conv_head(values)))
