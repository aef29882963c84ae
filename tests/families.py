"""Tiny models of random weights, one of each family, saved as the hub's folders are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "leg", "hurts", "at", "night", "and", "##s", "not", "."]
WORDS += ["rest", "quiet", "sleep", "hot", "flush", "pulse", "ache", "sharp", "burn"]
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def tokenizer(folder: Path, most: int) -> None:
    """Pieces of words, with [CLS] in front and [SEP] behind."""
    inner = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    hf.PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=most, **special).save_pretrained(folder)


def _text(model: Any) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        model().save_pretrained(folder)
        tokenizer(folder, 64)

    return save


def _media(model: Any, processor: Any) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        model().save_pretrained(folder)
        made = processor()
        made.save_pretrained(folder)

    return save


def _pictures(model: Any, **settings: Any) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        model().save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))

    return save


def _bert() -> Any:
    return hf.BertModel(hf.BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **SMALL))


def _modernbert() -> Any:
    special = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    return hf.ModernBertModel(hf.ModernBertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **special, **SMALL))


_TOWER = {**SMALL, "image_size": 32, "patch_size": 8}
_WORDS = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 64, "bos_token_id": 2, "eos_token_id": 3}


def _clip() -> Any:
    return hf.CLIPModel(hf.CLIPConfig(text_config={**_WORDS, "projection_dim": 16}, vision_config=_TOWER, projection_dim=16))


def _siglip() -> Any:
    return hf.SiglipModel(hf.SiglipConfig(text_config=_WORDS, vision_config=_TOWER))


_CONVOLUTIONS = {"conv_dim": (16, 16), "conv_stride": (10, 8), "conv_kernel": (12, 8), "num_feat_extract_layers": 2}
_SPEECH = {**SMALL, **_CONVOLUTIONS, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "vocab_size": 8}


def _wav2vec2() -> Any:
    return hf.Wav2Vec2Model(hf.Wav2Vec2Config(**_SPEECH))


def _hubert() -> Any:
    return hf.HubertModel(hf.HubertConfig(**_SPEECH, feat_extract_norm="layer"))


def _ast() -> Any:
    return hf.ASTModel(hf.ASTConfig(**SMALL, patch_size=16, max_length=128, num_mel_bins=32))


def _whisper() -> Any:
    sizes = {"encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = hf.WhisperConfig(vocab_size=16, d_model=32, encoder_ffn_dim=48, decoder_ffn_dim=48, **sizes, **special)
    return hf.WhisperModel(config)


def _clap() -> Any:
    audio = {
        "hidden_size": 64,
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 4],
        "window_size": 4,
        "spec_size": 64,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "projection_dim": 16,
        "num_hidden_layers": 2,
    }
    text = {**_WORDS, "projection_dim": 16, "type_vocab_size": 1, "pad_token_id": 0}
    return hf.ClapModel(hf.ClapConfig(text_config=text, audio_config=audio, projection_dim=16))


_VIT = {"do_resize": True, "size": {"height": 32, "width": 32}, "resample": 2, "do_normalize": True, "rescale_factor": 1 / 255}
_MEAN = {"image_mean": [0.48, 0.45, 0.4], "image_std": [0.26, 0.25, 0.27]}
_CLIP = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 32},
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    **_MEAN,
}

FAMILIES: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "bert": ("text", _text(_bert)),
    "modernbert": ("text", _text(_modernbert)),
    "clip text": ("text", _text(_clip)),
    "vit": (
        "image",
        _pictures(
            lambda: hf.ViTModel(hf.ViTConfig(**_TOWER)),
            image_processor_type="ViTImageProcessor",
            **_VIT,
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        ),
    ),
    "dinov2": (
        "image",
        _pictures(
            lambda: hf.Dinov2Model(
                hf.Dinov2Config(**{key: value for key, value in _TOWER.items() if key != "intermediate_size"})
            ),
            **{**_CLIP, "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 40}},
        ),
    ),
    "siglip": ("image", _pictures(_siglip, image_processor_type="SiglipImageProcessor", **{**_VIT, "resample": 3}, **_MEAN)),
    "clip": ("image", _pictures(_clip, **_CLIP)),
    "convnext": (
        "image",
        _pictures(
            lambda: hf.ConvNextModel(hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=32)),
            **{**_CLIP, "image_processor_type": "CLIPImageProcessor"},
        ),
    ),
    "wav2vec2": ("audio", _media(_wav2vec2, lambda: hf.Wav2Vec2FeatureExtractor(sampling_rate=8000))),
    "hubert": ("audio", _media(_hubert, lambda: hf.Wav2Vec2FeatureExtractor(sampling_rate=8000, return_attention_mask=True))),
    "ast": ("audio", _media(_ast, lambda: hf.ASTFeatureExtractor(sampling_rate=8000, num_mel_bins=32, max_length=128))),
    "whisper": ("audio", _media(_whisper, lambda: hf.WhisperFeatureExtractor(feature_size=80, sampling_rate=16000))),
    "clap": (
        "audio",
        _media(
            _clap,
            lambda: hf.ClapFeatureExtractor(
                feature_size=16,
                sampling_rate=16000,
                hop_length=160,
                fft_window_size=512,
                max_length_s=2,
                frequency_max=8000,
                truncation="rand_trunc",
            ),
        ),
    ),
}
"""Name -> the modality that it reads, and what saves one to a folder."""


def saved(family: str, folder: Path) -> Path:
    """A folder of that family, its weights drawn from one seed."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        FAMILIES[family][1](folder)
    return folder
