"""A check as text and as JSON, and the baseline file."""

import json as plain
from collections.abc import Mapping, Sequence
from typing import Final

from heaptop.analysis.gate import Finding, Judged, Judgement, Limit, Named, Outcome
from heaptop.analysis.suspects import Verdict
from heaptop.analysis.verdict_words import class_cells, format_rate
from heaptop.errors import RecordingError
from heaptop.model import UNNAMED, Snapshot
from heaptop.report import json
from heaptop.report.text import UNKNOWN
from heaptop.units import format_size, printable

BASELINE: Final = "heaptop-baseline/1"


def summary(outcome: Outcome) -> str:
    """`failed: grown by 1 buffers a cycle, 0 buffers a cycle allowed`."""
    per = _per(outcome.limit)
    much = format_size(outcome.excess) if outcome.limit.is_bytes else f"{outcome.excess:.6g} buffers"
    verdict = "passed" if outcome.has_passed else "failed"
    return f"{verdict}: grown by {much} a {per}, allowed: {outcome.limit}"


def _per(limit: Limit) -> str:
    return "minute" if limit.per_minute else "cycle"


def text(outcome: Outcome, measured: str) -> str:
    """The verdict, then each class that has grown and what is said of it."""
    lines = [f"check {summary(outcome)}; {measured}"]
    for one in outcome.judgements:
        match one.judged:
            case Judged.FAILED:
                lines.append(f"  {one.finding.text}")
            case Judged.SUPPRESSED:
                lines.append(f"  suppressed ({one.reason}): {one.finding.text}")
            case Judged.BASELINE:
                lines.append(f"  as in the baseline: {one.finding.text}")
    lines += [f"note: suppression in line {one.line} matched nothing: {one.filter.text}" for one in outcome.unused]
    lines += [f"note: has not grown, though the baseline has it: {_class_text(named)}" for named in outcome.gone]
    return "".join(f"{printable(line)}\n" for line in lines)


def _class_text(named: Named) -> str:
    exporter, size_bytes, name, holder = named
    return f"{format_size(size_bytes)} of {exporter or UNKNOWN} {name or UNNAMED}, {holder or 'held by nobody'}"


def document(
    snapshot: Snapshot, outcome: Outcome, cycles: int | None, duration_s: float, failure: str | None
) -> json.Json:
    """The whole judgement. `failure` is why there may be more to find."""
    limit = outcome.limit
    return {
        **json.head(snapshot),
        "passed": outcome.has_passed and failure is None,
        "failure": failure,
        "per": _per(limit),
        "allowed": {
            "buffers": None if limit.is_bytes else limit.amount,
            "bytes": limit.amount if limit.is_bytes else None,
        },
        "excess": {
            "buffers": round(sum(one.excess_buffers for one in outcome.judgements), 6),
            "bytes": round(sum(one.excess_bytes for one in outcome.judgements), 3),
        },
        "cycles": cycles,
        "duration_s": round(duration_s, 3),
        "classes": [_judgement(one) for one in outcome.judgements],
        "unused_suppressions": [
            {"line": one.line, "expression": one.filter.text, "reason": one.reason} for one in outcome.unused
        ],
        "gone_from_baseline": [_named(named) for named in outcome.gone],
    }


def _named(named: Named) -> json.Json:
    return dict(zip(("exporter", "size_bytes", "name", "holder"), named, strict=True))


def _judgement(one: Judgement) -> json.Json:
    return {
        **_named(one.finding.named),
        "buffers": round(one.finding.buffers, 6),
        "bytes": round(one.finding.size_bytes, 3),
        "judged": one.judged,
        "reason": one.reason or None,
        "text": one.finding.text,
    }


def baseline(findings: Sequence[Finding], limit: Limit) -> str:
    """What grows now, as a file to compare with later."""
    rows: list[json.Json] = [
        {**_named(one.named), "buffers": round(one.buffers, 6), "bytes": round(one.size_bytes)} for one in findings
    ]
    return json.dumps({"schema": BASELINE, "per": _per(limit), "classes": rows})


def read_baseline(raw: bytes, path: str, *, per_minute: bool) -> Mapping[Named, tuple[float, float]]:
    """Buffers and bytes a cycle or minute, by class.

    Raises:
        RecordingError: it is no baseline, or one of the other measure.
    """
    where = printable(path)
    try:
        document = plain.loads(raw)
        if document["schema"] != BASELINE:
            raise RecordingError(where, f"schema {printable(str(document['schema']))}", f"only {BASELINE} is known")
        if document["per"] != ("minute" if per_minute else "cycle"):
            raise RecordingError(where, f"it is per {printable(str(document['per']))}", "see --max-growth")
        rows = document["classes"]
        return {
            (_text(row["exporter"]), _size(row["size_bytes"]), _text(row["name"]), _text(row["holder"])): (
                float(row["buffers"]),
                float(row["bytes"]),
            )
            for row in rows
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordingError(where, "no baseline", "write one with --write-baseline") from error


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(value)


def _size(value: object) -> int | None:
    if value is None or isinstance(value, int):
        return value
    raise TypeError(value)


def rate_text(verdict: Verdict) -> str:
    """A suspect in a line, as a check tells it."""
    exporter, size, name, holder = class_cells(verdict)
    much = format_size(verdict.growth_bytes_per_minute)
    return printable(
        f"{format_rate(verdict.growth_per_minute)} x {size} of {exporter} {name}, held by {holder}: {much} a minute"
    )
