"""The recipe: layered sparsely, validated once, and every wrong key named with its path and the nearest valid one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from consilience import component
from consilience.errors import ConsilienceError
from consilience.recipe import PRESETS, Recipe, keys, make_recipe, merge, setting, validate
from consilience.types import Limits

LINEAR = {"predictors": {"linear": {}}}


def file(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(tree: dict[str, Any]) -> list[str]:
    with pytest.raises(ConsilienceError) as caught:
        validate(tree)
    return [str(problem) for problem in caught.value.problems]


# Layers


def test_each_layer_lies_on_the_one_before(tmp_path: Path) -> None:
    path = file(tmp_path, "target: a\nseed: 1\nsplit: {valid: 0.2, test: 0.3}\n")
    recipe = make_recipe("d", preset="fast", file=path, settings=[{"seed": 2, "split": {"test": 0.1}}, {"seed": 3}])
    assert (recipe.target, recipe.seed) == ("d", 3)
    assert (recipe.split.valid, recipe.split.test) == (0.2, 0.1)
    assert recipe.split.method == "auto"
    assert set(recipe.predictors) >= {"linear", "trees"}


def test_a_target_that_is_not_given_leaves_the_file_alone(tmp_path: Path) -> None:
    assert make_recipe(file=file(tmp_path, "target: a\n")).target == "a"
    assert make_recipe().target is None


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert make_recipe("y", file=file(tmp_path, "# nothing yet\n")) == make_recipe("y")


def test_options_of_the_preset_stay_where_the_kind_does() -> None:
    recipe = make_recipe(preset="best", settings=[{"predictors": {"scratch": {"width": 64}}}])
    choice = recipe.predictors["scratch"]
    assert choice.kind == "fused"
    assert choice.config.model_dump()["encoder"] == "scratch"
    assert choice.config.model_dump()["width"] == 64


def test_another_kind_replaces_the_options() -> None:
    tree = {"predictors": {"mine": {"kind": "fused", "width": 64, "fusion": {"kind": "transformer", "depth": 3}}}}
    layers = [tree, {"predictors": {"mine": {"fusion": {"kind": "concat"}}}}]
    choice = make_recipe(settings=layers).predictors["mine"]
    assert choice.config.model_dump()["width"] == 64
    assert choice.dump()["fusion"] == {"kind": "concat", "dropout": 0.2}
    replaced = make_recipe(settings=[tree, {"predictors": {"mine": {"kind": "linear", "strength": 0.5}}}]).predictors["mine"]
    assert (replaced.kind, replaced.dump()["strength"]) == ("linear", 0.5)


def test_null_takes_a_predictor_out() -> None:
    assert set(make_recipe(preset="fast").predictors) - set(
        make_recipe(preset="fast", settings=[{"predictors": {"trees": None}}]).predictors
    ) == {"trees"}


def test_one_predictor_must_be_left() -> None:
    assert problems({"predictors": {"linear": None}}) == [
        "recipe key predictors is {'linear': None}\n  expected: at least one predictor that is not null"
    ]


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3, "d": 4}}, {"a": {"b": 1, "c": 3, "d": 4}}),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"d": 2}}}, {"a": {"b": {"c": 1, "d": 2}}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "y", "c": 2}}, {"a": {"kind": "y", "c": 2}}),
        ({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "x", "c": 2}}, {"a": {"kind": "x", "b": 1, "c": 2}}),
        ({"a": {"kind": "x", "b": 1}}, {"a": {"c": 2}}, {"a": {"kind": "x", "b": 1, "c": 2}}),
        ({"a": {"kind": "x", "b": 1}}, {"a": "y"}, {"a": "y"}),
        ({"a": "x"}, {"a": {"b": 1}}, {"a": {"kind": "x", "b": 1}}),
        ({"a": "x"}, {"a": {"kind": "y", "b": 1}}, {"a": {"kind": "y", "b": 1}}),
    ],
)
def test_merge(base: dict, over: dict, merged: dict) -> None:
    before = repr((base, over))
    assert merge(base, over) == merged
    assert repr((base, over)) == before, "merging changed what it was given"


# Settings


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("seed=3", {"seed": 3}),
        ("split.valid=0.2", {"split": {"valid": 0.2}}),
        (" a.b.c = text ", {"a": {"b": {"c": "text"}}}),
        ("exclude=[a, 'b c']", {"exclude": ["a", "b c"]}),
        ("task={kind: regression, log: true}", {"task": {"kind": "regression", "log": True}}),
        ("predictors.trees=null", {"predictors": {"trees": None}}),
        ("a=", {"a": None}),
        ("a=b=c", {"a": "b=c"}),
        ("a='3'", {"a": "3"}),
        ("a=1.0e-3", {"a": 0.001}),
        ("refit=no", {"refit": False}),
    ],
)
def test_a_setting_is_a_path_and_a_yaml_value(text: str, tree: dict) -> None:
    assert setting(text) == tree


@pytest.mark.parametrize("text", ["seed", "", "=3", "a..b=1", ".a=1", "a.=1"])
def test_a_setting_of_another_form_is_an_error(text: str) -> None:
    with pytest.raises(ConsilienceError, match=r"--set[\s\S]*KEY=VALUE"):
        setting(text)


@pytest.mark.parametrize("text", ["a=[1", "a={b: 1", "a='x"])
def test_a_setting_that_is_no_yaml_is_an_error(text: str) -> None:
    with pytest.raises(ConsilienceError, match="no valid YAML"):
        setting(text)


def test_settings_reach_the_recipe() -> None:
    texts = ["split.folds=5", "exclude=[id]", "task=classification", "task.positive='1'", "predictors.linear.strength=0.1"]
    recipe = make_recipe("y", settings=[setting(text) for text in texts])
    assert recipe.split.folds == 5
    assert recipe.exclude == ("id",)
    assert recipe.task is not None
    assert recipe.task.dump() == {"kind": "classification", "class_weight": "none", "positive": "1"}
    assert recipe.predictors["linear"].dump()["strength"] == 0.1


# Wrong recipes


@pytest.mark.parametrize(
    ("tree", "found", "advice"),
    [
        ({"seeed": 1}, "recipe key seeed does not exist", "'seed'"),
        ({"split": {"vald": 0.1}}, "recipe key split.vald does not exist", "'valid'"),
        ({"inputs": {"a": {"modality": "text", "columns": ["a"], "colum": 1}}}, "inputs.a.colum does not exist", "'columns'"),
        ({"task": {"kind": "classification", "postive": "x"}}, "recipe key task.postive does not exist", "'positive'"),
        ({"task": "clasification"}, "recipe key task: there is no task named 'clasification'", "'classification'"),
        ({"predictors": {"liner": {}}}, "recipe key predictors.liner: there is no predictor named 'liner'", "'linear'"),
        ({"predictors": {"a": {"kind": "liner"}}}, "recipe key predictors.a: there is no predictor named", "'linear'"),
        ({"predictors": {"linear": {"strenght": 1}}}, "predictors.linear.strenght does not exist", "'strength'"),
        ({"predictors": {"a": {"kind": "linear", "strenght": 1}}}, "predictors.a.strenght does not exist", "'strength'"),
        ({"predictors": {"fused": {"fusion": {"kind": "concat", "dropot": 0}}}}, "fused.fusion.dropot does", "'dropout'"),
        ({"predictors": {"fused": {"fusion": "concatt"}}}, "fused.fusion: there is no fusion named 'concatt'", "'concat'"),
        ({"predictors": {"fused": {"train": {"epoch": 3}}}}, "predictors.fused.train.epoch does not exist", "'epochs'"),
    ],
)
def test_a_wrong_name_is_shown_with_its_path_and_the_nearest(tree: dict, found: str, advice: str) -> None:
    (problem,) = problems(LINEAR | tree)
    assert found in problem
    assert f"do: did you mean {advice}?" in problem


def test_only_keys_that_would_be_right_are_proposed() -> None:
    # width is a key of fused, and heads one of the transformer, but not here.
    (problem,) = problems({"predictors": {"linear": {"width": 3}}})
    assert "do: choose one of: encoder, encoders, inputs, kind, strength" in problem
    (problem,) = problems({"predictors": {"fused": {"fusion": {"kind": "concat", "heads": 3}}}})
    assert "do: choose one of: dropout, kind" in problem


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({"split": {"valid": 1.5}}, "recipe key split.valid is 1.5\n  expected: less than 1"),
        ({"split": {"folds": 1}}, "recipe key split.folds is 1\n  expected: greater than or equal to 2"),
        ({"seed": "x"}, "recipe key seed is 'x'\n  expected: a valid integer"),
        ({"split": {"method": "by hand"}}, "recipe key split.method is 'by hand'\n  expected: 'auto', 'column'"),
        ({"split": 3}, "recipe key split is 3\n  expected: a valid dictionary"),
        ({"predictors": 3}, "recipe key predictors is 3\n  expected: a valid dictionary"),
        ({"predictors": {"a": 3}}, "recipe key predictors.a is 3\n  expected: a name, or a mapping with the key 'kind'"),
        ({"predictors": {"fused": {"fusion": {"depth": 3}}}}, "fusion is {'depth': 3}\n  expected: a name, or a mapping"),
        ({"predictors": {"linear": {"strength": 0}}}, "recipe key predictors.linear.strength is 0\n  expected: greater than 0"),
        ({"inputs": {"a": {"modality": "text"}}}, "key inputs.a.columns is missing\n  do: set it, for instance with --set"),
        ({"seed": float("nan")}, "recipe key seed is nan"),
        ({1: 2}, "recipe key 1 is 1"),
    ],
)
def test_a_wrong_value_is_shown_with_its_path_and_what_is_expected(tree: dict, problem: str) -> None:
    (found,) = problems(LINEAR | tree)
    assert problem in found


def test_a_word_that_yaml_takes_for_something_else_comes_with_advice() -> None:
    (problem,) = problems(LINEAR | merge({"task": {"kind": "classification"}}, setting("task.positive=yes")))
    assert "recipe key task.positive is True\n  expected: a valid string\n  do: write it in quotes" in problem


def test_a_recipe_without_predictors_is_incomplete() -> None:
    assert problems({}) == ["recipe key predictors is missing\n  do: set it, for instance with --set predictors=VALUE"]


def test_all_problems_are_raised_at_once() -> None:
    tree = {
        "sed": 1,
        "split": {"valid": 2, "tset": 0.1},
        "task": "clasification",
        "predictors": {"fused": {"widht": 3, "fusion": {"kind": "transformer", "dept": 1, "heads": 0}}, "liner": {}},
    }
    found = sorted(re.match(r"recipe key ([\w.]+)", problem).group(1) for problem in problems(tree))  # type: ignore[union-attr]
    assert found == sorted(
        [
            "sed",
            "split.valid",
            "split.tset",
            "task",
            "predictors.fused.widht",
            "predictors.fused.fusion.dept",
            "predictors.fused.fusion.heads",
            "predictors.liner",
        ]
    )


def test_an_unknown_preset_is_an_error() -> None:
    with pytest.raises(ConsilienceError, match=r"no preset 'fats'[\s\S]*did you mean 'fast'"):
        make_recipe(preset="fats")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed: [1", r"recipe\.yaml is no valid YAML"),
        (b"- 1\n- 2\n", r"recipe\.yaml holds list"),
        (b"just words", r"recipe\.yaml holds str"),
        (b"seed: \xff", r"recipe\.yaml cannot be read"),
        (b"target: !!python/object/apply:os.system ['true']", r"recipe\.yaml is no valid YAML"),
        (b"sed: 1", "recipe key sed does not exist"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(ConsilienceError, match=message):
        make_recipe(file=tmp_path / "recipe.yaml")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConsilienceError, match=r"recipe\.yaml cannot be read"):
        make_recipe(file=tmp_path / "recipe.yaml")


# What a recipe is


def test_a_recipe_is_frozen() -> None:
    recipe = make_recipe("y")
    with pytest.raises(ValidationError):
        recipe.seed = 3
    with pytest.raises(ValidationError):
        recipe.split.valid = 0.3


def test_the_name_of_a_predictor_is_its_kind_unless_it_says_otherwise() -> None:
    recipe = validate({"predictors": {"linear": {}, "a": {"kind": "linear"}, "b": "linear"}})
    assert {name: choice.kind for name, choice in recipe.predictors.items()} == dict.fromkeys(("linear", "a", "b"), "linear")


def test_limits_are_those_that_readers_take() -> None:
    assert make_recipe().limit == Limits()
    assert make_recipe(settings=[setting("limits.characters=7")]).limit == Limits(characters=7)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_dumped_recipe_reads_back_as_it_was(preset: str) -> None:
    changes = {
        "inputs": {"naïve: input": {"modality": "text", "columns": ["a b", "c*", "null", "1"]}},
        "task": {"kind": "classification", "positive": "yes"},
        "split": {"folds": 3, "fold": 1, "valid": 1e-5},
        "predictors": {"mine": {"kind": "fused", "fusion": "concat", "encoders": {"text": {"kind": "scratch", "width": 32}}}},
    }
    for recipe in (make_recipe(preset=preset), make_recipe("y", preset=preset, settings=[changes])):
        again = validate(yaml.safe_load(recipe.dump()))
        assert again == recipe
        assert again.dump() == recipe.dump()


def test_a_dumped_recipe_holds_every_default() -> None:
    written = yaml.safe_load(make_recipe("y").dump())
    assert written["split"]["valid"] == 0.15
    assert written["predictors"]["fused"]["fusion"]["kind"] == "transformer"
    assert set(written) == set(Recipe.model_fields)


# Keys


def test_every_key_has_a_path_of_its_own_a_type_and_a_description() -> None:
    found = keys()
    paths = [key.path for key in found]
    assert len(set(paths)) == len(paths)
    assert not [key for key in found if not (key.description.strip() and key.type and key.default)]
    assert not [key.path for key in found if not key.description.rstrip().endswith(".")]


def test_keys_reach_into_every_component() -> None:
    paths = {key.path for key in keys()}
    assert {"seed", "split.valid", "limits.pixels", "inputs.*.columns", "task.kind", "predictors.*.kind"} <= paths
    assert {"task[classification].positive", "predictors.*[linear].strength"} <= paths
    assert "predictors.*[fused].fusion[transformer].heads" in paths
    for group in ("tasks", "predictors"):
        for name in component.names(group):
            assert component.find(group, name).Config.model_fields.keys() <= {  # type: ignore[attr-defined]
                path.split(f"[{name}].")[1].split(".")[0] for path in paths if f"[{name}]." in path
            }


def test_keys_show_type_and_default() -> None:
    found = {key.path: key for key in keys()}
    assert (found["split.valid"].type, found["split.valid"].default) == ("float", "0.15")
    assert found["select.method"].type == "best | ensemble"
    assert found["predictors.*[fused].fusion.kind"].default == "transformer"
    assert found["inputs.*.modality"].default == "required"
    assert found["task.kind"].default == "None"


@pytest.mark.parametrize("text", ["a: 2024-99-99", "a: 0b", "? [a]: 1", "[" * 2000, "a: 1:99:99.", "a: !!int x"])
def test_what_pyyaml_stumbles_over_is_no_valid_yaml(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConsilienceError):
        make_recipe("y", file=tmp_path / "r.yaml")


def test_a_cell_may_not_take_longer_than_a_day() -> None:
    with pytest.raises(ConsilienceError, match=r"limits\.isolate"):  # a timer cannot wait for 1e300 seconds
        make_recipe("y", settings=[{"limits": {"isolate": 1e300}}])
