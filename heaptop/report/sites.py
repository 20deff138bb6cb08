"""Call sites as text and JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from heaptop.analysis.sites import CallSite, Namer, Of, SiteShare, SiteTotal, abbreviated, is_plumbing, places, where
from heaptop.call_stack import CallStack, CodeFrame, Location
from heaptop.model import Snapshot
from heaptop.report.json import Json, head
from heaptop.report.table import BOLD, DIM, Look, cut
from heaptop.report.text import counted, title
from heaptop.units import format_size, printable

STACKS_SHOWN: Final = 3
FRAMES_SHOWN: Final = 40
_WHAT: Final[Mapping[Of, str]] = {Of.LIVE: "live", Of.LEAKED: "suspect", Of.PEAK: "at the peak"}


def text(
    snapshot: Snapshot,
    groups: Mapping[CallSite | None, Sequence[SiteTotal]],
    name: Namer,
    of: Of,
    look: Look,
    *,
    limit: int,
) -> str:
    """Each call site with the stacks that lead there, the largest first; at most `limit` sites."""
    totals = [total for group in groups.values() for total in group]
    whole, unknown = _sum(totals), _sum(groups.get(None, ()))
    figures = f"{counted(whole[1], 'buffer')} {_WHAT[of]}, {format_size(whole[0])}"
    lines = [title(snapshot, figures, look), "\n"]
    sites = [(site, group) for site, group in groups.items() if site is not None]
    for site, group in sites[:limit]:
        lines += _site(site, group, name, look)
    if len(sites) > limit:
        lines.append(look.paint(f"{counted(len(sites) - limit, 'call site')} more", DIM) + "\n")
    if unknown[1]:
        note = f"{counted(unknown[1], 'buffer')}, {format_size(unknown[0])}: heaptop did not watch their allocation"
        lines.append(look.paint(_fitted(note, look), DIM) + "\n")
    if not whole[1]:
        lines.append("no buffer\n")
    return "".join(lines)


def _sum(totals: Iterable[SiteTotal]) -> tuple[int, int]:
    size = count = 0
    for total in totals:
        size += total.size_bytes
        count += total.count
    return size, count


def _site(site: CallSite, group: Sequence[SiteTotal], name: Namer, look: Look) -> Iterator[str]:
    size_bytes, count = _sum(group)
    figures = f"{format_size(size_bytes):>10}  {counted(count, 'buffer'):>12}  "
    by = "  by " + "+".join(sorted({comm for total in group for comm in total.comms}))
    for place, after in ((site.place, by), *(() if site.caller is None else ((site.caller, ""),))):
        yield look.paint(_line(figures, place, after, look), BOLD) + "\n"
        figures = f"{'for':>{len(figures) - 2}}  "
    for number, total in enumerate(group[:STACKS_SHOWN]):
        if len(group) > 1:
            yield f"  stack {number + 1}: {format_size(total.size_bytes)} in {counted(total.count, 'buffer')}\n"
        yield from _stack(total.stack, name, look)
    if len(group) > STACKS_SHOWN:
        yield f"  {counted(len(group) - STACKS_SHOWN, 'stack')} more\n"
    yield "\n"


def _stack(stack: CallStack | None, name: Namer, look: Look) -> Iterator[str]:
    if stack is None:
        return
    found = places(stack, name)
    for location in found[:FRAMES_SHOWN]:
        line = _line("    ", location, "  inlined" if location.is_inlined else "", look)
        yield (look.paint(line, DIM) if is_plumbing(location) else line) + "\n"
    if len(found) > FRAMES_SHOWN:
        yield f"    {len(found) - FRAMES_SHOWN} more\n"
    if stack.cut:
        yield look.paint(_fitted(f"    (cut: {stack.cut})", look), DIM) + "\n"


def _line(before: str, location: Location, after: str, look: Look) -> str:
    """One line, in which the file and line of the place are the last that goes."""
    room = 1 << 16 if look.width is None else look.width - len(before) - len(after)
    return _fitted(before + abbreviated(location, room) + after, look)


def _fitted(line: str, look: Look) -> str:
    line = printable(line)
    return line if look.width is None else cut(line, look.width, unicode=look.unicode)


def document(snapshot: Snapshot, groups: Mapping[CallSite | None, Sequence[SiteTotal]], name: Namer, of: Of) -> Json:
    """The document: `sites` with their stacks. Buffers whose allocation nobody watched have a null site."""
    return head(snapshot) | {"of": of.value, "sites": [_group(site, group, name) for site, group in groups.items()]}


def _group(site: CallSite | None, group: Sequence[SiteTotal], name: Namer) -> Json:
    size_bytes, count = _sum(group)
    return {
        "site": None if site is None else _location(site.place),
        "caller": None if site is None or site.caller is None else _location(site.caller),
        "size_bytes": size_bytes,
        "buffers": count,
        "inodes": sorted(inode for total in group for inode in total.inodes),
        "comms": sorted({comm for total in group for comm in total.comms}),
        "stacks": [_total(total, name) for total in group if total.stack is not None],
    }


def _total(total: SiteTotal, name: Namer) -> Json:
    stack = total.stack or CallStack(())
    return {
        "size_bytes": total.size_bytes,
        "buffers": total.count,
        "cut": stack.cut or None,
        "frames": [
            {
                "build_id": frame.build_id or None if isinstance(frame, CodeFrame) else None,
                "path": frame.path or None if isinstance(frame, CodeFrame) else None,
                "address": frame.address if isinstance(frame, CodeFrame) else None,
                "places": [_location(location) for location in name(frame)],
            }
            for frame in stack.frames
        ],
    }


def share(of: SiteShare) -> Json:
    """A call site and what it allocated."""
    caller = of.site.caller
    return {
        "site": _location(of.site.place),
        "caller": None if caller is None else _location(caller),
        "buffers": of.buffers,
        "size_bytes": of.size_bytes,
    }


def _location(location: Location) -> Json:
    return {
        "function": location.function,
        "file": location.file,
        "line": location.line,
        "module": location.module or None,
        "text": printable(location.function or where(location)),
        "inlined": location.is_inlined,
    }
