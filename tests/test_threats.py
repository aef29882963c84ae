"""What docs/threats.md says of the whole source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "consilience"
MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
CALLS = {"eval", "exec", "compile", "torch.load", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "os.system", "os.popen"}


def executed(text: str) -> list[str]:
    """What in a source could execute what it reads."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(node.module or "")
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            shell = any(
                word.arg == "shell" or (word.arg == "allow_pickle" and ast.unparse(word.value) != "False")
                for word in node.keywords
            )
            weights = any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in node.keywords)
            if (name in CALLS and not weights) or shell or (name == "np.load" and "allow_pickle" not in ast.unparse(node)):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_that_is_read_is_executed(path: Path) -> None:
    assert executed(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, Loader)",
        "subprocess.run(line, shell=True)",
        "eval(text)",
    ],
)
def test_what_could_be_executed_is_seen(text: str) -> None:
    assert executed(text)


def test_what_is_harmless_is_not() -> None:
    assert executed("np.load(path, allow_pickle=False)\ntorch.load(path, weights_only=True)\nre.compile(x)\nmodel.eval()") == []


def test_every_proof_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)`", (ROOT / "docs" / "threats.md").read_text())
    assert len(named) >= 10
    assert [name for name in named if not (ROOT / name).exists()] == []
