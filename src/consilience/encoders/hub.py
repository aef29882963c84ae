"""Models of the `transformers` library, out of a local folder or the hub: opened once, then complete in themselves.

Decisions. Weights are safetensors or nothing, and code that a folder brings is never run. A folder is opened without asking
anybody; a hub name needs a revision, because a name alone is whatever stands there tomorrow, and is fetched by
`huggingface_hub`, which respects HF_HUB_OFFLINE. Of models with two towers (CLIP, SigLIP, CLAP, Whisper) only the one that
reads the modality is kept.

What is kept of a folder (`about`): the configuration of the part, the tokenizer as JSON or the preprocessor's settings.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from consilience.encoders.weights import Weights, held
from consilience.errors import ConsilienceError, fail

_PARTS = {
    ("text", "clip"): "text_model",
    ("text", "siglip"): "text_model",
    ("text", "siglip2"): "text_model",
    ("text", "clap"): "text_model",
    ("text", "t5"): "encoder",
    ("image", "clip"): "vision_model",
    ("image", "siglip"): "vision_model",
    ("image", "siglip2"): "vision_model",
    ("audio", "clap"): "audio_model",
    ("audio", "whisper"): "encoder",
}
"""Which part of a model reads a modality, by the model's type."""

_UNUSABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError)

_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")


def transformers() -> Any:
    """The library. Raises ConsilienceError where it is not installed."""
    try:
        import transformers as found
    except ImportError as error:
        raise fail(
            f"pretrained encoders need transformers, which cannot be loaded: {error}", do="pip install consilience[hub]"
        ) from None
    return found


def opened(modality: str, model: str, revision: str | None) -> Weights:
    """The part of a model that reads a modality. Raises ConsilienceError where there is none to be had."""
    folder = located(model, revision)
    stamp = tuple(
        sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file())
    )
    return _opened(modality, folder, stamp)


def located(model: str, revision: str | None) -> Path:
    """The folder of a model: itself, or as the hub gives it."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise fail(f"{model} is a folder, and a revision is given", "a revision of hub names only", "leave revision away")
        return folder
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise fail(f"there is no folder {model}", "a folder in the hub's format, or a hub name such as owner/name", "check it")
    if revision is None:
        raise fail(
            f"the hub name {model} has no revision, and no folder is called so",
            "the commit that is meant, so that it stays what it is",
            "set revision beside model, or name a folder",
        )
    transformers()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise fail(
            f"{model} at {revision} cannot be had from the hub: {_line(error)}",
            "a hub that can be reached, or a copy in its cache",
            "check name and revision; without a network, copy the model's folder here and name that",
        ) from None


@lru_cache(maxsize=4)
def _opened(modality: str, folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> Weights:
    library = transformers()
    if not any(name.endswith(".safetensors") for name, _, _ in stamp):
        raise fail(f"{folder} holds no .safetensors file", "weights in that format: others can run code", "convert them")
    with _plain(folder):
        config = library.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        whole = library.AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        part = _PARTS.get((modality, config.model_type))
        module = whole if part is None else getattr(whole, part, whole)
        if hasattr(module.config, "apply_spec_augment"):
            module.config.apply_spec_augment = False  # it draws from numpy's global generator
        about = {
            "source": "transformers",
            "type": config.model_type,
            "part": part if module is not whole else None,
            "config": _config(module.config),
            "prepared": _PREPARED[modality](folder, library),
        }
    return held(about, module)


def empty(about: Mapping[str, Any]) -> nn.Module:
    """A module of the architecture that `opened` described, to be filled."""
    library = transformers()
    kind, part = about.get("type"), about.get("part")
    with _plain("the run"):
        described = dict(about["config"])
        model_type = str(described.pop("model_type"))
        if (part, model_type) == ("encoder", "whisper"):
            from transformers.models.whisper.modeling_whisper import WhisperEncoder

            return WhisperEncoder(library.WhisperConfig.from_dict(described))
        if model_type in ("clap_audio_model", "clap_text_model"):
            name = "Audio" if model_type == "clap_audio_model" else "Text"
            config = getattr(library, f"Clap{name}Config").from_dict(described)
            return getattr(library, f"Clap{name}Model")(config)
        if (part, kind) == ("encoder", "t5"):
            return library.T5EncoderModel(library.T5Config.from_dict(described)).encoder
        config = library.AutoConfig.for_model(model_type, **described)
        return library.AutoModel.from_config(config, trust_remote_code=False)


def _config(config: Any) -> dict[str, Any]:
    """All that decides the architecture; not where it lay, nor the version of the library."""
    said = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in said.items() if key not in ("_name_or_path", "transformers_version", "architectures")}


def _tokenizer(folder: Path, library: Any) -> dict[str, Any]:
    tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if inner is None:
        raise fail(f"the tokenizer of {folder} is of the slow kind", "a tokenizer.json", "save it with a fast tokenizer")
    limit = min(int(tokenizer.model_max_length), 1 << 20)
    return {"tokenizer": inner.to_str(), "most": limit, "pad": tokenizer.pad_token_id or 0}


def _pictures(folder: Path, library: Any) -> dict[str, Any]:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise fail(f"{folder} has no preprocessor_config.json", "the model's own preparation of pictures", "add it")
    return json.loads(path.read_text(encoding="utf-8"))


def _sounds(folder: Path, library: Any) -> dict[str, Any]:
    extractor = library.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return {"class": type(extractor).__name__, "settings": json.loads(extractor.to_json_string())}


_PREPARED = {"text": _tokenizer, "image": _pictures, "audio": _sounds}


@contextmanager
def _plain(what: Path | str) -> Iterator[None]:
    """What the library raises, as errors that say where; what it shows and warns of is left out meanwhile."""
    logging = transformers().utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ConsilienceError:
        raise
    except _UNUSABLE as error:
        raise fail(
            f"{what} holds no model that can be opened: {_line(error)}",
            "a model of a kind that transformers knows, in safetensors, without code of its own",
            "check the folder",
        ) from None
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
