"""The list of markets: a wrong entry is named with its line and hides no other."""

import csv
from pathlib import Path

import pytest

from flightdelays import markets
from flightdelays.errors import DataError
from flightdelays.markets import CARRIERS, ORIGINS, Market
from flightdelays.settings import Settings

GOOD = """\
markets:
  - origin: EWR
    group: united
    carriers: [UA]
    model: hist_gradient
  - {origin: LGA, group: delta, carriers: [DL, 9E]}
"""
# Entry under test, from line 7 on; line, key and words of the one problem it has.
BAD = {
    "unknown carrier": (
        "  - origin: JFK\n    group: x1\n    carriers:\n      - AA\n      - ZZ\n",
        (9, "carriers", "'ZZ' is no carrier of the data: choose from 9E, AA"),
    ),
    "unknown origin": (
        "  - origin: BOS\n    group: x1\n    carriers: [AA]\n",
        (7, "origin", "'BOS' is no airport of New York of the data: choose from EWR, JFK, LGA"),
    ),
    "unknown model": (
        "  - origin: JFK\n    group: x1\n    carriers: [AA]\n    model: crystal_ball\n",
        (10, "model", "'crystal_ball' is no model of the data: choose from logistic"),
    ),
    "missing key": (
        "  - origin: JFK\n    carriers: [AA]\n",
        (7, "group", "the key is missing: an entry needs origin, group, carriers, model"),
    ),
    "unknown key": (
        "  - origin: JFK\n    group: x1\n    carriers: [AA]\n    carrier: AA\n",
        (10, "carrier", "unknown key: choose from origin, group, carriers, model"),
    ),
    "text instead of a list": (
        "  - origin: JFK\n    group: x1\n    carriers: AA\n",
        (9, "carriers", "'AA' is no list: write [AA]"),
    ),
    "empty list": (
        "  - origin: JFK\n    group: x1\n    carriers: []\n",
        (9, "carriers", "name at least one carrier"),
    ),
    "carrier twice": (
        "  - origin: JFK\n    group: x1\n    carriers: [AA, AA]\n",
        (9, "carriers", "listed twice"),
    ),
    "key twice": (
        "  - origin: JFK\n    group: x1\n    carriers: [AA]\n    group: x2\n",
        (10, "group", "the key also stands on line 8"),
    ),
    "name that is no id": (
        "  - origin: JFK\n    group: Big Airlines\n    carriers: [AA]\n",
        (8, "group", "'Big Airlines' is no name"),
    ),
    "no text": (
        "  - origin: JFK\n    group: 7\n    carriers: [AA]\n",
        (8, "group", "7 is no text: put it into quotes"),
    ),
    "duplicate": (
        "  - origin: EWR\n    group: united\n    carriers: [UA, OO]\n",
        (8, "group", "'EWR united' is another entry of this origin and group as on line 2"),
    ),
    "no mapping": ("  - EWR\n", (7, "", "an entry has the keys origin")),
    "not plain YAML": (
        "  - origin: JFK\n    group: !python/name x1\n    carriers: [AA]\n",
        (8, "", "could not determine a constructor"),
    ),
}


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    return tmp_path / "markets.yaml"


def test_the_list_of_the_course_has_no_fault() -> None:
    found = markets.require(Settings().markets)
    assert len({market.dag_id for market in found}) == len(found) == 9


def test_carriers_and_origins_are_those_of_the_data(originals: Path) -> None:
    with (originals / "airlines.csv").open(encoding="utf-8") as file:
        assert {row["carrier"] for row in csv.DictReader(file)} == set(CARRIERS)
    assert set(ORIGINS) == {"EWR", "JFK", "LGA"}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_entry_is_named_with_its_line_and_hides_no_other(name: str, listed: Path) -> None:
    entry, (line, key, words) = BAD[name]
    after = "  - {origin: JFK, group: jetblue, carriers: [B6]}\n"
    listed.write_text(GOOD + entry + after, "utf-8")
    found = markets.load(listed)
    assert [market.dag_id for market in found.markets] == [
        "market_ewr_united",
        "market_lga_delta",
        "market_jfk_jetblue",
    ]
    (problem,) = found.problems
    assert (problem.line, problem.key) == (line, key)
    assert words in problem.message
    with pytest.raises(DataError) as raised:
        markets.require(listed)
    assert str(listed) in str(raised.value)
    assert str(problem) in str(raised.value)


def test_every_problem_is_listed_in_the_order_of_the_lines(listed: Path) -> None:
    entries = [BAD[name][0] for name in ("unknown carrier", "unknown origin", "duplicate")]
    listed.write_text(GOOD + "".join(entries), "utf-8")
    with pytest.raises(DataError, match=r"3 problem\(s\); the other 2 market\(s\)") as raised:
        markets.require(listed)
    lines = str(raised.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        "line 9, carriers",
        "line 12, origin",
        "line 16, group",
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "holds no list of entries under the key `markets`"),
        ("# nothing but a comment\n", 1, "holds no list"),
        ("markets: []\n", 1, "holds no list"),
        ("- origin: EWR\n", 1, "holds no list"),
        ("markets:\n  - origin: EWR\n    carriers: [UA\n    group: x\n", 4, "is no YAML"),
        ("markets:\n\t- origin: EWR\n", 2, "is no YAML"),
        ("a: 1\n---\nb: 2\n", 2, "is no YAML"),
    ],
)
def test_a_file_that_is_no_list(text: str, line: int, words: str, listed: Path) -> None:
    listed.write_text(text, "utf-8")
    found = markets.load(listed)
    assert found.markets == ()
    (problem,) = found.problems
    assert words in problem.message
    assert problem.line == line


def test_a_file_that_is_absent_or_no_text(listed: Path) -> None:
    with pytest.raises(DataError, match="there is no such file: create it, or set FLIGHT"):
        markets.require(listed)
    listed.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        markets.require(listed)


def test_ids_do_not_depend_on_the_order(listed: Path) -> None:
    listed.write_text(GOOD, "utf-8")
    before = markets.require(listed)
    head, first, second = GOOD.replace("  - {", "@").replace("  - ", "@", 1).split("@")
    listed.write_text(f"{head}  - {{{second}  - {first}", "utf-8")
    after = markets.require(listed)
    assert after == before[::-1]
    assert {market.dag_id for market in after} == {market.dag_id for market in before}


def test_the_options_of_a_run_are_checked() -> None:
    market = Market(origin="EWR", group="united", carriers=("UA",), model="lightgbm")
    assert markets.options(market, None).model == "lightgbm"
    asked = markets.options(market, {"model": "logistic", "validation_month": "2013-09"})
    assert (asked.model, asked.train_from, asked.validation_month) == ("logistic", None, "2013-09")
    with pytest.raises(DataError, match=r"validation_month: .*; month: Extra inputs"):
        markets.options(market, {"validation_month": "2013-13", "month": "2013-09"})
    with pytest.raises(DataError, match="'crystal_ball' is no model"):
        markets.options(market, {"model": "crystal_ball"})
