"""The story of a run, read top-down: table, schema, splits, view, predictors, selection, run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from consilience import component
from consilience.checkpoint import Checkpoints, training
from consilience.component import Choice
from consilience.data.reachable import check_reachable
from consilience.data.schema import infer_schema
from consilience.data.split import Facts, Splits, split
from consilience.data.store import Store
from consilience.data.table import Table, read_table
from consilience.data.view import View
from consilience.errors import ConsilienceError, Problem, fail, nearest
from consilience.evidence.audit import Examined, audit
from consilience.evidence.inspection import Inspection, examine, fault
from consilience.predictors.base import Context, Predictor
from consilience.prefer import prefer, settled
from consilience.progress import Budget, Progress, Silent
from consilience.recipe import Recipe, make_recipe
from consilience.run import Run, estimate, load, version
from consilience.select import answer, select
from consilience.tasks.base import Task
from consilience.types import Schema

__all__ = ["fit", "inspect", "load"]


def fit(
    source: Any,
    target: str | None = None,
    *,
    recipe: Recipe | Path | str | None = None,
    preset: str = "balanced",
    settings: Sequence[Mapping[str, Any]] = (),
    test: Any = None,
    media_root: Path | str | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    checkpoints: Checkpoints | Path | str | None = None,
) -> Run:
    """Train on a table and return the run; nothing is written until `run.save`.

    source      a CSV or Parquet file, or an Arrow table
    recipe      a whole Recipe, which stands alone, or a YAML file that is laid over the preset
    settings    sparse recipe trees laid over both, such as {"split": {"group": "patient"}}
    test        a separate table whose rows are the test part
    media_root  the folder that media paths are relative to; default: the folder of the file
    strict      train only where the audit finds nothing
    checkpoints  a folder to keep in what is trained so far; the same call goes on from there, to the same run. It is left
                behind: remove it when the run is saved (`consilience.checkpoint.finished`)

    Raises ConsilienceError, with everything that is wrong, before anything is trained. A KeyboardInterrupt (Ctrl-C) ends the
    training: what is of use by then is selected of and tested, nothing is refitted, and the run is marked `interrupted`.
    Where nothing is of use yet, and when it comes again, it is let through.
    """
    progress = progress or Silent()
    recipe = whole_recipe(recipe, target, preset, settings)
    if recipe.target is None:
        raise fail("no target is named", "the column to predict", "say --target COLUMN, or set target in the recipe")
    table, view = opened(source, test, media_root, recipe)
    predictors = make_predictors(recipe, view.schema)
    open_encoders(predictors)
    kind, task = make_task(recipe, view)
    splits = make_splits(view, recipe, task, len(view) - len(table))
    context = fit_task(view, splits, recipe, task)
    show_plan(progress, view, splits, task)
    check(Examined(view, recipe, task, splits), strict, progress)
    if checkpoints is not None and not isinstance(checkpoints, Checkpoints):
        checkpoints = Checkpoints(Path(checkpoints))
    budget = Budget(device(recipe.device), progress, checkpoints=checkpoints)
    view.device, view.progress = budget.device, progress
    found = {name: dict(sorted(counts.items())) for name, counts in view.counts(np.arange(len(view))).items()}
    about = {"table": view.table.digest(), "recipe": recipe.dump(), "version": version(), "files": found}
    with training(checkpoints, about) if checkpoints is not None else nullcontext():
        preferences = prefer(entries(recipe), view, splits.train, splits.valid, context, budget)
        if preferences:
            named = settled(recipe.predictors, preferences, view.schema)
            predictors = make_predictors(recipe.model_copy(update={"predictors": named}), view.schema)
        predictors = train(predictors, view, splits, context, recipe, budget)
        selection = select(predictors, view, splits.valid, context, recipe.select)
        scores = answer(selection, predictors, view, splits.valid, task).scores
        metrics = {"valid": estimate(task, scores, view, splits.valid, recipe.seed)}
        chosen = {name: predictors[name] for name in selection.needed}
        if recipe.refit and not budget.stop.is_set():
            chosen = refit(chosen, view, splits, context, recipe, budget)
    if len(splits.test):
        scores = answer(selection, chosen, view, splits.test, task).scores
        metrics["test"] = estimate(task, scores, view, splits.test, recipe.seed)
    log = [{"predictor": name, "metric": selection.metric, "valid": value} for name, value in selection.valid.items()]
    log += [{"input": name, **asdict(preference)} for name, preference in preferences.items()]
    log += [{"predictor": name, **line} for name, predictor in predictors.items() for line in predictor.history]
    stopped = budget.stop.is_set()
    return Run(recipe, kind, view.schema, task, chosen, selection, splits, table.digest(), metrics, log, interrupted=stopped)


def inspect(
    source: Any,
    target: str | None = None,
    *,
    recipe: Recipe | Path | str | None = None,
    preset: str = "balanced",
    settings: Sequence[Mapping[str, Any]] = (),
    test: Any = None,
    media_root: Path | str | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """What is in a table, and what is wrong with it or looks so, before anything is trained. The arguments are those of `fit`.

    Without a target, what depends on one is left out. What would stop training is among the `problems` of the answer; raises
    ConsilienceError only for what cannot be read at all, or not as the recipe says.
    """
    recipe = whole_recipe(recipe, target, preset, settings)
    table, view = opened(source, test, media_root, recipe)
    examined, problems = aim(view, recipe, len(view) - len(table))
    return examine(examined, problems, progress or Silent())


def whole_recipe(
    recipe: Recipe | Path | str | None, target: str | None, preset: str, settings: Sequence[Mapping[str, Any]]
) -> Recipe:
    """The recipe of a run: one that stands alone, or the preset with a file and settings laid over it."""
    if not isinstance(recipe, Recipe):
        return make_recipe(target, preset=preset, file=Path(recipe) if recipe else None, settings=settings)
    if target is not None or settings:
        raise fail("a whole Recipe is given, and target or settings beside it", "one of the two", "put them into the recipe")
    return recipe


def opened(source: Any, test: Any, media_root: Path | str | None, recipe: Recipe) -> tuple[Table, View]:
    """The table, and a view of it with the rows of the separate test table below."""
    table = read_table(source, media_root)
    whole = table.below(read_table(test, media_root)) if test is not None else table
    view = View(whole, infer_schema(table, recipe), Store(), recipe.limit, recipe.weight)
    check_reachable(view)
    return table, view


def aim(view: View, recipe: Recipe, held_out: int) -> tuple[Examined, list[Problem]]:
    """The task and the splits as far as there are any, and what is wrong with them. Rows without a target are a problem, and
    are left out to see what else there is.
    """
    problems: list[Problem] = []
    if recipe.target is None:
        return Examined(view, recipe), problems
    without = recipe.split.model_copy(update={"unlabelled": "exclude"})
    for tried in (recipe, recipe.model_copy(update={"split": without})):
        try:
            task = make_task(tried, view)[1]
            splits = make_splits(view, tried, task, held_out)
        except ConsilienceError as error:
            problems += [problem for problem in error.problems if problem not in problems]
            continue
        try:
            fit_task(view, splits, tried, task)
        except ConsilienceError as error:
            problems += error.problems
        if hasattr(task, "outputs"):  # it is fitted, whatever else is wrong
            return Examined(view, recipe, task, splits), problems
        break
    return Examined(view, recipe), problems


def check(examined: Examined, strict: bool, progress: Progress) -> None:
    """Say what the audit finds; `strict`: raise it."""
    findings = audit(examined)
    if findings and strict:
        raise ConsilienceError(*map(fault, findings))
    if findings:
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in findings))
        progress.say(f"audit: {len(findings)} finding{'s' if len(findings) > 1 else ''} ({kinds}); see consilience inspect")


def make_predictors(recipe: Recipe, schema: Schema) -> dict[str, Predictor]:
    """Every predictor that the recipe names, not fitted; only the one of `select.only` where that is set."""
    made: dict[str, Predictor] = {}
    for name, choice in entries(recipe).items():
        found = component.find("predictors", choice.kind).expand(name, choice.config, schema)  # type: ignore[attr-defined]
        twice = sorted(made.keys() & found.keys())
        if twice:
            raise fail(f"two predictors are named {twice[0]!r}", "a name of its own for each", f"rename predictors.{name}")
        made |= found
    only = recipe.select.only
    if only is None:
        return made
    if only not in made:
        raise fail(f"select.only names the predictor {only!r}", "a predictor of the recipe", nearest(only, made))
    return {only: made[only]}


def open_encoders(predictors: Mapping[str, Predictor]) -> None:
    """Open what encoders need, such as pretrained weights. Raises ConsilienceError with all that cannot be had."""
    problems: list[Problem] = []
    for predictor in predictors.values():
        for encoder in predictor.encoded_by().values():
            try:
                encoder.open()
            except ConsilienceError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ConsilienceError(*problems)


def entries(recipe: Recipe) -> Mapping[str, Choice]:
    """The recipe's predictors; only the one that makes the predictor of `select.only`, where there is one."""
    only = recipe.select.only
    of = {name: choice for name, choice in recipe.predictors.items() if only == name or str(only).startswith(f"{name}.")}
    return of or recipe.predictors


def make_task(recipe: Recipe, view: View) -> tuple[str, Task]:
    """The recipe's task, or the one that is surest of the target, by name; not fitted."""
    if recipe.task is not None:
        return recipe.task.kind, component.find("tasks", recipe.task.kind)(config=recipe.task.config)
    assert view.schema.target is not None
    target = view.target(np.flatnonzero(view.table.filled(view.schema.target)))
    if not len(target):
        raise fail(f"the target {view.schema.target!r} is empty in every row", "cells to learn from", "choose another target")
    tasks = {name: component.find("tasks", name) for name in component.names("tasks")}
    claims = {name: claim for name, cls in tasks.items() if (claim := cls.detect(target)) is not None}  # type: ignore[attr-defined]
    if not claims:
        raise fail(
            f"no task is known for the target {view.schema.target!r}: {target[0]!r}",
            "classes, numbers, or lists of labels",
            "choose another target, or set task.kind",
        )
    best = max(claims, key=lambda name: claims[name].confidence)
    return best, tasks[best](config=tasks[best].Config())  # type: ignore[attr-defined]


def make_splits(view: View, recipe: Recipe, task: Task, held_out: int) -> Splits:
    """The parts of the table, from what its columns say and the seed."""
    assert view.schema.target is not None
    target = view.cells(view.schema.target)
    labelled = view.table.filled(view.schema.target)
    strata = task.strata([cell if full else "" for cell, full in zip(target, labelled, strict=True)])
    columns = [view.schema.role(role) for role in ("group", "time", "split")]
    group, time, column = [view.cells(column) if column is not None else None for column in columns]
    codes = view.table.codes(columns[0]) if columns[0] is not None else None
    facts = Facts(labelled, strata, codes, group, time, column, held_out)
    return split(facts, recipe.split, generator(recipe, "split"))


def fit_task(view: View, splits: Splits, recipe: Recipe, task: Task) -> Context:
    """Fit the task on the training rows, and check the metric, and each part's weights and targets, against it."""
    task.fit(view.target(splits.train))
    metric = recipe.metric or task.default_metric
    problems = []
    if metric not in task.metrics:
        problems.append(Problem(f"the metric is {metric!r}", f"a metric of {task.describe()}", nearest(metric, task.metrics)))
    for name, rows in (("train", splits.train), ("valid", splits.valid), ("test", splits.test)):
        if len(rows) and not view.weight(rows).any():
            problems.append(Problem(f"{name} part: every row has the weight 0", "a row that counts", "mend the weights"))
        try:
            task.encode(view.target(rows))
        except ConsilienceError as error:
            problems += [Problem(f"{name} part: {problem.found}", problem.expected, problem.do) for problem in error.problems]
    if problems:
        raise ConsilienceError(*problems)
    return Context(task, metric, recipe.seed)


def train(
    predictors: Mapping[str, Predictor], view: View, splits: Splits, context: Context, recipe: Recipe, budget: Budget
) -> dict[str, Predictor]:
    """The predictors, fitted; those that are of use by then where a person interrupts."""
    trained: dict[str, Predictor] = {}
    with budget.interruptible(lambda: bool(trained)):
        for name, predictor in predictors.items():
            own, rng = budget.below("train", name), generator(recipe, name)
            trained[name] = fitted(predictor, view, splits.train, splits.valid, context, rng, own)
            budget.progress.say(f"  trained {name}")
            if budget.stop.is_set():
                break
    if budget.stop.is_set():
        budget.progress.say(f"interrupted: {', '.join(trained)} kept as trained so far; Ctrl-C again saves no run")
    return trained


def fitted(
    predictor: Predictor,
    view: View,
    rows: np.ndarray,
    valid: np.ndarray | None,
    context: Context,
    rng: np.random.Generator,
    budget: Budget,
) -> Predictor:
    """The predictor, fitted; or as it was kept, where a training that was cut off had fitted it."""
    checkpoints = budget.checkpoints
    state = checkpoints.get("predictor") if checkpoints is not None else None
    if state is not None:
        predictor = predictor.taken(state, view.schema, context.task)
        predictor.place(budget.device)
        return predictor
    predictor.fit(view, rows, valid, context, rng, budget)
    if checkpoints is not None and not budget.stop.is_set():  # what a person ended can be gone on with
        checkpoints.put("predictor", predictor.kept())
        checkpoints.drop("network")
    return predictor


def refit(
    predictors: Mapping[str, Predictor], view: View, splits: Splits, context: Context, recipe: Recipe, budget: Budget
) -> Mapping[str, Predictor]:
    """The same predictors, with all that they chose on the validation rows, trained on train and valid together.

    All or none: the weights that selection gave them are for predictors of a kind.
    """
    rows = np.sort(np.concatenate([splits.train, splits.valid]))
    again: dict[str, Predictor] = {}
    with budget.interruptible(lambda: True):
        for name, predictor in predictors.items():
            new = type(predictor)(config=predictor.settled(), schema=view.schema)
            again[name] = fitted(new, view, rows, None, context, generator(recipe, name), budget.below("refit", name))
            budget.progress.say(f"  refitted {name} on train and valid")
    if not budget.stop.is_set():
        return again
    budget.progress.say("interrupted: nothing is refitted; Ctrl-C again saves no run")
    return predictors


def show_plan(progress: Progress, view: View, splits: Splits, task: Task) -> None:
    """Say what will be trained on what, with every missing and repaired cell counted."""
    progress.say(f"{len(view)} rows of {view.table.source}; {task.describe()}")
    progress.say(f"parts: train {len(splits.train)}, valid {len(splits.valid)}, test {len(splits.test)}")
    for note in (*splits.notes, *view.table.notes):
        progress.say(f"  {note}")
    counts = view.counts(np.arange(len(view)))
    for item in view.schema.inputs:
        columns = item.columns[0] if len(item.columns) == 1 else f"{len(item.columns)} columns"
        found = ", ".join(f"{reason}: {count}" for reason, count in counts[item.name].most_common()) or "complete"
        progress.say(f"input {item.name} ({item.modality}, {columns}): {found}")


def generator(recipe: Recipe, name: str) -> np.random.Generator:
    """The generator of one purpose: what one predictor draws must not change what another does."""
    return np.random.default_rng([recipe.seed, *name.encode()])


def device(wanted: str) -> str:
    """The device to train on. `auto`: a GPU where there is one."""
    import torch

    if wanted != "auto":
        if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", wanted):
            raise fail(f"the device is {wanted!r}", "auto, cpu, cuda, cuda:1 or mps", "choose one of them")
        try:
            torch.empty(0, device=wanted)
        except (RuntimeError, AssertionError) as error:
            raise fail(
                f"the device {wanted!r} cannot be used: {str(error).splitlines()[0]}", "auto, cpu, cuda or mps"
            ) from None
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
