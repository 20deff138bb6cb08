"""The judgement of growth: how much is allowed, what is known and why, and what is left to fail for."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from heaptop.analysis.classes import BufferClass
from heaptop.analysis.filter import Filter, compile_filter
from heaptop.errors import FilterError, UsageError
from heaptop.model import Buffer
from heaptop.pattern import pattern
from heaptop.units import format_size, parse_size, printable

_LIMIT: Final = pattern(r"\s*([0-9.]+)\s*([a-z]*?)\s*/\s*(cycle|min)\s*", re.IGNORECASE | re.ASCII)
LIMIT_HINT: Final = "write buffers or bytes for each cycle or minute, like 0/cycle, 2/cycle, 64K/cycle or 8M/min"
RATE_TOLERANCE: Final = 1.1
_SMALL: Final = 1e-9
_ROUNDED: Final = 1e-2
"""More than what is lost where a baseline's numbers are rounded."""

Named = tuple[str | None, int | None, str | None, str | None]
"""What names a class in files: exporter, size, name and holder."""


class Limit(NamedTuple):
    """How much all that is not suppressed may grow: `amount` buffers, or bytes, each cycle or minute."""

    amount: float
    is_bytes: bool
    per_minute: bool

    def __str__(self) -> str:
        much = format_size(self.amount) if self.is_bytes else f"{self.amount:g} buffers"
        return f"{much} a {'minute' if self.per_minute else 'cycle'}"


NONE_ALLOWED: Final = Limit(0, is_bytes=False, per_minute=False)


def parse_limit(text: str) -> Limit:
    """`0/cycle`, `64K/cycle`, `8M/min`: a plain number is of buffers, one with a unit of bytes.

    Raises:
        UsageError: it is none of these.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UsageError(f"--max-growth {printable(text)}", "", LIMIT_HINT)
    number, unit, per = match.groups()
    try:
        amount = float(parse_size(number + unit)) if unit else float(number)
    except ValueError as error:
        raise UsageError(f"--max-growth {printable(text)}", printable(str(error)), LIMIT_HINT) from error
    return Limit(amount, is_bytes=bool(unit), per_minute=per.lower() == "min")


class Suppression(NamedTuple):
    """A class that may grow, and why: a filter and its line in the file."""

    line: int
    filter: Filter
    reason: str


def parse_suppressions(text: str, path: str) -> tuple[Suppression, ...]:
    """`EXPRESSION # reason` in each line; empty lines and those that begin with # say nothing.

    Raises:
        UsageError: a line has no reason, or its expression cannot be taken.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        expression, reason = _parted(line)
        where = f"{printable(path)} line {number}"
        if not reason or not expression:
            what = "no reason" if expression else "no expression"
            raise UsageError(where, what, "write it as EXPRESSION # reason, like: name:bootlogo # kept on purpose")
        try:
            found.append(Suppression(number, compile_filter(expression), reason))
        except FilterError as error:
            raise UsageError(where, printable(f"{error.what}, {error.why}"), error.remedy) from error
    return tuple(found)


def _parted(line: str) -> tuple[str, str]:
    """What stands before the first # outside quotes, and behind it."""
    quote = ""
    for at, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#":
            return line[:at].strip(), line[at + 1 :].strip()
    return line.strip(), ""


class Judged(StrEnum):
    """What becomes of a class that has grown."""

    FAILED = "failed"
    SUPPRESSED = "suppressed"
    BASELINE = "baseline"


class Finding(NamedTuple):
    """A class that has grown, by so many buffers and bytes each cycle or minute. `text` tells it in a line, `as_buffer`
    is what filters look at.
    """

    key: BufferClass
    name: str | None
    buffers: float
    size_bytes: float
    text: str
    as_buffer: Buffer

    @property
    def named(self) -> Named:
        """As a baseline has it."""
        return self.key.exporter, self.key.size_bytes, self.name, self.key.holder if self.key.holders else None


class Judgement(NamedTuple):
    """A finding and what became of it; `excess_*` is by how much it grew beyond a baseline, `reason` that of a
    suppression.
    """

    finding: Finding
    judged: Judged
    excess_buffers: float
    excess_bytes: float
    reason: str = ""


class Outcome(NamedTuple):
    """All of it. `excess` is what is left, in the limit's unit. `unused` are suppressions that matched nothing,
    `gone` classes of the baseline that have not grown.
    """

    limit: Limit
    judgements: tuple[Judgement, ...]
    excess: float
    unused: tuple[Suppression, ...]
    gone: tuple[Named, ...]

    @property
    def has_passed(self) -> bool:
        """Whether no more has grown than may."""
        return self.excess <= self.limit.amount + _SMALL

    def of(self, judged: Judged) -> tuple[Judgement, ...]:
        """Those of one kind."""
        return tuple(one for one in self.judgements if one.judged is judged)


def _allowed(buffers: float, size_bytes: float, cycles: int | None) -> tuple[float, float]:
    """What a baseline allows: in some cycles whole buffers, of a rate a little more, as it cannot be told exactly."""
    if not buffers:
        return 0.0, 0.0
    factor = RATE_TOLERANCE if cycles is None else math.ceil(buffers * cycles - _ROUNDED) / cycles / buffers
    return buffers * factor, size_bytes * factor + _ROUNDED


def judge(
    findings: Sequence[Finding],
    limit: Limit,
    suppressions: Iterable[Suppression] = (),
    baseline: Mapping[Named, tuple[float, float]] | None = None,
    cycles: int | None = None,
) -> Outcome:
    """Suppressions first, then the baseline (buffers and bytes a cycle or minute, by class); the rest must stay within
    the limit. `cycles` is how many were measured; None where it was minutes.
    """
    rules = tuple(suppressions)
    known = baseline or {}
    used: set[int] = set()
    judgements = []
    for finding in findings:
        rule = next((one for one in rules if one.filter.matches(finding.as_buffer)), None)
        before = _allowed(*known.get(finding.named, (0.0, 0.0)), cycles)
        more = max(0.0, finding.buffers - before[0]), max(0.0, finding.size_bytes - before[1])
        if rule is not None:
            used.add(rule.line)
            judgements.append(Judgement(finding, Judged.SUPPRESSED, 0.0, 0.0, rule.reason))
        elif finding.named in known and max(more) <= _SMALL:
            judgements.append(Judgement(finding, Judged.BASELINE, 0.0, 0.0))
        else:
            judgements.append(Judgement(finding, Judged.FAILED, *more))
    amount: Callable[[Judgement], float] = lambda one: one.excess_bytes if limit.is_bytes else one.excess_buffers  # noqa: E731
    grown = {finding.named for finding in findings}
    return Outcome(
        limit=limit,
        judgements=tuple(judgements),
        excess=sum(map(amount, judgements)),
        unused=tuple(rule for rule in rules if rule.line not in used),
        gone=tuple(named for named in known if named not in grown),
    )
