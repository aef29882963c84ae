"""Errors carry every problem, and name the nearest valid thing."""

from __future__ import annotations

import pytest

from consilience.errors import ConsilienceError, Problem, fail, nearest, raise_all


def test_a_problem_says_what_was_found_expected_and_what_to_do() -> None:
    assert str(Problem("a is 3")) == "a is 3"
    assert str(Problem("a is 3", "below 2", "lower it")) == "a is 3\n  expected: below 2\n  do: lower it"
    assert str(Problem("a is 3", do="lower it")) == "a is 3\n  do: lower it"


def test_one_error_carries_all_problems() -> None:
    problems = (Problem("one", "two"), Problem("three", do="four"))
    with pytest.raises(ConsilienceError) as caught:
        raise_all(iter(problems))
    assert caught.value.problems == problems
    assert str(caught.value) == "one\n  expected: two\nthree\n  do: four"
    assert isinstance(caught.value, ValueError)


def test_no_problem_raises_nothing() -> None:
    raise_all([])


def test_an_error_without_a_problem_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError):
        ConsilienceError()


def test_fail_makes_an_error_and_leaves_raising_it_to_the_caller() -> None:
    assert fail("a", "b", "c").problems == (Problem("a", "b", "c"),)


@pytest.mark.parametrize(
    ("name", "valid", "instruction"),
    [
        ("widht", ["width", "depth"], "did you mean 'width'?"),
        ("AGE", ["Age", "sex"], "did you mean 'Age'?"),
        ("age", {"Age", "page"}, "did you mean 'Age'?"),
        ("x", ["width", "depth"], "choose one of: depth, width"),
        ("", ["b", "a"], "choose one of: a, b"),
        ("x", [], "there is none to choose from"),
        ("zzz", [f"c{i:02}" for i in range(21)], "choose one of: " + ", ".join(f"c{i:02}" for i in range(20)) + ", ..."),
        ("zzz", [f"c{i:02}" for i in range(20)], "choose one of: " + ", ".join(f"c{i:02}" for i in range(20))),
    ],
)
def test_nearest(name: str, valid: list[str], instruction: str) -> None:
    assert nearest(name, valid) == instruction
