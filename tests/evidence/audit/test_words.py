"""Names and free text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import numpy as np
import pytest

from consilience.evidence.audit import Finding
from consilience.evidence.audit.values import CHECKS

Look = Callable[..., list[Finding]]

COLOURS = ["red", "blue", "green", "café"] * 30
WORDS = ("alpha", "beta", "gamma", "delta", "omega", "sigma", "kappa", "theta", "lambda", "zeta")


def texts(rows: int = 120) -> list[str]:
    """Sentences of 4 to 40 words, all different."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, int(rng.integers(4, 41)))) + f" no {row}" for row in range(rows)]


def said(look: Look, cells: list[str], *rest: object) -> list[tuple[str, int]]:
    beside = [f"{1.5 + 0.37 * row:.2f}" for row in range(len(cells))]
    return [(finding.kind, finding.count) for finding in look(CHECKS, {"x": cells, "beside": beside}, *rest)]


def test_nothing_wrong(look: Look) -> None:
    assert said(look, COLOURS) == []
    assert said(look, texts()) == []
    assert said(look, [f" {colour} " for colour in COLOURS]) == []  # blanks around all of them are no spelling


@pytest.mark.parametrize("cell", ["Red", "RED", "\uff52ed", "green"])
def test_spellings(cell: str, look: Look) -> None:
    expected = [] if cell == "green" else [("spellings", 1)]
    assert said(look, [cell, *COLOURS[1:]]) == expected


def test_forms_of_unicode(look: Look) -> None:
    assert said(look, [*COLOURS[:-1], unicodedata.normalize("NFD", "café")]) == [("spellings", 1)]


def test_blanks(look: Look) -> None:
    assert said(look, ["red ", "\tblue", *COLOURS[2:]]) == [("outer-blanks", 2)]
    assert said(look, [f"{colour} " if row % 3 else f" {colour}" for row, colour in enumerate(COLOURS)]) == []
    assert said(look, [f"{colour} " for colour in COLOURS[:100]] + COLOURS[100:]) == [("outer-blanks", 100)]
    (found,) = look(CHECKS, {"x": ["red ", *COLOURS[1:]], "n": [f"{0.37 * row:.2f}" for row in range(120)]})
    assert "'red '" in found.found


def test_classes(look: Look) -> None:
    assert said(look, ["Red", *COLOURS[1:]], "x") == [("class-spellings", 1)]
    assert said(look, ["N/A", "?", *COLOURS[2:]], "x") == [("missing-as-class", 2)]
    assert said(look, ["none", *COLOURS[1:]], "x") == []  # "none" may be an answer


@pytest.mark.parametrize("piece", ["CafÃ©", "â€™", "Â°", "Ã¼ber", "caf\ufffd", "ðŸ\u02dc€", "Ã\xa0"])
def test_encodings(piece: str, look: Look) -> None:
    assert said(look, [f"{texts()[0]} {piece}", *texts()[1:]]) == [("broken-encoding", 1)]


@pytest.mark.parametrize(
    "piece", ["São Paulo", "SÃO", "IRMÃ”", "CAFÉ…", "naïve", "Ångström", "日本語", "Â", "à la", "🙂", "«Ôter»"]
)
def test_letters_that_are_meant(piece: str, look: Look) -> None:
    assert said(look, [f"{texts()[0]} {piece}", *texts()[1:]]) == []


def test_control_characters(look: Look) -> None:
    assert said(look, [f"a\x07{texts()[0]}", f"\ufeff{texts()[1]}", *texts()[2:]]) == [("control-characters", 2)]
    assert said(look, [f"a\n\t{texts()[0]}", f"👩\u200d🔬 {texts()[1]}", *texts()[2:]]) == []


@pytest.mark.parametrize("piece", ["<br/>", "<p class='x'>", "</div>", "&amp;", "&#39;", "&eacute;", "&nbsp;"])
def test_html(piece: str, look: Look) -> None:
    assert said(look, [f"{text} {piece}" if row < 3 else text for row, text in enumerate(texts())]) == [("html-in-text", 3)]
    assert said(look, [f"{text} {piece}" if row < 2 else text for row, text in enumerate(texts())]) == []


def test_what_is_no_html(look: Look) -> None:
    assert said(look, [f"{text} 3 < 4 & 5 > 2; R&D; a <3 you" for text in texts()]) == []


def test_cut_texts(look: Look) -> None:
    limit = sorted(map(len, texts()))[80]  # so that a third is cut
    cut = [text[:limit] for text in texts()]
    assert said(look, cut) == [("cut-text", sum(len(text) == limit for text in cut))]
    # a few are longer again
    assert [kind for kind, _ in said(look, [f"{text}&amp" if row == 7 else text for row, text in enumerate(cut)])] == [
        "cut-text"
    ]


def test_one_length_is_no_cut(look: Look) -> None:
    few = np.random.default_rng(0).choice(("alpha", "gamma", "delta", "beta"), (900, 12), p=(0.31, 0.31, 0.31, 0.07))
    assert said(look, [" ".join(words) for words in few]) == []  # four in ten are of the greatest length, three of the next
    assert said(look, [f"{text:<250.250}" for text in texts()]) == []


def test_one_length_in_the_middle_is_no_cut(look: Look) -> None:
    made = [(text[:25], text[: 5 + row % 19], f"{text}{'x' * 60}")[row % 3] for row, text in enumerate(texts(300))]
    assert sum(len(text) == 25 for text in made) == 100  # as many as are longer
    assert said(look, made) == []


def test_repeated_texts(look: Look) -> None:
    assert said(look, ["see above, please"] * 10 + texts()[10:]) == [("repeated-text", 10)]
    assert said(look, ["see above, please"] * 3 + texts()[3:]) == []
