"""Use cases: any YAML gives one or an error that names the place; any expression is judged, refused, and soon."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from radbus_contracts.errors import PermanentError
from radbus_contracts.facts import Dialect, Source
from radbus_router.adapters.use_case_files import load_use_cases, read_use_case
from radbus_router.domain.explaining import explain_series, explain_study
from radbus_router.domain.use_cases import UseCaseError
from radbus_runtime.conditions import Answer, Condition, ConditionError, Variables

from tests.unit.fuzz.effort import fuzzed

BUILT_IN = Path(__file__).parents[3] / "services/router/use_cases"
USE_CASES = load_use_cases(BUILT_IN)
QCT = (BUILT_IN / "qct.yaml").read_bytes()
SOURCE = Source(dialect=Dialect.UPLOAD)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=10)
    | st.sampled_from(["\ud800", "\0", 2**64, -(2**63) - 1, 1e308]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)
ELEMENTS = st.dictionaries(
    st.sampled_from(
        ["Modality", "BodyPartExamined", "StudyDescription", "Rows", "instances", "all", "SeriesInstanceUID"]
    )
    | st.text(max_size=8),
    VALUES,
    max_size=5,
)
KEYS = st.sampled_from(["use_case", "version", "title", "scope", "sources", "when", "tasks", "triage", "priority_when"])
PIECES = st.sampled_from(
    [
        b"&a ",
        b"*a",
        b"<<: ",
        b"[",
        b"{",
        b"- ",
        b"? ",
        b"!!int ",
        b"!!timestamp ",
        b"!!binary ",
        b": ",
        b"\t",
        b"\0",
        b"0x_",
        b"|\n",
    ]
)


def soon_nested(levels: int) -> bytes:
    """A few maps merged into one another, which are very many keys."""
    lines = [b"a0: &a0 {x: 1}"]
    lines += [b"a%d: &a%d {<<: [%s]}" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, levels)]
    return b"\n".join(lines)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "fuzzed.yaml"
    path.write_bytes(content)
    return path


@fuzzed
@given(st.lists(st.tuples(st.integers(0, len(QCT)), PIECES | st.binary(max_size=6), st.integers(0, 20)), max_size=4))
@example([(0, b"!!timestamp ", 0)])
def test_a_damaged_file_is_a_use_case_or_an_error_that_names_it(tmp_path_factory, changes):
    content = QCT
    for at, piece, removed in changes:
        content = content[:at] + piece + content[at + removed :]

    with suppress(UseCaseError):
        read_use_case(written(tmp_path_factory.getbasetemp(), content))


@fuzzed
@given(st.dictionaries(KEYS, VALUES))
@example({"use_case": "\ud800"})
def test_any_content_is_a_use_case_or_an_error_that_names_the_place(tmp_path_factory, content):
    path = written(tmp_path_factory.getbasetemp(), yaml.safe_dump(content).encode())

    with pytest.raises(UseCaseError, match=r"fuzzed\.yaml: "):
        read_use_case(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 3000, "inside one another"),
        (b"when: " + b"{a: " * 3000, "inside one another"),
        (b"use_case: 2020-13-45", r"a valid timestamp .*line 1, column 11"),
        (b"title: x\nversion: " + b"9" * 5000, r"a valid int .*line 2"),
        (b"version: !!bool maybe", r"a valid bool .*line 1"),
        (b"version: 0x_", r"a valid int .*line 1"),
        (soon_nested(9), "at most 1000 keys"),
        (b"".join(b"k%d: 1\n" % n for n in range(1001)), "at most 1000 keys"),
        (b'title: "' + b"x" * 300_000 + b'"', "at most 262144 bytes"),
    ],
)
def test_yaml_that_is_made_to_break_its_reader_is_refused_by_its_place(tmp_path, content, words):
    with pytest.raises(UseCaseError, match=words):
        read_use_case(written(tmp_path, content))


ATOMS = st.sampled_from(
    [
        "series.Modality",
        "series.l",
        "series.n",
        "series.Absent",
        "series",
        "source",
        "true",
        "false",
        "null",
        "0",
        "1",
        "-9223372036854775808",
        "1.5e308",
        "0u",
        "'CT'",
        "b'\\xff'",
        "[]",
        "[1,2]",
        "{'a':1}",
        "timestamp('9999-12-31T23:59:59Z')",
        "duration('1h')",
        "''",
    ]
)
EXPRESSIONS = st.recursive(
    ATOMS | st.text(max_size=8),
    lambda inner: st.one_of(
        st.builds(
            "({} {} {})".format,
            inner,
            st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]),
            inner,
        ),
        st.builds(
            "{}({})".format,
            st.sampled_from(["size", "int", "uint", "double", "string", "bytes", "dyn", "type", "has", "!"]),
            inner,
        ),
        st.builds(
            "{}.{}({})".format, inner, st.sampled_from(["matches", "contains", "startsWith", "getHours", "size"]), inner
        ),
        st.builds(
            "{}.{}(x, {})".format, inner, st.sampled_from(["all", "exists", "exists_one", "map", "filter"]), inner
        ),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=12,
)


@fuzzed
@given(EXPRESSIONS)
@example("1/0 == 1")
@example("series.l[99] == 1")
@example("9223372036854775807 + series.n == 1")
@example("int(1e300) == 1")
@example("timestamp('9999-12-31T23:59:59Z') + duration('100000h') == timestamp('x')")
def test_any_expression_is_judged_or_refused(expression):
    variables = {"series": {"Modality": "CT", "l": list(range(300)), "n": 5, "s": "x" * 4000}, "source": {}}

    with suppress(ConditionError):
        condition = Condition(expression)
        condition.unknown_names({"series", "source"})
        assert condition.judge(variables).answer in Answer


@pytest.mark.parametrize(
    "expression",
    [
        "series.l.all(a, series.l.all(b, series.l.all(c, true)))",
        "series.l.map(a, series.l.map(b, a)).size() > 1",
        "series.l.map(a, series.l).map(b, b).size() > 1",
        "[1, 2].all(a, [1, 2].map(b, b) == [])",
        "series.l.all(a, series.l.all(b, series.s.matches('x')))",
        "series.s.matches('(x{100}){100}')",
        '"a" == "' + "a" * 2000 + '"',
        "(" * 999 + "true" + ")" * 999,
    ],
)
def test_an_expression_that_could_take_for_ever_is_refused(expression):
    with pytest.raises(ConditionError, match=r"not a CEL expression"):
        Condition(expression)


@pytest.mark.parametrize(
    "expression",
    [
        r"series.s.matches('(x+x+)+y')",
        "series.l.all(a, series.l.all(b, a + b > -1))",
        "series.s.matches('.{90}y')",
        "'all(map(filter(' == series.s || series.l.exists(x, x == 1)",
    ],
)
def test_an_expression_on_long_texts_and_lists_is_judged_at_once(expression):
    condition = Condition(expression)

    verdict = condition.judge({"series": {"s": "x" * 4096, "l": list(range(256))}})

    assert verdict.answer in (Answer.YES, Answer.NO)


def test_a_list_that_is_too_long_to_be_gone_through_is_not_there_for_conditions():
    variables = Variables({"series": {"l": list(range(257)), "n": {"m": [list(range(5000))]}}})

    assert Condition("series.l.size() > 1").judge(variables).answer is Answer.UNKNOWN
    assert Condition("series.n.m.size() == 0").judge(variables).answer is Answer.YES


@fuzzed
@given(st.lists(ELEMENTS, min_size=1, max_size=3))
def test_whatever_stands_in_headers_is_explained_or_refused(headers):
    with suppress(PermanentError):
        explain_series(USE_CASES, headers[0], SOURCE)
        explain_study(USE_CASES, headers, SOURCE)
