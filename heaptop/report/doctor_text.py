"""What `heaptop doctor` has found out, as a document and as a table."""

from collections.abc import Iterable

from heaptop.model import Snapshot
from heaptop.report.doctor import Check, Cost
from heaptop.report.json import Json, head
from heaptop.report.table import Column, Look, Row, draw
from heaptop.units import format_size


def document(checks: Iterable[Check], snapshot: Snapshot) -> Json:
    """The checks as the document of `doctor --json`."""
    return {**head(snapshot), "checks": items(checks)}


def items(checks: Iterable[Check]) -> list[dict[str, str | bool | float | None]]:
    """Each check by the names of the schema."""
    return [
        {
            "name": check.name,
            "there": check.there,
            "readable": check.readable,
            "detail": check.detail,
            "adds": check.adds,
            "remedy": check.remedy,
            "source": check.source,
            "cost_ms": None if check.cost is None else round(check.cost.time_ms, 3),
            "size_bytes": None if check.cost is None else check.cost.size_bytes,
        }
        for check in checks
    ]


def render(checks: Iterable[Check], heading: str, look: Look) -> str:
    """A table of the checks, then the commands that get what is missing."""
    rows = [Row((c.name, _word(c.there), _word(c.readable), _cost(c.cost), c.detail, c.adds)) for c in checks]
    columns = (
        Column("Source", worth=9),
        Column("There", worth=8),
        Column("Readable", worth=8),
        Column("One reading", worth=6),
        Column("Found", flexible=True, worth=7),
        Column("Tells", flexible=True, worth=5),
    )
    wanted: dict[str, list[str]] = {}
    for check in checks:
        if check.remedy:
            wanted.setdefault(check.remedy, []).append(check.name)
    lines = [f"  {remedy}    # {', '.join(names)}\n" for remedy, names in wanted.items()]
    more = "To get the rest:\n" + "".join(lines) if lines else ""
    return f"{heading}\n{draw(columns, rows, look)}{more}"


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return ""
    size = "" if cost.size_bytes is None else f", {format_size(cost.size_bytes)}"
    return f"{cost.time_ms:.1f} ms{size}"


def _word(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "~"}[value]
