"""A row of the table: what was measured, its figure, the limit it is held to and whether it keeps it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line, in the words it is printed in.

    `ratio` is to a reference of the same run. `is_met` is None where there is no limit. `peak_bytes` is the
    most memory that the measured process had, `note` why a limit is missed, or what the reader should know.
    """

    what: str
    figure: str
    limit: str = ""
    ratio: str = ""
    is_met: bool | None = None
    peak_bytes: int | None = None
    note: str = ""


def at_most(what: str, value: float, limit: float, unit: str, *, peak_bytes: int | None = None, note: str = "") -> Row:
    """A figure that must not be larger than its limit."""
    return Row(what, f"{_number(value)} {unit}", f"≤ {limit:g} {unit}", "", value <= limit, peak_bytes, note)


def at_least(what: str, value: float, limit: float, unit: str, *, peak_bytes: int | None = None, note: str = "") -> Row:
    """A figure that must not be smaller than its limit."""
    return Row(what, f"{_number(value)} {unit}", f"≥ {limit:g} {unit}", "", value >= limit, peak_bytes, note)


def ratio_at_most(
    what: str,
    value: float,
    reference: float,
    limit: float,
    *,
    unit: str = "ms",
    of: str = "T",
    peak_bytes: int | None = None,
    note: str = "",
) -> Row:
    """A figure whose ratio to a reference (`of` names it) must not be larger than the limit."""
    share = value / reference
    figure, ratio = f"{_number(value)} {unit}", f"{share:.3f} {of}"
    return Row(what, figure, f"≤ {limit:.3g} {of}", ratio, share <= limit, peak_bytes, note)


def ratio_at_least(
    what: str,
    value: float,
    reference: float,
    limit: float,
    *,
    unit: str,
    of: str,
    peak_bytes: int | None = None,
    note: str = "",
) -> Row:
    """A figure whose ratio to a reference must not be smaller than the limit."""
    share = value / reference
    figure, ratio = f"{_number(value)} {unit}", f"{share:.3g} {of}"
    return Row(what, figure, f"≥ {limit:g} {of}", ratio, share >= limit, peak_bytes, note)


def plain(what: str, value: float, unit: str, *, ratio: str = "", peak_bytes: int | None = None, note: str = "") -> Row:
    """A figure without a limit: a reference, a peer."""
    return Row(what, f"{_number(value)} {unit}", "", ratio, None, peak_bytes, note)


def absent(what: str, why: str) -> Row:
    """What could not be measured here, and why."""
    return Row(what, "-", note=why)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
