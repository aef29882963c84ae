"""The command line, end to end: what it prints, what it leaves behind, and exit code 2 without a traceback for bad input."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from consilience import pipeline
from consilience.cli import _columns, main
from consilience.evidence import inspection
from consilience.evidence.audit import Finding
from consilience.evidence.show import show
from consilience.predictors import linear
from consilience.run import load

TINY = "predictors={fused: null, single: null, stack: null, trees: null, linear: {encoders: {image: {side: 32, cell: 16}}}}"
Outcome = tuple[int, str, str]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Exit code, standard output and standard error of a command."""

    def run(*args: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["consilience", *map(str, args)])
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.fixture(scope="module")
def path(table: Any, media: Path) -> Path:
    """The table beside its pictures."""
    pacsv.write_csv(table(), media / "cli.csv")
    return media / "cli.csv"


@pytest.fixture(scope="module")
def run(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that the command line trained."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys, "argv", ["consilience", "train", str(path), "--target", "answer", "--set", TINY, "--out", str(folder)]
        )
        with pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code
    return folder


# What works


def test_inspect_shows_each_column_and_why(cli: Any, path: Path) -> None:
    code, out, _ = cli("inspect", path, "--target", "answer", "--exclude", "ward")
    assert code == 0
    assert out.splitlines()[0] == "120 rows, 6 columns, 3 inputs"
    lines = {line.split()[0]: " ".join(line.split()) for line in out.splitlines()[1:] if line.strip()}
    assert lines["photo"] == (
        "photo input photo image 2 (1.7%) 1 (0.8%) file not found; 1 (0.8%) not an image; 1 (0.8%) truncated "
        "all 16 x 16 pixels 100% of 118 sampled cells end in .png and 117 of 118 exist; 115 of 118 opened"
    )
    assert lines["age"].startswith("age input tabular tabular, number 2 (1.7%) 0 ")
    assert lines["age"].endswith("118 of 118 sampled cells are numbers")
    assert lines["ward"].startswith("ward excluded 2 (1.7%) 0 3 different: ")
    assert lines["ward"].endswith("named as exclude")
    assert lines["answer"] == "answer target 0 0 3 different: calm 40, fever 40, pain 40 named as target"
    assert lines["parts:"] == "parts: train 84, valid 18, test 18"


def test_inspect_prints_json_and_writes_a_page(cli: Any, path: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "table.html"
    code, out, err = cli("inspect", path, "--target", "answer", "--json", "--out", page)
    assert code == 0
    made = json.loads(out)
    assert made["columns"][0]["cells"]["corrupt"] == {"file not found": 1, "not an image": 1, "truncated": 1}
    assert f"page: {page}" in err
    assert "115 of 118 opened" in page.read_text(encoding="utf-8")
    assert cli("inspect", path, "--out", page)[0] == 2
    assert cli("inspect", path, "--out", page, "--overwrite")[0] == 0
    assert "No target is named" in page.read_text(encoding="utf-8")


def test_inspect_takes_the_settings_of_train(cli: Any, path: Path, table: Any, media: Path, tmp_path: Path) -> None:
    people, part = [f"p{row}" for row in range(120)], ["train"] * 80 + ["val"] * 20 + ["test"] * 20
    pacsv.write_csv(table(person=people, part=part), media / "settings.csv")
    (tmp_path / "recipe.yaml").write_text("target: answer\nexclude: [dose]\n")
    args = ("inspect", media / "settings.csv", "--recipe", tmp_path / "recipe.yaml", "--preset", "fast", "--json")
    made = json.loads(cli(*args, "--split", "part", "--group", "person", "--set", "limits.characters=10")[1])
    assert made["parts"] == {"train": 80, "valid": 20, "test": 20}
    roles = {column["name"]: column["role"] for column in made["columns"]}
    assert (roles["person"], roles["part"], roles["dose"]) == ("group", "split", "excluded")
    note = next(column for column in made["columns"] if column["name"] == "note")
    assert note["cells"]["repaired"] == {"text cut at 10 characters": 118}
    pacsv.write_csv(table(130).slice(100), media / "later.csv")
    made = json.loads(cli("inspect", path, "--target", "answer", "--test", media / "later.csv", "--json")[1])
    assert (made["rows"], made["parts"]["test"]) == (150, 30)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_strict_ends_with_code_2_and_all_that_was_found(
    form: list[str], cli: Any, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [
        Finding("duplicate-rows", (), 2, (3, 9), "2 rows equal an earlier one", "audit.accept=[duplicate-rows]"),
        Finding("target-leak", ("dose",), 120, (), "'dose' tells the target", "exclude=[dose]"),
    ]
    for module in (pipeline, inspection):
        monkeypatch.setattr(module, "audit", lambda examined: findings)
    page = tmp_path / "table.html"
    code, out, err = cli("inspect", path, "--target", "answer", "--strict", "--out", page, *form)
    assert code == 2
    assert err.splitlines()[-4:] == [
        "error: duplicate-rows: 2 rows equal an earlier one",
        "  do: settle it with --set 'audit.accept=[duplicate-rows]'",
        "error: target-leak: 'dose' tells the target",
        "  do: settle it with --set 'exclude=[dose]'",
    ]
    assert page.exists()
    assert json.loads(out)["findings"][1]["columns"] == ["dose"] if form else "2. target-leak in dose: 120 rows" in out
    assert cli("inspect", path, "--target", "answer", *form)[0] == 0
    out = tmp_path / "run"
    code, _, err = cli("train", path, "--target", "answer", "--set", TINY, "--strict", "--out", out)
    assert (code, out.exists(), err.count("error: ")) == (2, False, 2)
    monkeypatch.setattr(inspection, "audit", lambda examined: [])
    assert cli("inspect", path, "--target", "answer", "--strict")[0] == 0


def test_strict_counts_what_would_stop_training(cli: Any, table: Any, columns: Any, media: Path) -> None:
    answer = columns()["answer"]
    answer[3] = None
    pacsv.write_csv(table(answer=answer), media / "unlabelled.csv")
    code, out, err = cli("inspect", media / "unlabelled.csv", "--target", "answer", "--strict")
    assert code == 2
    assert "training would stop:" in out
    assert "error: 1 of 120 rows have an empty target" in err


def test_train_prints_the_choice_and_the_scores(cli: Any, path: Path, tmp_path: Path) -> None:
    code, out, err = cli(
        "train", path, "--target", "answer", "--set", TINY, "--metric", "macro_f1", "--seed", 3, "--out", tmp_path / "run"
    )
    assert code == 0
    assert "valid macro_f1" in out
    assert "chosen: linear has the best macro_f1 on 18 validation rows" in out
    assert f"run: {tmp_path / 'run'} (" in out
    assert "120 rows of" in err
    assert "trained linear" in err
    made = load(tmp_path / "run")
    assert (made.recipe.seed, made.recipe.metric, made.selection.metric) == (3, "macro_f1", "macro_f1")
    line = next(line for line in out.splitlines() if line.split()[:1] == ["accuracy"])
    assert line.split()[1] == f"{made.metrics['test']['accuracy'].value:.4f}"
    assert line.split()[-1] == "18"


def test_options_stand_for_keys_of_the_recipe(cli: Any, table: Any, media: Path, tmp_path: Path) -> None:
    people, part = [f"p{row}" for row in range(120)], ["train"] * 80 + ["val"] * 20 + ["test"] * 20
    pacsv.write_csv(table(person=people, part=part, **{"a, b": people}), media / "options.csv")
    args = ("train", media / "options.csv", "--target", "answer", "--set", TINY, "--out", tmp_path / "run")
    assert cli(*args, "--split", "part", "--group", "person", "--exclude", 'ward,"a, b"', "--exclude", "dose")[0] == 0
    made = load(tmp_path / "run")
    assert [len(made.splits.train), len(made.splits.valid), len(made.splits.test)] == [80, 20, 20]
    assert made.recipe.exclude == ("ward", "a, b", "dose")
    assert (made.recipe.split.column, made.recipe.split.group) == ("part", "person")
    assert made.schema["age"].columns == ("age",)


def test_a_separate_test_table_a_recipe_file_and_a_media_root(cli: Any, table: Any, media: Path, tmp_path: Path) -> None:
    pacsv.write_csv(table(100), tmp_path / "train.csv")
    pq.write_table(table(130).slice(100), tmp_path / "test.parquet")
    (tmp_path / "recipe.yaml").write_text(
        f"target: answer\nseed: 5\npredictors:{TINY.removeprefix('predictors=')}\n".replace(":{", ": {", 1)
    )
    args = ("train", tmp_path / "train.csv", "--test", tmp_path / "test.parquet", "--recipe", tmp_path / "recipe.yaml")
    code, _, err = cli(*args, "--media-root", media, "--out", tmp_path / "run")
    assert code == 0
    assert "parts: train 85, valid 15, test 30" in err
    made = load(tmp_path / "run")
    assert made.recipe.seed == 5
    assert made.metrics["test"]["accuracy"].n == 30


def test_evaluate_prints_a_table_or_json(cli: Any, run: Path, path: Path) -> None:
    code, out, _ = cli("evaluate", run, path)
    assert code == 0
    assert "95% interval" in out
    code, out, _ = cli("evaluate", run, path, "--json")
    found = json.loads(out)
    assert set(found["accuracy"]) == {"value", "low", "high", "n"}
    assert found["accuracy"]["n"] == 120


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_predict_writes_a_row_for_each_row(ending: str, cli: Any, run: Path, path: Path, tmp_path: Path) -> None:
    out = tmp_path / f"found{ending}"
    assert cli("predict", run, path, "--out", out)[:2] == (0, f"120 rows: {out}\n")
    if ending == ".csv":
        with out.open(newline="", encoding="utf-8") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    else:
        rows = pq.read_table(out).to_pylist()
    classes = ["probability_calm", "probability_fever", "probability_pain"]
    assert list(rows[0]) == ["row", "prediction", *classes, "used", "reasons"]
    assert [int(row["row"]) for row in rows] == list(range(120))
    expected = load(run).predictions(path).to_pylist()
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in expected]
    assert [float(row[classes[0]]) for row in rows] == pytest.approx([row[classes[0]] for row in expected], rel=1e-12)
    assert rows[11]["used"] == ""
    assert rows[11]["reasons"].endswith("no input present: the training prior")
    assert [item.name for item in tmp_path.iterdir()] == [out.name]


def test_show_writes_the_page_of_a_row(cli: Any, path: Path, tmp_path: Path) -> None:
    out = tmp_path / "pages" / "row.html"
    assert cli("show", path, "--row", 9, "--target", "answer", "--exclude", "ward", "--out", out)[:2] == (0, f"row 9: {out}\n")
    page = out.read_text(encoding="utf-8")
    assert page == show(path, 9, "answer", settings=[{"exclude": ["ward"]}])
    assert "2 of 3 inputs present." in page and "missing: empty" in page
    code, _, err = cli("show", path, "--row", 0, "--out", out)
    assert (code, "exists already" in err) == (2, True)
    assert out.read_text(encoding="utf-8") == page
    again = ("show", path, "--row", 0, "--encoder", "raw", "--media-root", tmp_path, "--out", out, "--overwrite")
    assert cli(*again)[0] == 0
    assert "missing: file not found" in out.read_text(encoding="utf-8"), "the pictures are not below that root"
    assert [item.name for item in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("what", ["modalities", "encoders", "fusions", "tasks", "predictors", "findings", "recipe"])
def test_list(what: str, cli: Any) -> None:
    code, out, _ = cli("list", what)
    assert code == 0
    known = {"modalities": "image", "encoders": "descriptor", "fusions": "concat", "tasks": "regression", "predictors": "trees"}
    known["findings"] = "target-leak"
    assert known.get(what, "split.valid") in out


# What cannot work


def broken(folder: Path) -> Path:
    (folder / "broken.csv").write_text('a,b\n"1,2\n')
    return folder / "broken.csv"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["{none}.csv", "--target", "answer"], ["does not exist"]),
        (["{tmp}", "--target", "answer"], ["is a folder", "expected: a file"]),
        (["{broken}", "--target", "a"], ["cannot be read", "mend the file"]),
        (["{path}"], ["no target is named", "--target COLUMN"]),
        (["{path}", "--target", "anwser"], ["target names the column 'anwser'", "did you mean 'answer'?"]),
        (
            ["{path}", "--target", "anwser", "--group", "warden", "--exclude", "nots"],
            [
                "'anwser'",
                "did you mean 'answer'?",
                "split.group names the column 'warden'",
                "'ward'?",
                "exclude names the column 'nots'",
            ],
        ),
        (["{path}", "--target", "answer", "--split", "ward"], ["cells of the split column name no part"]),
        (["{path}", "--target", "answer", "--metric", "acuracy"], ["the metric is 'acuracy'", "did you mean 'accuracy'?"]),
        (["{path}", "--target", "answer", "--preset", "balancd"], ["there is no preset 'balancd'", "did you mean 'balanced'?"]),
        (
            ["{path}", "--target", "answer", "--set", "split.vald=0.2"],
            ["recipe key split.vald does not exist", "did you mean 'valid'?"],
        ),
        (["{path}", "--target", "answer", "--set", "split.valid=2", "--set", "seed=x"], ["split.valid is 2", "seed is 'x'"]),
        (["{path}", "--target", "answer", "--set", "nothing"], ["KEY=VALUE"]),
        (["{path}", "--target", "answer", "--set", "a=[1"], ["is no valid YAML"]),
        (["{path}", "--target", "answer", "--set", "predictors.tree={}"], ["there is no predictor named 'tree'", "'trees'?"]),
        (["{path}", "--target", "answer", "--set", "select.only=x"], ["select.only names the predictor 'x'"]),
        (["{path}", "--target", "answer", "--recipe", "{none}.yaml"], ["cannot be read"]),
        (["{path}", "--target", "answer", "--media-root", "{none}"], ["is no folder"]),
        (["{path}", "--target", "answer", "--test", "{none}.csv"], ["does not exist"]),
        (["{path}", "--target", "answer", "--out", "{taken}"], ["exists already", "--overwrite"]),
        (["{path}", "--target", "answer", "--out", "{tmp}", "--overwrite"], ["exists and is no run"]),
        (["{path}", "--target", "answer", "--set", "device=abacus"], ["the device is 'abacus'"]),
        (["{path}", "--target", "photo"], ["train"]),
    ],
)
def test_bad_input_to_train_ends_with_code_2_and_leaves_nothing(
    args: list[str], said: list[str], cli: Any, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    names = {"none": tmp_path / "none", "tmp": tmp_path, "broken": broken(tmp_path), "path": path, "taken": tmp_path / "taken"}
    given = [arg.format(**names) if arg.startswith("{") else arg for arg in args]
    before = sorted(tmp_path.iterdir())
    out = [] if "--out" in given else ["--out", tmp_path / "run"]
    code, _, err = cli("train", *given, "--set", "predictors={fused: null, single: null}", *out)
    assert code == 2
    for word in said:
        assert word in err
    assert err.count("error: ") >= 1
    assert sorted(tmp_path.iterdir()) == before


def test_bad_input_to_the_other_commands(cli: Any, run: Path, path: Path, table: Any, tmp_path: Path) -> None:
    pacsv.write_csv(table().rename_columns(["photos", "note", "age", "dose", "ward", "answers"]), tmp_path / "other.csv")
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.html").mkdir()
    for args, said in (
        (("inspect", path, "--target", "anser"), "did you mean 'answer'?"),
        (("inspect", tmp_path / "none.csv"), "does not exist"),
        (("inspect", path, "--out", tmp_path / "x.csv"), "a file that ends in .html"),
        (("inspect", path, "--set", "split.vald=1"), "did you mean 'valid'?"),
        (("inspect", path, "--group", "warden"), "did you mean 'ward'?"),
        (("predict", run, path, "--out", tmp_path / "x.txt"), "a file that ends in .csv or .parquet"),
        (("predict", run, path, "--out", tmp_path / "there.csv"), "exists already"),
        (("predict", run, path, "--out", tmp_path / "folder.csv", "--overwrite"), "is a folder"),
        (("predict", tmp_path, path, "--out", tmp_path / "x.csv"), "is no run"),
        (("show", path, "--row", 120, "--out", tmp_path / "x.html"), "0 to 119"),
        (("show", path, "--row", -1, "--out", tmp_path / "x.html"), "row -1"),
        (("show", path, "--row", "first", "--out", tmp_path / "x.html"), "--row"),
        (("show", path, "--row", 0, "--encoder", "scrach", "--out", tmp_path / "x.html"), "did you mean 'scratch'?"),
        (("show", path, "--row", 0, "--target", "anser", "--out", tmp_path / "x.html"), "did you mean 'answer'?"),
        (("show", path, "--row", 0, "--out", tmp_path / "x.csv"), "a file that ends in .html"),
        (("show", path, "--row", 0, "--out", tmp_path / "folder.html", "--overwrite"), "is a folder"),
        (("show", path, "--row", 0), "--out"),
        (("predict", run, tmp_path / "other.csv", "--out", tmp_path / "x.csv"), "has no column 'photo'"),
        (("evaluate", run, tmp_path / "other.csv"), "has no column 'answer'"),
        (("evaluate", tmp_path / "none", path), "is no run"),
        (("list", "fusion"), "did you mean 'fusions'?"),
        (("predict", run, path), "--out"),
        (("tran", path), "tran"),
    ):
        code, _, err = cli(*args)
        assert (code, said in err) == (2, True), (args, err)
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["folder.csv", "folder.html", "other.csv", "there.csv"]


def test_several_problems_are_several_lines(cli: Any, path: Path, tmp_path: Path) -> None:
    _, _, err = cli("train", path, "--target", "x", "--group", "y", "--out", tmp_path / "run")
    assert [line for line in err.splitlines() if line.startswith("error: ")] == [
        "error: target names the column 'x'",
        "error: split.group names the column 'y'",
    ]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (None, []),
        ([], []),
        (["a"], ["a"]),
        (["a,b", "c"], ["a", "b", "c"]),
        (['id,"a, b"'], ["id", "a, b"]),
        ([' a , "say ""x""" ,'], ["a", 'say "x"']),
        ([""], []),
    ],
)
def test_names_of_columns_are_separated_as_in_a_csv(options: list[str] | None, names: list[str]) -> None:
    assert _columns(options) == names


def test_the_program_itself(path: Path, tmp_path: Path) -> None:
    """One real process: nothing but the error on the error stream, and the exit code that a script sees."""
    command = [sys.executable, "-m", "consilience.cli", "inspect", str(path), "--target", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: target names the column 'nowhere'")


def test_the_program_ends_with_code_2_and_without_a_traceback(path: Path) -> None:
    command = [sys.executable, "-m", "consilience.cli", "train", str(path), "--target", "answer", "--exclude", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: exclude names the column 'nobody'")
    assert "Traceback" not in done.stderr
    assert subprocess.run([*command[:3], "list", "tasks"], capture_output=True).returncode == 0


def interrupted(monkeypatch: pytest.MonkeyPatch, stop: BaseException) -> None:
    """Training is stopped in the refit, which is the second `fit`, and in all that follow."""
    calls = iter(range(9))
    fit = linear.Linear.fit

    def stopped(self: Any, *args: Any) -> None:
        if next(calls):
            raise stop
        fit(self, *args)

    monkeypatch.setattr(linear.Linear, "fit", stopped)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_interrupted_training_leaves_its_run_and_is_gone_on_with(
    cli: Any, path: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupted(patch, KeyboardInterrupt())
        code, said, err = cli("train", path, "--target", "answer", "--set", TINY, "--out", out)
        assert code == 130
        assert said.splitlines()[-1].startswith(f"run: {out} (") and said.splitlines()[-1].endswith(", interrupted")
        assert "interrupted: nothing is refitted" in err
        assert f"go on with: consilience train --resume {out}" in err
        assert load(out).interrupted
        code, _, err = cli("train", path, "--target", "answer", "--set", TINY, "--out", tmp_path / "other")
        assert code == 130
        assert not (tmp_path / "other").exists()
    code, said, _ = cli("train", "--resume", out)
    assert code == 0
    assert files(out) == files(run)
    assert not (tmp_path / ".run.training").exists()


def test_a_training_that_was_cut_off_is_gone_on_with(
    cli: Any, path: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupted(patch, SystemExit(143))
        code, _, err = cli("train", path, "--target", "answer", "--set", TINY, "--out", out)
    assert code == 143
    assert f"go on with: consilience train --resume {out}" in err
    assert not out.exists()
    code, _, err = cli("train", path, "--target", "answer", "--set", TINY, "--out", out)
    assert code == 2
    assert f"holds an unfinished training of {out}" in err and f"consilience train --resume {out}" in err
    monkeypatch.chdir(tmp_path)
    assert cli("train", "--resume", "run")[0] == 0
    assert files(out) == files(run)
    code, _, err = cli("train", "--resume", out)
    assert code == 2
    assert "there is no unfinished training of" in err


def test_what_goes_on_takes_no_other_options(cli: Any, path: Path, tmp_path: Path) -> None:
    for more in ((path,), ("--target", "answer"), ("--seed", 1), ("--overwrite",), ("--strict",), ("--set", "seed=1")):
        code, _, err = cli("train", "--resume", tmp_path / "run", *more)
        assert code == 2 and "--resume has other options or a table beside it" in err
    code, _, err = cli("train")
    assert code == 2 and "no table is named" in err


def test_to_overwrite_begins_anew(cli: Any, path: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, options = tmp_path / "run", ("--target", "answer", "--set", TINY)
    with monkeypatch.context() as patch:
        interrupted(patch, SystemExit(143))
        cli("train", path, *options, "--seed", 5, "--out", out)
    assert cli("train", path, *options, "--out", out, "--overwrite")[0] == 0
    assert files(out) == files(run)


def test_tokens_that_are_kept_are_shown_and_cleared(
    cli: Any, path: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = cli("cache")
    assert code == 2 and "no folder is named" in err and "CONSILIENCE_CACHE=FOLDER" in err
    folder = tmp_path / "tokens"
    monkeypatch.setenv("CONSILIENCE_CACHE", str(folder))
    code, _, err = cli("cache")
    assert code == 2 and f"there is no folder {folder}" in err
    assert cli("train", path, "--target", "answer", "--set", TINY, "--out", tmp_path / "run")[0] == 0
    assert files(tmp_path / "run") == files(run)
    code, said, _ = cli("cache")
    assert code == 0 and re.fullmatch(rf"\d+ records on \d+ shelves, \d+\.\d MB of 21 GB: {folder}\n", said)
    assert cli("cache", folder, "--clear")[0] == 0
    assert cli("cache")[1].startswith("0 records on 0 shelves")
