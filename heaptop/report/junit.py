"""A check as JUnit XML, as CI servers read it: a test case for the whole, and one for each class that has grown."""

import html
from collections.abc import Iterable
from typing import Final

from heaptop.analysis.gate import Judged, Judgement, Outcome
from heaptop.report.check import summary
from heaptop.units import printable

SUITE: Final = "heaptop check"


def document(outcome: Outcome | None, command: str, duration_s: float, failure: str | None) -> str:
    """The file. `failure` is why the command or the source failed; there is no outcome then, or only part of one."""
    cases = [_case(command, duration_s, _whole(outcome, failure))]
    judgements = () if outcome is None else outcome.judgements
    cases += [_case(one.finding.text, 0, _class(one, outcome)) for one in judgements]
    failed = sum("<failure" in case for case in cases)
    errors, skipped = int(failure is not None), sum("<skipped" in case for case in cases)
    unused = () if outcome is None else outcome.unused
    notes = [f"suppression in line {one.line} matched nothing: {one.filter.text} # {one.reason}" for one in unused]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites><testsuite name="{SUITE}" tests="{len(cases)}" failures="{failed}" errors="{errors}" '
        f'skipped="{skipped}" time="{duration_s:.3f}">\n'
        + "".join(cases)
        + _output(notes)
        + "</testsuite></testsuites>\n"
    )


def _case(name: str, duration_s: float, inside: str) -> str:
    return f'<testcase classname="{SUITE}" name="{_safe(name)}" time="{duration_s:.3f}">{inside}</testcase>\n'


def _whole(outcome: Outcome | None, failure: str | None) -> str:
    if failure is not None:
        return f'<error message="{_safe(failure)}"/>'
    if outcome is not None and not outcome.has_passed:
        return f'<failure message="{_safe(summary(outcome))}"/>'
    return ""


def _class(one: Judgement, outcome: Outcome | None) -> str:
    if one.judged is Judged.SUPPRESSED:
        return f'<skipped message="{_safe(one.reason)}"/>'
    if one.judged is Judged.FAILED and outcome is not None and not outcome.has_passed:
        return f'<failure message="{_safe(one.finding.text)}"/>'
    return ""


def _output(notes: Iterable[str]) -> str:
    text = "".join(f"{_safe(note)}\n" for note in notes)
    return f"<system-out>{text}</system-out>\n" if text else ""


def _safe(text: str) -> str:
    """XML 1.0 has no way to write most control characters: they are escaped as everywhere."""
    return html.escape(printable(text))
