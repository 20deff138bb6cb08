"""`analysis.gate`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.classes import class_of
from heaptop.analysis.gate import Finding, Judged, Limit, judge, parse_limit, parse_suppressions
from heaptop.errors import UsageError
from tests.analysis.builders import buffer, holder


def finding(buffers: float = 1.0, name: str = "codec-out", comm: str = "media") -> Finding:
    one = buffer(1, 4096, name=name, holders=[holder(7, comm)])
    return Finding(class_of(one), name, buffers, buffers * 4096, f"+{buffers} {name}", one)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0/cycle", Limit(0, is_bytes=False, per_minute=False)),
        ("2.5/cycle", Limit(2.5, is_bytes=False, per_minute=False)),
        (" 64K / CYCLE ", Limit(65536, is_bytes=True, per_minute=False)),
        ("8M/min", Limit(8 << 20, is_bytes=True, per_minute=True)),
        ("8MiB/min", Limit(8 << 20, is_bytes=True, per_minute=True)),
        ("0b/min", Limit(0, is_bytes=True, per_minute=True)),
    ],
)
def test_limits(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["", "1", "-1/cycle", "1/hour", "M/min", "1.2.3/cycle", "1X/min", "9E9E/min"])
def test_bad_limits(text: str) -> None:
    with pytest.raises(UsageError):
        parse_limit(text)


def test_suppressions() -> None:
    text = (
        "# pools\n\nname:pool and holder:media # a pool of four\n  exporter:drm#boot logo\nname:'#1' # a # in quotes\n"
    )
    rules = parse_suppressions(text, "file")
    assert [(one.line, one.filter.text, one.reason) for one in rules] == [
        (3, "name:pool and holder:media", "a pool of four"),
        (4, "exporter:drm", "boot logo"),
        (5, "name:'#1'", "a # in quotes"),
    ]


@pytest.mark.parametrize("line", ["name:pool", "name:pool #", "size> # why", "((( # why", "'open # why"])
def test_bad_suppressions_say_where(line: str) -> None:
    with pytest.raises(UsageError, match="file line 2"):
        parse_suppressions("\n" + line, "file")


def test_growth_is_judged_by_the_limit() -> None:
    for much, passes in ((0.9, False), (1, True), (2, True)):
        assert judge([finding()], Limit(much, is_bytes=False, per_minute=False)).has_passed == passes
        assert judge([finding()], Limit(much * 4096, is_bytes=True, per_minute=False)).has_passed == passes


def test_all_that_grows_counts_together() -> None:
    outcome = judge([finding(), finding(name="b")], Limit(1, is_bytes=False, per_minute=False))
    assert (outcome.has_passed, outcome.excess) == (False, 2)


def test_what_is_suppressed_has_its_reason_and_what_is_unused_is_told() -> None:
    rules = parse_suppressions("name:codec # known\nholder:nobody # long gone\n", "file")
    outcome = judge([finding(), finding(name="other")], Limit(1, is_bytes=False, per_minute=False), rules)
    assert [(one.judged, one.reason) for one in outcome.judgements] == [
        (Judged.SUPPRESSED, "known"),
        (Judged.FAILED, ""),
    ]
    assert (outcome.has_passed, [one.reason for one in outcome.unused]) == (True, ["long gone"])


def test_a_baseline_allows_what_it_has_and_no_more() -> None:
    known = {finding().named: (0.05, 0.05 * 4096), ("drm", 1, None, None): (1.0, 1.0)}
    none = Limit(0, is_bytes=False, per_minute=False)
    for count, cycles, passes in ((1, 20, True), (1, 7, True), (2, 20, False), (2, 40, True), (2, 21, True)):
        outcome = judge([finding(count / cycles)], none, (), known, cycles)
        assert outcome.has_passed == passes, (count, cycles)
        assert outcome.gone == (("drm", 1, None, None),)
    assert judge([finding(0.054)], none, (), known).has_passed
    assert not judge([finding(0.06)], none, (), known).has_passed


@given(st.text())
def test_any_text_of_suppressions(text: str) -> None:
    try:
        rules = parse_suppressions(text, "file")
    except UsageError:
        return
    assert all(rule.reason and rule.filter.text for rule in rules)


@given(st.lists(st.floats(0, 1e6), max_size=5), st.floats(0, 1e6))
def test_it_passes_exactly_within_the_limit(rates: list[float], much: float) -> None:
    outcome = judge(
        [finding(rate, name=str(n)) for n, rate in enumerate(rates)], Limit(much, is_bytes=False, per_minute=True)
    )
    assert outcome.has_passed == (sum(rates) <= much + 1e-9)
