"""Imports go down only, plugins never import their siblings, and the package itself loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "consilience"

LAYERS = {
    **dict.fromkeys(("errors", "types", "component", "progress", "files", "checkpoint"), 0),
    **dict.fromkeys(("nn", "allocating", "arrays", "media", "sound", "metrics", "boosted"), 1),
    "encoders": 2,
    **dict.fromkeys(("modalities", "fusions", "tasks"), 3),
    "recipe": 4,
    **dict.fromkeys(("data", "model"), 5),
    "train": 6,
    **dict.fromkeys(("predictors", "prefer", "select", "run"), 7),
    "evidence": 8,
    **dict.fromkeys(("pipeline", "estimator"), 9),
    **dict.fromkeys(("unfinished", "cli"), 10),
}
PLUGINS = ("modalities", "fusions", "tasks", "predictors")
SAME_LAYER_ORDER = {
    "component": {"errors"},
    "files": {"errors"},
    "checkpoint": {"errors", "files", "types"},
    "model": {"data"},
    "prefer": {"predictors"},
    "select": {"predictors"},
    "run": {"predictors", "select"},
    "estimator": {"pipeline"},
    "cli": {"unfinished"},
}
"""Within a layer, who may import whom; anything else of one layer is independent, or inside one folder."""


def modules() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if path.parent.name != "recipes" and path != SOURCE / "__init__.py"]


def imported(path: Path) -> set[str]:
    """Every consilience module that a file imports, at any depth, but for type checkers only."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("consilience"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name for name in names if _is_module(name)} or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("consilience.")}
    return found


def _is_module(name: str) -> bool:
    path = SOURCE.joinpath(*name.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").exists()


def test_every_module_has_a_layer() -> None:
    assert {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in modules()} == set(LAYERS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path: Path) -> None:
    home = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for name in imported(path):
        if name == "consilience":
            continue
        other = name.split(".")[1]
        below = LAYERS[other] < LAYERS[home]
        assert below or other == home or other in SAME_LAYER_ORDER.get(home, set()), f"{path.name} imports {name}"


@pytest.mark.parametrize("kind", PLUGINS)
def test_plugins_do_not_import_siblings(kind: str) -> None:
    for path in (SOURCE / kind).rglob("*.py"):
        own = path.relative_to(SOURCE / kind).parts[0].removesuffix(".py")
        for name in imported(path):
            if name.startswith(f"consilience.{kind}."):
                assert name.split(".")[2] in (own, "base"), f"{path} imports its sibling {name}"


def test_no_file_grows_over_400_lines_or_has_a_lazy_name() -> None:
    for path in modules():
        assert len(path.read_text().splitlines()) <= 400, f"{path} is over 400 lines"
        assert path.stem not in ("utils", "util", "helpers", "constants", "common", "misc")


def test_import_is_light() -> None:
    heavy = "import consilience, sys; print(sorted({'torch', 'sklearn', 'pyarrow', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_help_loads_no_torch() -> None:
    code = "import sys; sys.argv = ['consilience', '--help']\n"
    code += "from consilience.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
