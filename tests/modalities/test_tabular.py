"""Tabular: what is read, which kind a column has, and what the three encoders make of it, against numbers made by hand."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch

from consilience import component
from consilience.encoders.base import Encoder
from consilience.errors import ConsilienceError
from consilience.modalities.tabular import Record, Tabular
from consilience.modalities.tabular.cells import category, day, number, written
from consilience.modalities.tabular.descriptor import Descriptor
from consilience.modalities.tabular.learned import Scale, phases
from consilience.modalities.tabular.raw import CODES, Raw
from consilience.modalities.tabular.scratch import Scratch
from consilience.types import Column, Input, Limits, Missing, State

TABULAR = Tabular()
INPUT = Input("t", "tabular", ("age", "colour", "born"), ("number", "category", "date"))
ENCODERS: list[type[Encoder]] = [Descriptor, Raw, Scratch]


def read(input: Input = INPUT, limits: Limits | None = None, **cells: Any) -> Record:
    sample = TABULAR.read(input, cells, limits or Limits())
    assert isinstance(sample, Record), sample
    return sample


def rows() -> list[Record]:
    """Ages 0, 1, 2, 3, 4 and a gap; red four times, blue once, a gap; born on the first days of 1970."""
    return [
        *(read(age=age, colour="red" if age else "blue", born=date(1970, 1, 1 + age)) for age in range(5)),
        read(age=None, colour=None, born=date(1970, 1, 3)),
    ]


def fitted(kind: type[Encoder], samples: list[Any], input: Input = INPUT, **options: Any) -> Any:
    torch.manual_seed(0)
    encoder = kind(config=kind.Config(**options), input=input)
    encoder.fit(samples, np.random.default_rng(0))
    return encoder.eval()


def encode(encoder: Encoder, samples: list[Any]) -> Any:
    with torch.no_grad():
        return encoder(encoder.collate([encoder.prepare(sample) for sample in samples]))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([" 3.5 ", 3.5, "35e-1", Decimal("3.5"), np.float32(3.5)], (3.5, "")),
        ([1, True, np.int64(1), "+1"], (1.0, "")),
        ([None, "", " ", math.nan, "NA", "n/a", "NaN", "NULL", "none", "-", "?"], (None, "")),
        (["inf", "1e999", -math.inf, 10**400], (None, "infinite")),
        (["1_000", "1,5", "+nan", "12 %", Decimal("sNaN"), [1.0], b"1", date(2020, 1, 1)], (None, "not a number")),
    ],
)
def test_number(cells: list[Any], expected: Any) -> None:
    assert [number(cell) for cell in cells] == [expected] * len(cells)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1970-01-02", "1970/1/2", "1970.01.2", date(1970, 1, 2), "1970-01-02 06:00:00+06:00"], (1.0, "")),
        (["1970-01-02T12:00:00Z", datetime(1970, 1, 2, 12, tzinfo=UTC), datetime(1970, 1, 2, 12)], (1.5, "")),
        (["1969-12-31"], (-1.0, "")),
        (["9999-12-31T23:00-05:00"], (2932896 + 28 / 24, "")),
        ([None, "n/a", ""], (None, "")),
        (["03/04/2020", "2020-13-01", "2020-1-011", "1970-01/02", 20200304, b"1970-01-02"], (None, "not a date")),
    ],
)
def test_day(cells: list[Any], expected: Any) -> None:
    assert [day(cell) for cell in cells] == [expected] * len(cells)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([" Red ", "Red"], ("Red", "")),
        (["00123"], ("00123", "")),
        ([True, "TRUE", "true"], ("true", "")),
        ([3, 3.0, "3"], ("3", "")),
        ([0.1, "0.1", Decimal("0.1")], ("0.1", "")),
        ([date(2020, 3, 4), "2020-03-04"], ("2020-03-04", "")),
        (["e\u0301", "\u00e9"], ("\u00e9", "")),
        (["\ud800\u00e9"], ("?\u00e9", "surrogates replaced")),
        (["None", None, math.nan], (None, "")),
        ([[1], b"red", timedelta(1)], (None, "not a category")),
    ],
)
def test_category(cells: list[Any], expected: Any) -> None:
    assert [category(cell) for cell in cells] == [expected] * len(cells)


def test_values_are_written_for_people() -> None:
    assert [written(33.0, False), written(1 / 3, False), written(1e300, False)] == ["33", "0.333333", "1e+300"]
    assert [written(1.0, True), written(1.25, True)] == ["1970-01-02", "1970-01-02 06:00:00"]
    assert written("red", False) == "red"


@pytest.mark.parametrize(
    ("cells", "kind", "confidence", "reason"),
    [
        (["1", 2.5, "-3"], "number", 0.9, "3 of 3 sampled cells are numbers"),
        (["5"] * 19 + ["five"], "number", 0.9, "19 of 20"),
        (["5"] * 18 + ["five", "six"], "category", 0.7, "3 different values in 20 rows"),
        (["1", "NA", "na", "-"], "number", 0.9, "3 of 4 sampled cells mean that there is none ('NA', 'na', '-')"),
        (["NA", "?"], "category", 0.1, "no sampled cell holds a value"),
        (["2020-03-04", "2020-03-05T10:00"], "date", 0.9, "2 of 2 sampled cells are dates"),
        ([date(2020, 3, 4), datetime(2020, 3, 4)], "date", 0.9, "dates"),
        (["03/04/2020", "13.04.2020", "13.04.2020"], "category", 0.7, "write YYYY-MM-DD"),
        ([f"03/04/{year}" for year in range(1990, 2020)], "category", 0.1, "'03/04/1990' do not say which is day"),
        ([True, False], "category", 0.9, "true or false"),
        (["True", "false", ""], "category", 0.9, "true or false"),
        (["02139", "94110", "94110"], "category", 0.7, "leading zeros as in '02139'"),
        (["0012", "7", "7"], "category", 0.7, "codes, not numbers"),
        (["02139"] + ["94110"] * 39, "category", 0.7, "codes, not numbers"),
        (["001", "002"], "category", 0.1, "codes that are all different"),
        (["7"] * 198 + ["03", "8"], "number", 0.9, "200 of 200"),
        ([f"name {index}" for index in range(30)], "category", 0.1, "too many"),
    ],
)
def test_detect(cells: list[Any], kind: str, confidence: float, reason: str) -> None:
    claim = TABULAR.detect(Column("c", cells, len(cells), 0, len(set(map(str, cells)))))
    assert claim is not None
    assert (claim.kind, claim.confidence, reason in claim.reason) == (kind, confidence, True)


def test_few_values_are_categories() -> None:
    for rows, few in ((100, 20), (1000, 50), (10**6, 1000), (20, 19)):
        claims = [TABULAR.detect(Column("c", ["a", "b"], rows, 0, distinct)) for distinct in (few, few + 1)]
        assert [claim and claim.confidence for claim in claims] == [0.7, 0.1], rows


def test_no_claim_on_what_is_no_scalar() -> None:
    for cell in ([1, 2], b"abc", {"a": 1}, timedelta(1), (1.0,)):
        assert TABULAR.detect(Column("c", ["1", cell], 2, 0, 2)) is None


def test_read_keeps_the_order_and_notes_what_it_could_not_parse() -> None:
    sample = read(born="1970-01-02", colour="red", age="old")
    assert list(sample.values.items()) == [("age", None), ("colour", "red"), ("born", 1.0)]
    assert (sample.notes, sample.dates) == (("age: not a number",), {"born"})
    assert read(age="inf", colour="red", born="soon").notes == ("age: infinite", "born: not a date")
    assert read(age="", colour="red", born="NA").notes == ()
    assert read(age=1).values == {"age": 1.0, "colour": None, "born": None}
    long = read(limits=Limits(characters=3), colour="crimson")
    assert (long.values["colour"], long.notes) == ("cri", ("colour: cut at 3 characters",))


def test_absent_only_without_any_value() -> None:
    assert TABULAR.read(INPUT, {"age": "", "colour": "NA"}, Limits()) == Missing("empty")
    assert TABULAR.read(INPUT, {"age": "inf", "born": "x"}, Limits()) == Missing("infinite, not a date")


def test_parts_are_the_columns_with_a_value() -> None:
    sample = read(age=33, born="1970-01-02")
    assert [(part.index, part.label) for part in TABULAR.parts(sample)] == [(0, "age = 33"), (2, "born = 1970-01-02")]
    assert TABULAR.size(sample) == 2
    assert TABULAR.keep(sample, {2}).values == {"age": None, "colour": None, "born": 1.0}
    assert TABULAR.keep(sample, {0, 2}).values == sample.values
    assert TABULAR.augment(sample, np.random.default_rng(0)) is sample


def test_draw_escapes_and_tints() -> None:
    shown = TABULAR.draw(Record(values={"<a>": "<b>", "x": 1.0, "y": None}), {0: 0.5, 1: -2.0})
    assert all(
        text in shown for text in ("&lt;a&gt;", "&lt;b&gt;", "rgb(31 119 214 / 0.50)", "rgb(230 120 20 / 1.00)", "missing")
    )
    assert (shown.count("<tr"), "<b>" in shown) == (3, False)


@pytest.mark.parametrize("name", sorted(TABULAR.corruptions))
def test_corruptions(name: str) -> None:
    corrupt = TABULAR.corruptions[name]
    sample = Record(values={"a": 2.0, "zero": 0.0, "c": "red", "d": 10.0, "gone": None}, dates=frozenset("d"), notes=("n",))
    assert corrupt(sample, 0.0, np.random.default_rng(0)).values == sample.values
    damaged = corrupt(sample, 1.0, np.random.default_rng(0))
    assert (damaged.notes, damaged.dates) == (sample.notes, sample.dates)
    normal = np.random.default_rng(0).standard_normal(3)
    expected = {
        "blank": dict.fromkeys(sample.values),
        "garble": {**sample.values, "c": "red\ufffd"},
        "noise": {"a": 2 + 2 * normal[0], "zero": normal[1], "c": "red", "d": 10 + 365.2425 * normal[2], "gone": None},
    }
    assert damaged.values == pytest.approx(expected[name])


def test_noise_stays_finite_and_in_the_calendar() -> None:
    sample = Record(values={"a": 1.7e308, "d": 2932896.0}, dates=frozenset("d"))
    for seed in range(20):
        damaged = TABULAR.corruptions["noise"](sample, 1.0, np.random.default_rng(seed))
        assert math.isfinite(damaged.values["a"])
        assert written(damaged.values["d"], True) <= "9999-12-31"


def test_damage_grows_with_severity() -> None:
    sample = Record(values={str(index): 1.0 for index in range(4000)})
    kept = [TABULAR.size(TABULAR.corruptions["blank"](sample, share, np.random.default_rng(0))) for share in (0.1, 0.3, 0.6)]
    assert kept == pytest.approx([3600, 2800, 1600], abs=120)


def test_scale_by_hand() -> None:
    scale = Scale.of([0, 1, 2, 3, 4])
    assert (scale.median, scale.factor) == (2.0, 0.5)
    assert [scale(5.0), scale(1e308), scale(-1e308), scale(None)] == pytest.approx([1.5 / math.sqrt(1.25), 3, -3, 0])
    assert Scale.of([0] * 9 + [4]) == Scale(median=0.0, factor=0.5)  # equal quartiles: 2 / range


def test_scale_of_constants_and_extremes() -> None:
    assert Scale.of([7, 7])(1e308) == 0.0
    assert Scale.of([]) == Scale(median=0.0, factor=0.0)
    assert Scale.of([0.0, 5e-324, 5e-324]).factor == 0.0
    assert Scale.of([-1.7e308, 1.7e308])(1.7e308) == pytest.approx(1 / math.sqrt(1 + 1 / 9))
    assert Scale.of([-1.7e308] * 2 + [1.7e308] * 2).factor == 0.0  # the spread overflows
    assert Scale.of([-1.7e308, -1.7e308])(1.7e308) == 0.0


def test_phases_by_hand() -> None:
    assert phases(0.0) == pytest.approx((0, 1, math.sin(6 * math.pi / 7), math.cos(6 * math.pi / 7)))  # a Thursday
    assert phases(4.9)[2:] == pytest.approx((0, 1))  # Monday evening
    assert phases(365.2425 / 4)[:2] == pytest.approx((1, 0))


def test_descriptor_by_hand() -> None:
    encoder = fitted(Descriptor, rows())
    # age, missing | other, red, missing | days, year, year, week, week
    assert encoder.width == 10
    samples = [read(age=5, colour="red", born="1970-01-05"), read(colour="green"), read(age=2)]
    tokens = encode(encoder, samples)
    assert (tokens.values.shape, tokens.values.dtype, bool(tokens.mask.all())) == ((3, 1, 10), torch.float32, True)
    days = 4 - 2.0  # birth days 0, 1, 2, 2, 3, 4: median 2, quartiles 1.25 and 2.75
    year = 2 * math.pi * 4 / 365.2425
    scaled = (days / 1.5) / math.sqrt(1 + (days / 4.5) ** 2)
    expected = [1.5 / math.sqrt(1.25), 0, 0, 1, 0, scaled, math.sin(year), math.cos(year), 0, 1]
    assert tokens.values[0, 0].tolist() == pytest.approx(expected, abs=1e-6)
    assert tokens.values[1, 0].tolist() == [0, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert tokens.values[2, 0].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_descriptor_keeps_the_frequent_categories() -> None:
    samples = [read(colour=colour) for colour in ["red"] * 3 + ["blue"] * 2 + ["amber"] * 2 + ["rare"]]
    assert fitted(Descriptor, samples).learned.categories == {"colour": ["red", "amber", "blue"]}
    assert fitted(Descriptor, samples, categories=2).learned.categories == {"colour": ["red", "amber"]}


def test_raw_by_hand() -> None:
    encoder = fitted(Raw, rows())
    assert (encoder.categorical, encoder.width) == ((1,), 3)
    tokens = encode(encoder, [read(age=0.1, colour="blue", born="1970-01-02T12:00"), read(age=1, colour="green"), rows()[-1]])
    nan = math.nan  # exact equality below: float64
    np.testing.assert_array_equal(tokens.values[:, 0].numpy(), [[0.1, 1, 1.5], [1, nan, nan], [nan, nan, 2]])
    assert encoder.fingerprint() == fitted(Raw, [*rows()[:-1], read(age=99)]).fingerprint()  # it needs no scales


def test_raw_has_a_bounded_number_of_codes() -> None:
    samples = [read(age=index, colour=f"{index:03d}") for index in range(300)]
    values = encode(fitted(Raw, samples), samples).values[:, 0, 1]
    assert torch.equal(values[:CODES], torch.arange(CODES, dtype=torch.float64))
    assert values[CODES:].isnan().all()


def test_scratch_gives_missing_cells_no_token() -> None:
    encoder = fitted(Scratch, rows(), width=16)
    nothing = TABULAR.keep(rows()[0], ())  # still a record that is present, so it has a token
    tokens = encode(encoder, [read(age=1, colour="red", born="1970-01-02"), read(colour="red"), nothing])
    assert tokens.mask.tolist() == [[True, True, True], [False, True, False], [True, False, False]]
    assert torch.isfinite(tokens.values).all()


def test_scratch_prepares_scaled_values_and_codes() -> None:
    prepared = fitted(Scratch, rows()).prepare(read(age=5, colour="red"))
    assert prepared["number"].tolist() == pytest.approx([1.5 / math.sqrt(1.25)])
    assert (prepared["category"].tolist(), prepared["date"].shape) == ([1], (1, 5))
    pair = Input("p", "tabular", ("a", "b"), ("category", "category"))
    encoder = fitted(Scratch, [read(pair, a="x", b="y")] * 2, pair)
    codes = torch.stack([encoder.prepare(read(pair, a=a, b="y"))["category"] for a in ("x", "new")])
    assert codes.tolist() == [[1, 1], [0, 1]]  # the table: unknown, x, unknown, y
    embed = encoder.embeddings["category"]
    assert torch.equal(embed(codes), embed.table[torch.tensor([[1, 3], [0, 3]])])


@pytest.mark.parametrize(("tokens", "shape"), [(32, 5), (5, 5), (4, 3), (2, 2), (1, 1)])
def test_scratch_shares_tokens_among_neighbours(tokens: int, shape: int) -> None:
    block = Input("m", "tabular", tuple("abcde"), ("number",) * 5)
    samples = [read(block, a=index, b=2, c=index * index, d=1, e=index) for index in range(6)]
    encoder = fitted(Scratch, samples, block, width=16, tokens=tokens)
    found = encode(encoder, [samples[0], read(block, e=1)])
    assert (encoder.length, found.values.shape) == (shape, (2, shape, 16))
    assert found.mask.tolist() == [[True] * shape, [False] * (shape - 1) + [True]]


@pytest.mark.parametrize("tokens", [32, 1])
def test_scratch_content_of_a_missing_cell_changes_nothing(tokens: int) -> None:
    encoder = fitted(Scratch, rows(), width=16, tokens=tokens)
    batch = encoder.collate([encoder.prepare(read(age=1, colour="red"))])
    other = {**batch, "date": torch.full((1, 1, 5), 9.0)}
    first, second = encoder(batch), encoder(other)
    assert torch.equal(first.values[first.mask], second.values[second.mask])


def test_scratch_trains_every_parameter() -> None:
    encoder = fitted(Scratch, rows(), width=16)
    tokens = encoder(encoder.collate([encoder.prepare(sample) for sample in rows()]))
    (tokens.values[tokens.mask] * torch.randn(16)).sum().backward()
    assert [name for name, value in encoder.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_row_never_depends_on_the_other_rows(kind: type[Encoder]) -> None:
    encoder, row = fitted(kind, rows()), rows()[1]
    first, second = encode(encoder, [row, *rows()[:3]]), encode(encoder, [row, *[rows()[-1]] * 3])
    assert torch.equal(first.values[0], second.values[0])


@pytest.mark.parametrize("kind", ENCODERS)
def test_state_goes_through_json_and_back(kind: type[Encoder]) -> None:
    encoder = fitted(kind, rows())
    other = kind(config=kind.Config(), input=INPUT)
    other.restore(State(json=json.loads(json.dumps(encoder.state().json, sort_keys=True)), arrays=encoder.state().arrays))
    other.load_state_dict(encoder.state_dict())
    assert (other.fingerprint(), other.width) == (encoder.fingerprint(), encoder.width)
    sample = [read(age=3.3, colour="red", born="1971-05-05")]
    assert torch.equal(encode(encoder, sample).values, encode(other.eval(), sample).values)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"extra": 1}, "extra"),
        ({"scales": 3}, "scales"),
        ({"scales": {"age": {"median": 0.0, "factor": 1.0}}}, "has scales for"),
        ({"scales": {"age": {"median": math.nan, "factor": 1.0}}}, "finite"),
        ({"scales": {"age": {"median": 0.0, "factor": -1.0}}}, "greater than or equal to 0"),
        ({"scales": {"age": {"median": "0", "factor": 1.0}}}, "valid number"),
        ({"categories": {}}, "has categories for"),
        ({"categories": {"colour": [1]}}, "valid string"),
        ({"categories": {"colour": ["red", "red"]}}, "twice"),
        ({"categories": {"colour": [str(index) for index in range(1001)]}}, "categories for 'colour'"),
        ({"gaps": ["height"]}, "a gap in 'height'"),
    ],
)
def test_restore_refuses_what_is_not_valid(kind: type[Encoder], change: dict[str, Any], match: str) -> None:
    encoder = fitted(kind, rows())
    with pytest.raises(ConsilienceError, match=match):
        encoder.restore(State(json={**encoder.state().json, **change}))
    with pytest.raises(ConsilienceError, match="arrays"):
        encoder.restore(State(json=encoder.state().json, arrays={"a": np.zeros(1)}))


@pytest.mark.parametrize("kind", ENCODERS)
def test_zero_samples_fit(kind: type[Encoder]) -> None:
    encoder = fitted(kind, [])
    tokens = encode(encoder, [read(age=1, colour="red", born="1970-01-02")])
    assert (tokens.values.shape, bool(tokens.mask.all())) == ((1, encoder.length, encoder.width), True)


@pytest.mark.parametrize("kind", ENCODERS)
def test_fingerprint_follows_state_columns_config_and_parameters(kind: type[Encoder]) -> None:
    first = fitted(kind, rows()).fingerprint()
    assert fitted(kind, rows()).fingerprint() == first
    assert fitted(kind, [*rows(), read(colour="green"), read(colour="green")]).fingerprint() != first
    renamed = Input("t", "tabular", ("age", "colour", "day"), INPUT.kinds)
    samples = [Record(values=dict(zip(renamed.columns, row.values.values(), strict=True))) for row in rows()]
    assert fitted(kind, samples, renamed).fingerprint() != first
    assert fitted(Descriptor, rows(), categories=1).fingerprint() != fitted(Descriptor, rows()).fingerprint()
    encoder = fitted(Scratch, rows())
    before = encoder.fingerprint()
    encoder.columns.data[0, 0] += 1
    assert encoder.fingerprint() != before


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ConsilienceError, match="multiple of heads"):
        Scratch(config=Scratch.Config(width=10, heads=4), input=INPUT)
    wrong = Input("t", "tabular", ("a",), ("numbr",))
    with pytest.raises(ConsilienceError, match="did you mean 'number'"):
        TABULAR.read(wrong, {"a": 1}, Limits())
    for kind in ENCODERS:
        with pytest.raises(ConsilienceError, match="did you mean 'number'"):
            kind(config=kind.Config(), input=wrong)


def test_the_modality_names_its_encoders_and_reads_without_torch() -> None:
    assert [component.load(path) for path in TABULAR.encoders().values()] == ENCODERS
    code = "import sys, consilience.modalities.tabular; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
