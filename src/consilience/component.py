"""The directory is the registry: a name resolves to a file, lazily, and no plugin is named anywhere else.

`fusions/concat.py` is the fusion `concat`. The file holds exactly one concrete subclass of the abstract base of its
folder, written in that file. A package outside this one adds a component with an entry point in the group
`consilience.fusions` (`modalities`, `tasks`, `predictors`) whose value is `module:Class`.

A component carries its configuration with it: a nested, frozen `Config`. Every constructor takes `config` and what it
needs to know about its surroundings, by keyword.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from consilience.errors import fail, nearest

KINDS = ("modalities", "fusions", "tasks", "predictors")


class Config(BaseModel):
    """Base of every `Config`: frozen, and a key that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False, allow_inf_nan=False)


@cache
def names(kind: str) -> dict[str, str]:
    """Name -> where it comes from ("consilience", or the distribution of an entry point), for one kind of component."""
    assert kind in KINDS, kind
    package = importlib.import_module(f"consilience.{kind}")
    found = {item.name: "consilience" for item in pkgutil.iter_modules(package.__path__) if item.name != "base"}
    for name, entry in _entries(kind).items():
        if name in found:
            raise fail(
                f"the package {_owner(entry)!r} adds the {_singular(kind)} {name!r}, which exists already",
                "a name of its own",
                f"rename the entry point in the group consilience.{kind}, or uninstall {_owner(entry)}",
            )
        found[name] = _owner(entry)
    return dict(sorted(found.items()))


@cache
def find(kind: str, name: str) -> type:
    """The class of component `name`. Raises ConsilienceError with the nearest valid name."""
    if name not in names(kind):
        raise fail(f"there is no {_singular(kind)} named {name!r}", f"a name of {kind}", nearest(name, names(kind)))
    base = abstract(kind)
    entry = _entries(kind).get(name)
    if entry is not None:
        found = entry.load()
        if not (inspect.isclass(found) and issubclass(found, base)):
            raise fail(f"{entry.value} is not a {base.__name__}", f"a class derived from {base.__module__}.{base.__name__}")
        return found
    module = importlib.import_module(f"consilience.{kind}.{name}")
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__.startswith(module.__name__)
        and not inspect.isabstract(value)
    ]
    assert len(found) == 1, f"{module.__name__} must hold exactly one {base.__name__}, it holds {found}"
    return found[0]


@cache
def abstract(kind: str) -> type:
    """The abstract base of a kind: `Fusion` in `fusions/base.py`."""
    return getattr(importlib.import_module(f"consilience.{kind}.base"), _singular(kind).capitalize())


def load(path: str) -> type:
    """The class at "module:Class"."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


@cache
def _entries(kind: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=f"consilience.{kind}"):
        if entry.name in found:
            owners = f"{_owner(found[entry.name])!r} and {_owner(entry)!r}"
            raise fail(
                f"the packages {owners} both add the {_singular(kind)} {entry.name!r}",
                "a name of its own for each",
                "uninstall one of them",
            )
        found[entry.name] = entry
    return found


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value


def _singular(kind: str) -> str:
    return {"modalities": "modality", "tasks": "task", "fusions": "fusion", "predictors": "predictor"}[kind]


@dataclass(frozen=True)
class Choice:
    """A component picked by a recipe: its name and its validated configuration. `{kind: transformer, depth: 3}`."""

    kind: str
    config: Config

    def dump(self) -> dict[str, Any]:
        """The choice as the recipe writes it."""
        return {"kind": self.kind, **self.config.model_dump(mode="json")}


def choose(group: str, value: Any) -> Choice:
    """Validate `value` (a name, or a mapping with `kind`) as a component of `group`. For use in pydantic fields."""
    if isinstance(value, Choice):
        return value
    return configure(value, find_of(group))


def configure(value: Any, find_class: Callable[[str], type]) -> Choice:
    """A name, or a mapping with `kind` and options -> Choice. Raises ValueError, as pydantic's validators must."""
    options = {"kind": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping) or not isinstance(options.get("kind"), str):
        raise ValueError("a name, or a mapping with the key 'kind'")
    kind = options["kind"]
    return Choice(kind, find_class(kind).Config.model_validate({key: v for key, v in options.items() if key != "kind"}))


def find_of(group: str) -> Callable[[str], type]:
    """`find` with the group filled in."""
    return lambda name: find(group, name)


def chosen(group: str) -> Any:
    """The pydantic type of a recipe key that picks one component of `group`."""
    return Annotated[Choice, PlainValidator(lambda value: choose(group, value)), PlainSerializer(Choice.dump), Group(group)]


@dataclass(frozen=True)
class Group:
    """Marks a recipe key as a choice of component, so that the list of keys can follow it."""

    name: str
