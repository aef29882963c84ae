"""What an inspection finds in a table whose gaps and faults are known, with and without a target, and with one of no use."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import consilience
from consilience import pipeline
from consilience.errors import ConsilienceError
from consilience.evidence import inspection as module
from consilience.evidence.audit import Examined, Finding
from consilience.evidence.inspection import Inspected, Inspection, fault, option, together
from consilience.modalities.tabular import Tabular
from consilience.progress import Advance, Silent
from consilience.recipe import make_recipe
from consilience.types import Input, Limits

TWINS = Finding("duplicate-rows", (), 2, (3, 9), "2 rows equal an earlier one", "audit.accept=[duplicate-rows]")


@pytest.fixture(scope="module")
def found(table: Any, media: Path) -> Inspection:
    return consilience.inspect(table(), "answer", media_root=media)


def column(inspection: Inspection, name: str) -> Inspected:
    return next(column for column in inspection.columns if column.name == name)


def test_the_table_and_its_target_are_described(found: Inspection) -> None:
    assert (found.source, found.rows, found.target) == ("the table", 120, "answer")
    assert found.inputs == ("photo", "note", "tabular")
    assert [column.name for column in found.columns] == ["photo", "note", "age", "dose", "ward", "answer"]
    assert found.task == "classification into 3 classes (calm, fever, pain)"
    assert found.parts == {"train": 84, "valid": 18, "test": 18}
    assert [(entry.label, entry.rows) for entry in found.classes] == [("calm", 40), ("fever", 40), ("pain", 40)]
    assert [sum(entry.parts[part] for entry in found.classes) for part in found.parts] == [84, 18, 18]
    assert found.notes == ("test: at random within each class", "valid: at random within each class")
    assert found.problems == ()


def test_media_that_do_not_open_are_counted_by_reason(found: Inspection) -> None:
    photo = column(found, "photo")
    assert (photo.role, photo.input, photo.modality) == ("input", "photo", "image")
    assert (photo.cells.rows, photo.cells.missing, photo.cells.lost) == (120, 2, 5)
    assert photo.cells.corrupt == {"file not found": 1, "not an image": 1, "truncated": 1}
    # 118 of 120 cells are filled; 5, 6 and 7 do not open, though 5 and 6 exist.
    assert photo.reason == "100% of 118 sampled cells end in .png and 117 of 118 exist; 115 of 118 opened"
    assert photo.range.marks == {"all": "16 x 16 pixels"}
    assert photo.range.cells == 115
    assert photo.examples == ("0.png", "4.png", "12.png")


def test_each_group_of_rows_has_counts_of_its_own(found: Inspection) -> None:
    photo = column(found, "photo")
    # Rows 5, 8 and 11 are of class 2, pain; 6 is calm, 7 is fever.
    assert [(group.group, group.rows, group.missing) for group in photo.by_class] == [
        ("calm", 40, 0),
        ("fever", 40, 0),
        ("pain", 40, 2),
    ]
    assert [group.corrupt for group in photo.by_class] == [{"truncated": 1}, {"file not found": 1}, {"not an image": 1}]
    assert sum(group.lost for group in photo.by_part) == 5
    assert column(found, "answer").by_class == ()


def test_the_columns_of_a_group_are_read_alone(table: Any, media: Path) -> None:
    ages = [str(40 + row) for row in range(120)]
    ages[4], ages[5], ages[7] = "old", "N/A", " "
    age = column(consilience.inspect(table(age=ages), media_root=media), "age")
    assert (age.input, age.modality, age.kind) == ("tabular", "tabular", "number")
    assert (age.cells.missing, age.cells.corrupt, age.range.cells) == (2, {"not a number": 1}, 117)
    assert age.range.marks["least"] == 40.0
    assert age.range.marks["greatest"] == 159.0


def test_equal_cells_of_a_group_are_read_once(table: Any, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    whole = Tabular.read

    def counting(self: Tabular, input: Input, cells: Any, limits: Limits) -> Any:
        read.append(cells.get("ward"))
        return whole(self, input, cells, limits)

    view = table(ward=["north", "south"] * 60)
    monkeypatch.setattr(Tabular, "read", counting)
    monkeypatch.setattr(module, "audit", lambda examined: [])
    found = consilience.inspect(view, media_root=media)
    assert sorted(filter(None, read)) == ["north", "south"]
    assert column(found, "ward").range.common == (("north", 60), ("south", 60))


def test_what_was_cut_is_no_corruption(table: Any, media: Path) -> None:
    settings = [{"limits": {"characters": 20}}]
    note = column(consilience.inspect(table(), media_root=media, settings=settings), "note")
    assert note.cells.corrupt == {}
    assert note.cells.repaired == {"text cut at 20 characters": 118}
    assert note.cells.lost == 2


def test_without_a_target_the_rest_is_told(table: Any, media: Path) -> None:
    found = consilience.inspect(table(), media_root=media)
    assert (found.target, found.task, found.parts, found.classes, found.problems) == (None, "", {}, (), ())
    photo = column(found, "photo")
    assert photo.cells.lost == 5
    assert (photo.by_class, photo.by_part) == ((), ())


def test_empty_targets_are_a_problem_and_end_nothing(table: Any, columns: Any, media: Path) -> None:
    answer = columns()["answer"]
    answer[3] = answer[7] = None
    found = consilience.inspect(table(answer=answer), "answer", media_root=media)
    assert [problem.found for problem in found.problems] == ["2 of 120 rows have an empty target"]
    assert "split.unlabelled=exclude" in found.problems[0].do
    assert found.faults[:1] == found.problems
    assert found.parts["no part"] == 2
    assert sum(found.parts.values()) == 120
    classes = {entry.label: entry.rows for entry in found.classes}
    assert classes == {"pain": 40, "calm": 39, "fever": 39, "no target": 2}
    assert column(found, "answer").cells.missing == 2
    settled = consilience.inspect(
        table(answer=answer), "answer", media_root=media, settings=[{"split": {"unlabelled": "exclude"}}]
    )
    assert settled.problems == ()
    assert replace(settled, problems=found.problems, findings=found.findings) == found


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([None] * 120, "the target 'answer' is empty in every row"),
        (["x"] * 120, "the target has one class only in the training rows: 'x'"),
    ],
)
def test_a_target_that_cannot_be_learned_is_shown(answer: list[Any], said: str, table: Any, media: Path) -> None:
    found = consilience.inspect(table(answer=answer), "answer", media_root=media)
    assert [problem.found for problem in found.problems] == [said]
    assert (found.target, found.task, found.parts, found.classes) == ("answer", "", {}, ())
    assert column(found, "photo").cells.lost == 5


def test_all_that_would_stop_training_is_a_problem(table: Any, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Examined] = []
    monkeypatch.setattr(module, "audit", lambda examined: seen.append(examined) or [])
    answer = ["calm", "pain"] * 60
    answer[110] = "grief"
    part = ["train"] * 80 + ["valid"] * 20 + ["test"] * 20
    settings = [{"split": {"column": "part"}, "metric": "nope"}]
    found = consilience.inspect(table(answer=answer, part=part), "answer", media_root=media, settings=settings)
    assert [problem.found for problem in found.problems] == [
        "the metric is 'nope'",
        "test part: 1 of 20 target cells hold labels without training rows: 'grief'",
    ]
    assert found.task.startswith("classification into 2 classes")
    assert (seen[0].task, seen[0].splits) == (None, None)
    assert [(entry.label, entry.rows) for entry in found.classes] == [("pain", 60), ("calm", 59), ("grief", 1)]


def test_a_separate_table_is_inspected_below(table: Any, media: Path) -> None:
    found = consilience.inspect(table(100), "answer", test=table(130).slice(100), media_root=media)
    assert (found.rows, found.parts) == (130, {"train": 85, "valid": 15, "test": 30})


def test_findings_are_those_of_the_audit(table: Any, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Examined] = []

    def audit(examined: Examined) -> list[Finding]:
        seen.append(examined)
        return [TWINS]

    monkeypatch.setattr(module, "audit", audit)
    settings = [{"audit": {"accept": ["constant"]}}]
    found = consilience.inspect(table(), "answer", media_root=media, settings=settings)
    assert found.findings == (TWINS,)
    assert found.accepted == ("constant",)
    assert found.faults == (fault(TWINS),)
    assert seen[0].task is not None
    assert seen[0].splits is not None
    assert (seen[0].recipe.target, len(seen[0].view)) == ("answer", 120)


def test_a_finding_as_an_error() -> None:
    assert str(fault(TWINS)) == "\n".join(
        ["duplicate-rows: 2 rows equal an earlier one", "  do: settle it with --set 'audit.accept=[duplicate-rows]'"]
    )
    assert option("""exclude=[it's, "a b"]""") == """--set 'exclude=[it'"'"'s, "a b"]'"""
    assert option("split.group=ward") == "--set split.group=ward"
    assert option("audit.accept=['a: b']") == """--set "audit.accept=['a: b']\""""
    for setting in (
        "exclude=['a $b']",
        "exclude=['a `b']",
        "exclude=['a\\b']",
        "exclude=['a!']",
        """exclude=["it's"]""",
        "x='",
    ):
        assert shlex.split(option(setting)) == ["--set", setting]


def test_what_settles_all_findings_holds_each_list_once() -> None:
    """One list over another would replace it."""

    def settling(*settings: str) -> str:
        return together([replace(TWINS, setting=setting) for setting in settings])

    assert settling("exclude=[a]", "audit.accept=[x]", "exclude=[a, 'b c']", "audit.accept=['y:d']") == (
        """--set 'exclude=["a", "b c"]' --set 'audit.accept=["x", "y:d"]'"""
    )
    # Each leaves one column out of what is left: together they have no one answer, so the first goes first.
    assert settling("inputs.x.columns=[a, b]", "split.group=ward", "inputs.x.columns=[b, c]") == (
        """--set 'inputs.x.columns=["a", "b"]' --set 'split.group="ward"'"""
    )


def test_it_is_json(found: Inspection) -> None:
    made = json.loads(json.dumps(asdict(found), allow_nan=False))
    assert made["columns"][0]["cells"]["corrupt"]["not an image"] == 1
    assert made["classes"][2] == {"label": "pain", "rows": 40, "parts": {"train": 28, "valid": 6, "test": 6}}


def test_numbers_that_are_not_finite_stay_out_of_the_range(table: Any, media: Path) -> None:
    age = pa.array([float("inf"), float("nan"), -1e308, 1e308, *map(float, range(116))])
    found = consilience.inspect(table().set_column(2, "age", age), media_root=media)
    age = column(found, "age")
    assert (age.cells.missing, age.cells.corrupt) == (1, {"infinite": 1})
    assert age.range.marks == {
        "least": -1e308,
        "lower quartile": 28.0,
        "median": 57.0,
        "upper quartile": 87.0,
        "greatest": 1e308,
    }
    json.dumps(asdict(found), allow_nan=False)


def test_of_many_media_some_are_read_and_the_numbers_say_so(table: Any, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ", 30)
    found = consilience.inspect(table(), "answer", media_root=media)
    photo = column(found, "photo")
    assert photo.cells.rows == 30
    assert sum(group.rows for group in (*photo.by_class, *photo.by_part)) in (0, 60)
    filled = 30 - photo.cells.missing
    assert photo.reason.endswith(f"{filled - sum(photo.cells.corrupt.values())} of {filled} opened")
    assert column(found, "note").cells.rows == 120


class Watched(Silent):
    """Counts what is said of progress, and may stop it."""

    def __init__(self, stop: int | None = None) -> None:
        self.done, self.stop = 0, stop
        self.totals: dict[str, int] = {}

    def bar(self, label: str, total: int) -> AbstractContextManager[Advance]:
        self.totals[label] = total
        return self._open()

    @contextmanager
    def _open(self) -> Any:
        yield self._advance

    def _advance(self, steps: int, note: str) -> None:
        self.done += steps
        if self.stop is not None and self.done >= self.stop:
            raise KeyboardInterrupt


def test_progress_is_shown_to_its_end_and_may_be_interrupted(table: Any, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEDIA_BATCH", 50)
    watched = Watched()
    consilience.inspect(table(), "answer", media_root=media, progress=watched)
    assert watched.totals == {"reading": 6 * 120, "looking for faults": 1}
    assert watched.done == 6 * 120 + 1
    stopped = Watched(stop=100)
    with pytest.raises(KeyboardInterrupt):
        consilience.inspect(table(), "answer", media_root=media, progress=stopped)
    assert stopped.done == 100


def test_equal_tables_have_equal_inspections(found: Inspection, table: Any, media: Path) -> None:
    assert consilience.inspect(table(), "answer", media_root=media) == found


def test_what_cannot_be_read_is_an_error(table: Any, media: Path) -> None:
    with pytest.raises(ConsilienceError, match="target names the column 'anser'"):
        consilience.inspect(table(), "anser", media_root=media)
    with pytest.raises(ConsilienceError, match="does not exist"):
        consilience.inspect(media / "none.csv")
    with pytest.raises(ConsilienceError, match="a whole Recipe is given"):
        consilience.inspect(table(), "answer", recipe=make_recipe("answer"))


@pytest.mark.parametrize("findings", [[], [TWINS, TWINS]])
def test_fit_says_what_the_audit_finds_or_stops(
    findings: list[Finding], table: Any, settings: Callable[..., Any], media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "audit", lambda examined: findings)
    lines: list[str] = []
    told = Silent()
    monkeypatch.setattr(told, "say", lines.append)

    class HaltError(Exception): ...

    def stop(*_: Any) -> None:
        raise HaltError

    monkeypatch.setattr(pipeline, "select", stop)
    options: dict[str, Any] = {"settings": [settings("linear")], "media_root": media, "progress": told}
    with pytest.raises(HaltError):
        pipeline.fit(table(), "answer", **options)
    audits = [line for line in lines if line.startswith("audit")]
    assert audits == (["audit: 2 findings (duplicate-rows); see consilience inspect"] if findings else [])
    if findings:
        monkeypatch.setattr(pipeline, "select", lambda *_: pytest.fail("went on"))
        with pytest.raises(ConsilienceError) as caught:
            pipeline.fit(table(), "answer", **options, strict=True)
        assert caught.value.problems == (fault(TWINS), fault(TWINS))
    else:
        with pytest.raises(HaltError):
            pipeline.fit(table(), "answer", **options, strict=True)
