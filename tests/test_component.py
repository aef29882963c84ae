"""A name resolves to a file, or to what another package adds; anything else is an error with the nearest name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from consilience import component
from consilience.component import KINDS, Choice, Config, chosen, find, load, names
from consilience.errors import ConsilienceError
from consilience.fusions.base import Fusion
from consilience.fusions.concat import Concat
from consilience.fusions.transformer import Transformer

MODULE = """
from consilience.fusions.base import Fusion


class Config(Fusion.Config):
    bias: float = 0.0


class Mean(Fusion):
    Config = Config

    def fuse(self, tokens, present):
        raise NotImplementedError


class Other:
    pass


def function():
    pass
"""

Install = Callable[..., None]


def forget() -> None:
    for cached in (component.names, component.find, component._entries):
        cached.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install(distribution, name="module:Class", ...) adds a package with entry points for fusions."""

    def add(distribution: str, **entries: str) -> None:
        folder = tmp_path / f"{distribution}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[consilience.fusions]", *lines]) + "\n")
        forget()

    (tmp_path / "added_fusions.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield add
    monkeypatch.undo()
    forget()


# Our own components


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_a_component_that_follows_the_contract(kind: str) -> None:
    base = component.abstract(kind)
    folder = Path(component.__file__).parent / kind
    files = {path.stem for path in folder.iterdir() if path.stem not in ("__init__", "__pycache__", "base")}
    assert set(names(kind)) == files
    assert list(names(kind)) == sorted(files)
    for name in files:
        assert issubclass(find(kind, name), base)


def test_the_base_is_what_its_file_names_first() -> None:
    assert component.abstract("fusions") is Fusion


def test_names_say_where_they_come_from() -> None:
    assert names("fusions")["concat"] == "consilience"


def test_find_gives_the_class_of_the_file() -> None:
    assert find("fusions", "concat") is Concat
    assert load("consilience.fusions.concat:Concat") is Concat


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("fusions", "transfomer", r"no fusion named 'transfomer'[\s\S]*did you mean 'transformer'"),
        ("modalities", "txt", r"no modality named 'txt'[\s\S]*did you mean 'text'"),
        ("tasks", "Regresion", r"no task named 'Regresion'[\s\S]*did you mean 'regression'"),
        ("predictors", "qqq", r"no predictor named 'qqq'[\s\S]*choose one of: fused, linear"),
        ("fusions", "base", "no fusion named 'base'"),
        ("fusions", "../concat", "no fusion named"),
        ("fusions", "", "no fusion named ''"),
    ],
)
def test_a_name_that_does_not_exist_is_an_error(kind: str, name: str, message: str) -> None:
    with pytest.raises(ConsilienceError, match=message):
        find(kind, name)


def test_a_kind_that_does_not_exist_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError):
        names("colours")


# What other packages add


def test_another_package_adds_a_component(install: Install) -> None:
    install("more-fusions", mean="added_fusions:Mean")
    assert names("fusions")["mean"] == "more-fusions"
    assert list(names("fusions")) == sorted(names("fusions"))
    found = find("fusions", "mean")
    assert issubclass(found, Fusion)
    assert found.__name__ == "Mean"
    assert find("fusions", "concat") is Concat


def test_an_added_component_can_be_chosen_with_its_options(install: Install) -> None:
    install("more-fusions", mean="added_fusions:Mean")
    choice = component.choose("fusions", {"kind": "mean", "bias": 2})
    assert choice.dump() == {"kind": "mean", "bias": 2.0}


def test_nothing_is_imported_before_it_is_asked_for(install: Install) -> None:
    install("more-fusions", broken="no_such_module:Mean")
    assert names("fusions")["broken"] == "more-fusions"
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        find("fusions", "broken")


def test_a_name_of_ours_cannot_be_taken(install: Install) -> None:
    install("more-fusions", concat="added_fusions:Mean")
    with pytest.raises(ConsilienceError, match=r"the package 'more-fusions' adds the fusion 'concat', which exists already"):
        find("fusions", "concat")


def test_two_packages_cannot_add_one_name(install: Install) -> None:
    install("more-fusions", mean="added_fusions:Mean")
    install("yet-more", mean="added_fusions:Mean")
    with pytest.raises(ConsilienceError) as caught:
        names("fusions")
    assert "both add the fusion 'mean'" in str(caught.value)
    assert "'more-fusions'" in str(caught.value)
    assert "'yet-more'" in str(caught.value)


@pytest.mark.parametrize("value", ["added_fusions:Other", "added_fusions:function", "added_fusions:Config"])
def test_what_is_no_class_of_the_kind_is_an_error(install: Install, value: str) -> None:
    install("more-fusions", wrong=value)
    message = rf"{value} is not a Fusion[\s\S]*derived from consilience\.fusions\.base\.Fusion"
    with pytest.raises(ConsilienceError, match=message):
        find("fusions", "wrong")


# Choices


class Model(BaseModel):
    """What a recipe does with components."""

    fusion: chosen("fusions")  # type: ignore[valid-type]


def test_a_choice_is_a_name_or_a_mapping() -> None:
    expected = Choice("transformer", Transformer.Config())
    assert Model.model_validate({"fusion": "transformer"}).fusion == expected
    assert Model.model_validate({"fusion": {"kind": "transformer"}}).fusion == expected
    assert Model.model_validate({"fusion": expected}).fusion is expected
    deep = Model.model_validate({"fusion": {"kind": "transformer", "depth": 5}})
    assert deep.fusion == Choice("transformer", Transformer.Config(depth=5))
    assert deep.model_dump(mode="json") == {"fusion": {"kind": "transformer", "depth": 5, "heads": 4, "dropout": 0.2}}


@pytest.mark.parametrize("value", [None, 3, [], {}, {"depth": 3}, {"kind": 3}, {"kind": None}])
def test_what_is_no_choice_is_an_error(value: object) -> None:
    with pytest.raises(ValidationError, match="a name, or a mapping with the key 'kind'"):
        Model.model_validate({"fusion": value})


@pytest.mark.parametrize(
    "value", ["nothing", {"kind": "nothing"}, {"kind": "concat", "depth": 3}, {"kind": "transformer", "depth": 0}]
)
def test_a_wrong_name_or_option_is_an_error(value: object) -> None:
    with pytest.raises(ValidationError):
        Model.model_validate({"fusion": value})


def test_a_config_is_frozen_knows_its_keys_and_is_finite() -> None:
    class Sized(Config):
        size: float = 1.0

    with pytest.raises(ValidationError, match="frozen"):
        Sized().size = 2.0
    with pytest.raises(ValidationError, match="Extra inputs"):
        Sized.model_validate({"sise": 1})
    with pytest.raises(ValidationError, match="finite"):
        Sized(size=float("nan"))
