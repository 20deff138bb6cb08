"""What is said of classes and their growth, in words: for reports and for the app."""

from types import MappingProxyType
from typing import Final

from heaptop.analysis.classes import holder_text
from heaptop.analysis.suspects import Growth, Kind, Verdict
from heaptop.model import UNNAMED, Buffer, Holder, ProcessId, Source
from heaptop.units import format_age, format_size

DOTS: Final = 5
UNKNOWN: Final = "~"


def class_cells(verdict: Verdict) -> tuple[str, str, str, str]:
    """Exporter, size, name and holder as they are shown."""
    size = "various" if "size" in verdict.various else format_size(verdict.key.size_bytes)
    name = "various" if "name" in verdict.various else verdict.name or UNNAMED
    return verdict.key.exporter or UNKNOWN, size, name, holder_words(verdict)


def holder_words(verdict: Verdict) -> str:
    """Who holds it, as it is told: `nobody seen`, `various`."""
    if "holder" in verdict.various and not verdict.key.holders:
        return "various"
    return holder_text(verdict.key.holders)


def verdict_text(verdict: Verdict, growth: Growth) -> str:
    """What is said of a class in a few words."""
    since = f"{verdict.count} for {format_age(growth.now - verdict.since)}"
    match verdict.kind:
        case Kind.SUSPECT:
            return f"{format_rate(verdict.growth_per_minute)}/min"
        case Kind.GROWING:
            return f"may grow: {verdict.confidence * 100:.0f} % sure, watch longer"
        case Kind.PLATEAU:
            return f"plateau: {since}"
        case Kind.CHANGING:
            trend = growth.trend(verdict) or (verdict.count,)
            low, high = min(trend), max(trend)
            return f"comes and goes: {low} to {max(high, verdict.count)}"


def lifetime_text(lifetime_s: float) -> str:
    """How long others of the class live."""
    return f"others are gone after {lifetime_s:.1f} s" if lifetime_s else "none of them was seen to go"


def format_rate(per_minute: float) -> str:
    """Buffers a minute, with the digits that matter: `+120`, `+2.5`, `+0.04`."""
    size = abs(per_minute)
    return f"{per_minute:+.{0 if size >= 100 else 1 if size >= 1 else 2}f}".removesuffix(".0")


def dots(confidence: float, *, unicode: bool = True) -> str:
    """Confidence as five dots.

    >>> dots(0.8)
    '●●●●○'
    """
    full = min(DOTS, max(0, int(confidence * DOTS + 0.5)))
    return ("●" if unicode else "*") * full + ("○" if unicode else ".") * (DOTS - full)


def as_buffer(verdict: Verdict) -> Buffer:
    """A class as a filter sees it: a buffer of that size and name, held by those who hold the class."""
    shares = () if verdict.evidence is None else verdict.evidence.holders
    known = {share.comm for share in shares}
    return Buffer(
        inode=0,
        size_bytes=verdict.key.size_bytes,
        exporter=verdict.key.exporter,
        name=verdict.name,
        file_count=None,
        hidden_refs=None,
        attachments=None,
        fences=None,
        holders=(
            *(Holder(share.process, share.comm) for share in shares),
            *(Holder(ProcessId(0, None), comm) for comm in verdict.key.holders if comm not in known),
        ),
        heap=verdict.key.exporter,
        provenance=_TOLD,
    )


_TOLD: Final = MappingProxyType({"name": (Source.DERIVED,)})
