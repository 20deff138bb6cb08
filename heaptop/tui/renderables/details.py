"""What is known of one buffer or one process, as lines of plain text with named styles. No app needed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from heaptop.analysis.orphans import Kind, Part
from heaptop.analysis.placement import runs_by_order
from heaptop.model import UNNAMED, Buffer, FdRef, Gap, Holder, MapRef, Process, ProcessId
from heaptop.tui.renderables.table import Span
from heaptop.units import format_age, format_delta, format_size, printable

Line = tuple[Span, ...]
"""A line of the pane; styles are those of `renderables.table.STYLES`."""

O_ACCMODE = 3
RUNS_SHOWN = 16
O_CLOEXEC = 0o2000000

_TOLD_BY = {
    "name": "fdinfo (5.3 on), the fd link and bufinfo (6.1 on) tell names",
    "exporter": "fdinfo, bufinfo and sysfs dmabuf tell exporters",
    "size_bytes": "fdinfo, stat of an fd, bufinfo and sysfs dmabuf tell sizes",
    "file_count": "fdinfo (5.3 on) and bufinfo tell the file count",
    "hidden_refs": "it takes the file count (fdinfo, bufinfo) and every fd table readable",
    "attachments": "only bufinfo (debugfs) tells attachments",
    "fences": "only bufinfo (debugfs) tells fences",
    "runs": "BPF tells where a buffer lies (before 6.16 one held by an fd); of a new CMA buffer live events (e) do",
    "heap": "kernels 5.6 to 5.10 do not tell a buffer's heap",
}


@dataclass(frozen=True, slots=True)
class BufferStory:
    """What the session knows of a buffer besides the snapshot. Times are clock times and seconds."""

    first_seen: str = ""
    age_s: float | None = None
    gone_at: str = ""
    last_holders: tuple[str, ...] = ()
    own: bool = False
    references: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()
    let_go: str = ""


def explain_unknown(field: str, gaps: Iterable[Gap]) -> str:
    """Why a value is `~` here, and the remedy: in one line."""
    why = _TOLD_BY.get(field, "no source here tells it")
    words = {"fdinfo", "bufinfo", "bpf", "debugfs", "sysfs", "fd", "proc", "process"}
    told = f"{why}".lower()
    for gap in gaps:
        text = f"{gap.what} {gap.why}".lower()
        if gap.remedy and any(word in told and word in text for word in words):
            return f"{why}. Here: {gap.what}: {gap.why}; {gap.remedy}"
    return f"{why}; not here"


def name_cell(buffer: Buffer) -> str:
    """A name as it is shown: `(unnamed)` where there is none, `~` where no source tells names."""
    return buffer.name or (UNNAMED if buffer.told("name") else "~")


def buffer_details(buffer: Buffer, story: BufferStory, gaps: Sequence[Gap]) -> list[Line]:
    """Identity and numbers with their sources, holders as a tree, attachments, fences, hidden references, history."""
    lines: list[Line] = [((f"{name_cell(buffer)}", "strong"), (f"  inode {buffer.inode}", "dim"))]
    if story.gone_at:
        lines.append(((f"- gone since {story.gone_at}; all below is as it was last seen", "gone"),))
    if story.own:
        lines.append((("* held by heaptop's own test allocation", "own"),))
    lines += _facts(buffer, gaps)
    lines += _holders(buffer)
    lines += _told_list("Attachments", "attachments", buffer.attachments, gaps)
    fences = None
    if buffer.fences is not None:
        fences = [f"{fence.usage} {fence.text}{' signalled' if fence.signalled else ''}" for fence in buffer.fences]
    lines += _told_list("Fences", "fences", fences, gaps)
    lines += _hidden(buffer, story.parts, gaps)
    lines += _place(buffer, gaps)
    return lines + _history(buffer, story)


def _head(text: str) -> list[Line]:
    return [(), ((text, "title"),)]


def _facts(buffer: Buffer, gaps: Sequence[Gap]) -> list[Line]:
    size = None if buffer.size_bytes is None else f"{buffer.size_bytes:,} bytes, {format_size(buffer.size_bytes)}"
    count = None if buffer.file_count is None else str(buffer.file_count)
    rows = [
        ("inode", "inode", str(buffer.inode)),
        ("name", "name", name_cell(buffer) if buffer.told("name") or buffer.name else None),
        ("exporter", "exporter", buffer.exporter),
        ("heap", "heap", buffer.heap),
        ("size", "size_bytes", size),
        ("file count", "file_count", count),
    ]
    lines = _head("Identity")
    for label, field, value in rows:
        if value is None:
            lines.append(((f" {label:<11}", "dim"), ("~ ", "unknown"), (explain_unknown(field, gaps), "dim")))
        else:
            told = ", ".join(buffer.provenance.get(field, ()))
            lines.append(((f" {label:<11}", "dim"), (value, ""), (f"  {told}" if told else "", "dim")))
    return lines


def fd_flags(flags: int | None) -> str:
    """`rw cloexec`: how an fd is open, from open(2)'s flags; `~` where not told.

    >>> fd_flags(0o2000002)
    'rw cloexec'
    """
    if flags is None:
        return "~"
    mode = {0: "ro", 1: "wo", 2: "rw"}.get(flags & O_ACCMODE, "?")
    return f"{mode} cloexec" if flags & O_CLOEXEC else mode


def _holders(buffer: Buffer) -> list[Line]:
    count = len(buffer.holders)
    if not count:
        text = " nobody seen: no visible fd or mapping refers to it"
        return [*_head("Held by"), (("? ", "orphan"), (text.strip(), "orphan"))]
    lines = _head(f"Held by {count} process{'' if count == 1 else 'es'}")
    for holder in buffer.holders:
        lines.append(((f" {holder.process.pid} ", "dim"), (holder.comm, "strong")))
        lines += [_fd_line(fd) for fd in holder.fds]
        lines += [_map_line(map_) for map_ in holder.maps]
    return lines


def _fd_line(fd: FdRef) -> Line:
    where = f"  own table of thread {fd.tid}" if fd.tid is not None else ""
    return ((f"   fd {fd.fd}", ""), (f"  {fd_flags(fd.flags)}{where}", "dim"))


def _map_line(map_: MapRef) -> Line:
    text = f"   map {map_.start:#x}  {format_size(map_.length_bytes)}"
    return ((text, ""), (f"  at offset {map_.offset_bytes:#x}  {map_.perms}", "dim"))


def _told_list(title: str, field: str, values: Sequence[str] | None, gaps: Sequence[Gap]) -> list[Line]:
    lines = _head(title)
    if values is None:
        return [*lines, ((" ~ ", "unknown"), (explain_unknown(field, gaps), "dim"))]
    return lines + [((f" {value}", ""),) for value in values] if values else [*lines, ((" none", "dim"),)]


def _hidden(buffer: Buffer, parts: Sequence[Part], gaps: Sequence[Gap]) -> list[Line]:
    lines = _head("Hidden references")
    if buffer.hidden_refs is None:
        return [*lines, ((" ~ ", "unknown"), (explain_unknown("hidden_refs", gaps), "dim"))]
    sum_ = (
        f" {buffer.hidden_refs} = file count {buffer.file_count} - {buffer.fd_count} fds - {buffer.map_count} mappings"
    )
    lines.append(((sum_, "strong" if buffer.hidden_refs else ""),))
    for part in parts:
        doubt = "" if part.is_certain or part.kind is Kind.UNSEEN else "maybe "
        lines.append(((f"   {part.references} ", ""), (f"{doubt}{part.kind} ", "strong"), (part.who, "dim")))
    if any(part.kind is Kind.UNSEEN for part in parts):
        lines.append((("   such as a GEM handle, a driver's own, or a process that may not be read", "dim"),))
    return lines


def _place(buffer: Buffer, gaps: Sequence[Gap]) -> list[Line]:
    """How contiguous it is, and its first runs of page frames."""
    lines = _head("In memory")
    runs = buffer.runs
    if runs is None:
        return [*lines, ((" ~ ", "unknown"), (explain_unknown("runs", gaps), "dim"))]
    by_order = " ".join(f"{order}:{count}" for order, count in enumerate(runs_by_order(runs)) if count)
    count = f" {len(runs)} run{'' if len(runs) == 1 else 's'}"
    lines.append(((count, "strong"), (f" of pages, by order {by_order}", "dim")))
    lines += [((f"   pfn {run.pfn:#x}", ""), (f"  {run.count_pages:,} pages", "dim")) for run in runs[:RUNS_SHOWN]]
    return lines if len(runs) <= RUNS_SHOWN else [*lines, ((f"   … and {len(runs) - RUNS_SHOWN:,} more", "dim"),)]


def _history(buffer: Buffer, story: BufferStory) -> list[Line]:
    lines = _head("History")
    if story.first_seen:
        lines.append(((" first seen ", "dim"), (story.first_seen, ""), (f", {format_age(story.age_s)} ago", "dim")))
    if len(story.references) > 1:
        lines.append(((" references ", "dim"), (" → ".join(map(str, story.references)), "")))
    if story.gone_at:
        lines.append(((" gone since ", "dim"), (story.gone_at, "gone")))
    if story.last_holders and not buffer.holders:
        until = (f", until {story.let_go}", "") if story.let_go else ("", "")
        lines.append(((" last held by ", "dim"), (", ".join(story.last_holders), ""), until))
    return lines


@dataclass(frozen=True, slots=True)
class ProcessStory:
    """What the session and this machine know of a process besides the snapshot."""

    user: str = ""
    growth_bytes: int | None = None
    threads: Mapping[int, str] | None = None


def process_details(process: Process, held: Sequence[Buffer], story: ProcessStory) -> list[Line]:
    """User, command line, cgroup, threads with an own table, libraries, oom_score_adj, sums and the buffers."""
    lines: list[Line] = [((process.comm, "strong"), (f"  pid {process.id.pid}", "dim")), ()]
    user = None if process.uid is None else (f"{story.user} ({process.uid})" if story.user else str(process.uid))
    threads = ", ".join(map(str, process.threads_with_own_table)) or "none"
    rows = [
        ("user", user),
        ("command", None if process.cmdline is None else " ".join(process.cmdline) or "(empty: a kernel thread)"),
        ("cgroup", process.cgroup),
        ("threads with", None),
        ("links", None if process.libraries is None else ", ".join(process.libraries) or "no library for buffers"),
        ("oom adjust", None if process.oom_score_adj is None else str(process.oom_score_adj)),
        ("started", None if process.id.start_time is None else f"{process.id.start_time} ticks after boot"),
        ("RSS", f"{process.rss_bytes:,} bytes, {format_size(process.rss_bytes)}: each buffer whole"),
        ("PSS", f"{process.pss_bytes:,} bytes, {format_size(process.pss_bytes)}: each by its processes"),
        ("growth", "~" if story.growth_bytes is None else f"{format_delta(story.growth_bytes)} since first seen"),
    ]
    for label, value in rows:
        if label == "threads with":
            lines.append(((" own tables  ", "dim"), (threads, "")))
        else:
            shown = (value, "") if value is not None else ("~ not readable here", "unknown")
            lines.append(((f" {label:<12}", "dim"), shown))
    lines += _head(f"{len(held)} buffer{'' if len(held) == 1 else 's'}")
    for buffer in sorted(held, key=lambda one: -(one.size_bytes or 0)):
        lines.append(((f" {buffer.inode:>6} {format_size(buffer.size_bytes):>9} ", ""), (name_cell(buffer), "strong")))
        lines.append(((f"        {how_held(buffer, process.id)}", "dim"),))
    return lines


def how_held(buffer: Buffer, process: ProcessId) -> str:
    """`fd 14 17 · map rw · also app-gallery, surfaceflinger`: how this process holds it, and who does besides."""
    mine = [holder for holder in buffer.holders if holder.process == process]
    parts = [part for holder in mine for part in _ways(holder)]
    others = [holder.comm for holder in buffer.holders if holder.process != process]
    if others:
        parts.append(f"also {', '.join(others[:4])}{f' +{len(others) - 4}' if len(others) > 4 else ''}")
    return printable(" · ".join(parts))


def _ways(holder: Holder) -> list[str]:
    ways = []
    for tid, fds in groupby(sorted(holder.fds, key=lambda fd: (fd.tid or 0, fd.fd)), key=lambda fd: fd.tid):
        numbers = [fd.fd for fd in fds]
        text = "fd " + " ".join(map(str, numbers[:6])) + (f" +{len(numbers) - 6}" if len(numbers) > 6 else "")
        ways.append(text if tid is None else f"{text} (thread {tid})")
    if holder.maps:
        perms = "".join(sorted({flag for map_ in holder.maps for flag in map_.perms if flag in "rwx"}))
        ways.append(f"map {perms}" if len(holder.maps) == 1 else f"{len(holder.maps)} maps {perms}")
    return ways or _counted(holder)


def _counted(holder: Holder) -> list[str]:
    """What a dump tells that names neither descriptors nor mappings."""
    ways = []
    for count, noun in ((holder.fd_count, "fd"), (holder.map_count, "mapping")):
        if count:
            ways.append(f"{count} {noun}{'s' if count > 1 else ''}")
    return ways


def gap_lines(gaps: Sequence[Gap]) -> list[Line]:
    """What could not be read, why, and what to do about it."""
    lines: list[Line] = []
    for gap in gaps:
        lines += [((gap.what, "strong"),), ((f"  {gap.why}", ""),)]
        if gap.remedy:
            lines.append(((f"  → {gap.remedy}", "grown"),))
        lines.append(())
    return lines or [(("all that this kernel has was read", "dim"),)]
