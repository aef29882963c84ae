"""The recipe: the one configuration object of a run. YAML on disk, frozen in Python.

A recipe is layered sparsely - preset, then file, then single settings - and validated once, so that the defaults of a
component apply only where nobody said otherwise. A key exists only if changing it changes the run; `tests/test_options.py`
holds every key to that.
"""

from __future__ import annotations

import re
import types as python_types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from consilience import component
from consilience.component import Choice, Config, Group, chosen
from consilience.errors import ConsilienceError, Problem, fail, nearest
from consilience.types import Limits

# What PyYAML raises for dates, numbers and keys that are none, and for brackets without end, is no YAMLError.
NO_YAML = (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, RecursionError)

PRESETS = ("fast", "balanced", "best")


class InputSpec(Config):
    """An input that the recipe defines, instead of leaving it to the schema."""

    modality: str = Field(description="Which kind of data it is.")
    columns: tuple[str, ...] = Field(description="Its columns; * stands for any characters.")


class Split(Config):
    """How rows become train, valid and test."""

    method: Literal["auto", "column", "random", "stratified", "grouped", "time"] = Field(
        "auto", description="auto: by column, by time or grouped where such a column is known, else stratified or random."
    )
    column: str | None = Field(None, description="Column that holds train, valid and test.")
    group: str | None = Field(None, description="Rows that share this column's value never stand on both sides.")
    time: str | None = Field(None, description="Column by which the latest rows become valid and test.")
    valid: float = Field(0.15, gt=0, lt=1, description="Share of all rows for validation.")
    test: float = Field(0.15, ge=0, lt=1, description="Share of all rows for the test.")
    folds: int | None = Field(None, ge=2, description="Cut the rows into so many folds; one of them is the test part.")
    fold: int = Field(0, ge=0, description="Which of the folds is the test part.")
    unlabelled: Literal["error", "exclude"] = Field("error", description="What to do with rows whose target is empty.")


class Select(Config):
    """How the shipped predictor is chosen among those that were trained."""

    method: Literal["best", "ensemble"] = Field(
        "ensemble", description="ensemble: a weighted average, built greedily; best: the one with the best validation metric."
    )
    only: str | None = Field(None, description="Switch selection off: ship this predictor.")
    calibrate: bool = Field(True, description="Fit a temperature to the validation rows.")


class Audit(Config):
    """What is known to be so in this table, and not to be reported as a finding."""

    accept: tuple[str, ...] = Field((), description="Findings that are in order: a kind, or kind:column for one column.")


class LimitSpec(Config):
    """Bounds on what is read from one cell."""

    pixels: int = Field(Limits.pixels, gt=0, description="Larger pictures are missing: 'over the pixel limit'.")
    bytes: int = Field(Limits.bytes, gt=0, description="Larger files are missing: 'over the byte limit'.")
    characters: int = Field(Limits.characters, gt=0, description="Longer texts are cut here.")
    seconds: float = Field(Limits.seconds, gt=0, description="Longer recordings are cut here.")
    values: int = Field(Limits.values, gt=0, description="Series of more numbers are missing: 'over the value limit'.")
    urls: bool = Field(Limits.urls, description="Fetch media cells that are URLs; http needs consilience[url].")
    isolate: float | None = Field(
        Limits.isolate,
        gt=0,
        le=86_400,
        description="Read media in processes that may break, killed after so many seconds a cell; slower.",
    )
    outside: bool = Field(Limits.outside, description="Read media files outside of the media root; else they are missing.")


class Recipe(Config):
    """Everything that decides a run, beside the table itself."""

    target: str | None = Field(None, description="The column to predict; training needs one.")
    exclude: tuple[str, ...] = Field((), description="Columns that the model must not see.")
    weight: str | None = Field(None, description="Column with the weight of each row, in training and in metrics.")
    inputs: dict[str, InputSpec] = Field({}, description="Inputs by name, for columns that the schema should not guess.")
    limits: LimitSpec = Field(LimitSpec.model_validate({}), description="Bounds on what is read from one cell.")
    audit: Audit = Field(Audit.model_validate({}), description="What the audit does not report.")
    split: Split = Field(Split.model_validate({}), description="How rows become train, valid and test.")
    task: chosen("tasks") | None = Field(None, description="What the target means; default: detected.")  # type: ignore[valid-type]
    metric: str | None = Field(None, description="What selection and early stopping optimise; default: by task.")
    predictors: dict[str, chosen("predictors")] = Field(description="What is trained and compared, by name.")  # type: ignore[valid-type]
    select: Select = Field(Select.model_validate({}), description="How the shipped predictor is chosen.")
    refit: bool = Field(True, description="Train the chosen predictors again on train and valid together.")
    seed: int = Field(0, ge=0, description="Fixes every random choice.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps: where networks run.")

    @field_validator("predictors", mode="before")
    @classmethod
    def _name_is_kind(cls, value: Any) -> Any:
        """`trees: {}` means `trees: {kind: trees}`; a null entry takes a predictor of the preset out."""
        if not isinstance(value, Mapping):
            return value
        kept = {name: entry for name, entry in value.items() if entry is not None}
        if not kept:
            raise ValueError("at least one predictor that is not null")
        return {name: {"kind": name, **entry} if isinstance(entry, Mapping) else entry for name, entry in kept.items()}

    @property
    def limit(self) -> Limits:
        return Limits(**self.limits.model_dump())

    def dump(self) -> str:
        """The whole recipe as YAML, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def make_recipe(
    target: str | None = None,
    *,
    preset: str = "balanced",
    file: Path | None = None,
    settings: Sequence[Mapping[str, Any]] = (),
) -> Recipe:
    """Preset, then file, then `settings` (sparse trees), then `target`, merged and validated.

    Raises ConsilienceError with every wrong key, its path and the nearest valid one.
    """
    if preset not in PRESETS:
        raise fail(f"there is no preset {preset!r}", "a preset", nearest(preset, PRESETS))
    text = resources.files("consilience.recipes").joinpath(f"{preset}.yaml").read_text()
    tree = _parse(text, f"preset {preset}")
    layers = [_parse(_read(file), str(file))] if file else []
    for layer in [*layers, *settings, *([{"target": target}] if target is not None else [])]:
        tree = merge(tree, layer)
    return validate(tree)


def validate(tree: Mapping[str, Any]) -> Recipe:
    """A Recipe from a plain tree. Raises ConsilienceError with all problems at once."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise ConsilienceError(*(_problem(item, tree) for item in error.errors(include_url=False))) from None


def setting(text: str) -> dict[str, Any]:
    """`split.valid=0.2` -> {"split": {"valid": 0.2}}; the value is read as YAML."""
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise fail(f"--set {text!r}", "KEY=VALUE, such as split.valid=0.2", "see `consilience list recipe` for the keys")
    tree: Any = _parse_value(value, text)
    for key in reversed(keys):
        tree = {key: tree}
    return tree


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, key by key. A mapping that changes its `kind` replaces instead: other options apply."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, str) and isinstance(value, Mapping):  # `task: regression`, then `task.log=true`
            old = {"kind": old}
        if isinstance(value, Mapping) and isinstance(old, Mapping) and value.get("kind", old.get("kind")) == old.get("kind"):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


@dataclass(frozen=True)
class Key:
    """One leaf of the recipe. `path` names components in brackets: `predictors.*[fused].fusion[transformer].depth`."""

    path: str
    type: str
    default: str
    description: str


def keys() -> list[Key]:
    """Every key that a recipe can hold, with those of every component that is installed."""
    found = list(_keys(Recipe, ""))
    for name in component.names("modalities"):
        for kind, path in component.find("modalities", name)().encoders().items():
            found += _keys(component.load(path).Config, f"predictors.*.encoders.{name}[{kind}].")  # type: ignore[attr-defined]
    return found


def _keys(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        preset = field.get_default(call_default_factory=True)
        default = "required" if field.is_required() else preset.kind if isinstance(preset, Choice) else str(preset)
        annotation = field.annotation
        metadata = [*field.metadata, *_metadata(annotation)]
        group = next((item.name for item in metadata if isinstance(item, Group)), None)
        inner = next((part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)), None)
        star = ".*" if get_origin(annotation) is dict else ""
        if group is not None:
            yield Key(f"{path}{star}.kind", "name", default, field.description or "")
            for component_name in component.names(group):
                config = component.find(group, component_name).Config  # type: ignore[attr-defined]
                yield from _keys(config, f"{path}{star}[{component_name}].")
        elif inner is not None:
            yield from _keys(inner, f"{path}{star}.")
        else:
            yield Key(path + star, _type_name(annotation), default, field.description or "")


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        if get_origin(annotation) is not Literal:
            yield from _parts(part)


def _metadata(annotation: Any) -> Iterator[Any]:
    for part in _parts(annotation):
        if get_origin(part) is Annotated:
            yield from part.__metadata__


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if isinstance(annotation, type) and not isinstance(annotation, python_types.GenericAlias):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _problem(item: Mapping[str, Any], tree: Mapping[str, Any]) -> Problem:
    loc = [str(part) for part in item["loc"] if not str(part).startswith("function-")]
    path, inner = ".".join(loc), item.get("ctx", {}).get("error")
    if isinstance(inner, ConsilienceError):
        first = inner.problems[0]
        return Problem(f"recipe key {path}: {first.found}", first.expected, first.do)
    if item["type"] == "extra_forbidden":
        return Problem(f"recipe key {path} does not exist", "a key of the recipe", nearest(loc[-1], _siblings(loc, tree)))
    if item["type"] == "missing":
        return Problem(f"recipe key {path} is missing", do=f"set it, for instance with --set {path}=VALUE")
    expected = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    do = "write it in quotes: YAML reads yes, no and digits as other things" if item["type"] == "string_type" else ""
    return Problem(f"recipe key {path} is {item['input']!r}", expected, do)


def _siblings(loc: Sequence[str], tree: Mapping[str, Any]) -> set[str]:
    """The keys that may stand beside the last of `loc`, given the components that `tree` chose on the way to it."""
    kinds: list[str] = []
    node: Any = tree
    for part in loc[:-1]:
        node = node.get(part, {}) if isinstance(node, Mapping) else {}
        kinds.append(node if isinstance(node, str) else str(node.get("kind", part)) if isinstance(node, Mapping) else part)
    found = set()
    for key in keys():
        parts = [re.fullmatch(r"([^\[]+)(?:\[(.+)\])?", part) for part in key.path.split(".")]
        names = [(match.group(1), match.group(2)) for match in parts if match]
        way = zip(names, loc[:-1], kinds, strict=False)
        if len(names) >= len(loc) and all(name in ("*", part) and choice in (None, kind) for (name, choice), part, kind in way):
            found.add(names[len(loc) - 1][0])
    return found - {"*"}


def _parse(text: str, source: str) -> dict[str, Any]:
    tree = _parse_value(text, source)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise fail(f"{source} holds {type(tree).__name__}", "a mapping of recipe keys", "see `consilience list recipe`")
    return tree


def _parse_value(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except NO_YAML as error:
        raise fail(f"{source} is no valid YAML: {' '.join(str(error).split())}", "YAML", "mend it") from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise fail(f"the recipe {file} cannot be read: {error}", "a YAML file in UTF-8", "check the path") from None


__all__ = ["Choice", "InputSpec", "Key", "Recipe", "Select", "Split", "keys", "make_recipe", "merge", "setting", "validate"]
