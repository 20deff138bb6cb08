"""Watching without BPF: tracepoints, and kprobes defined in tracefs, sampled by perf. The fall-back."""

import contextlib
import time
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from heaptop.errors import ParseError
from heaptop.model import Gap
from heaptop.parse import event_record, trace_format
from heaptop.parse.event_record import Step, What
from heaptop.parse.trace_format import Format
from heaptop.scan.files import read_file
from heaptop.trace.definitions import TRACEFS, Definitions
from heaptop.trace.layout import PIPES, RELEASE, layout_of_words, open_and_close
from heaptop.trace.perf_ring import SETTLE_S, Rings
from heaptop.trace.programs import Layout
from heaptop.trace.watch import CMA_TRACEPOINTS, CONFIGURE, NO_PROBES, RELEASES

_WORDS: Final = 16
"""How many words of struct inode, and of struct file, are looked at for their layout."""
_COMM: Final = "comm=$comm"
_LAYOUT: Final = "layout"
BPF: Final = "root, or CAP_BPF and CAP_PERFMON, on a kernel with CONFIG_BPF_EVENTS (5.8 on)"


class PerfWay:
    """A Way. Everything is open, or nothing is."""

    def __init__(self, held: contextlib.ExitStack) -> None:
        """Raises OSError where tracefs or perf cannot be had, or may not be used by this process."""
        self.watched: list[str] = []
        self.gaps: list[Gap] = [Gap("what watching costs those watched", "without BPF nobody counts it", BPF)]
        self._places: dict[int, tuple[What, Format]] = {}
        self._garbled = 0
        self._definitions = Definitions()
        held.callback(self._definitions.close)
        self._rings = Rings()
        held.callback(self._rings.close)  # before the definitions go: they cannot while they are watched
        self._watch_frees_and_exports(find_layout(self._definitions))
        self._watch_cma()
        self._watch_calls()

    @property
    def lost(self) -> int:
        """Records that found no room, or cannot be understood."""
        return self._rings.lost + self._garbled

    def steps(self, timeout_s: float) -> Iterable[Step]:
        """What happened, in the order of time."""
        for sample in self._rings.read(timeout_s):
            what, format_ = self._places[sample.number]
            try:
                fields = format_.decode(sample.raw)
            except ParseError:
                self._garbled += 1
                continue
            step = event_record.of_fields(what, sample.pid, sample.tid, sample.time_ns, fields)
            if step is not None:
                yield step

    def end(self) -> None:
        """Watch no more; a moment later all is there to be read."""
        self._rings.end()
        time.sleep(SETTLE_S)

    def kernel_s(self) -> float | None:
        """Nobody counts it."""
        return None

    def _watch_frees_and_exports(self, layout: Layout | None) -> None:
        if layout is None:
            self.gaps.append(Gap("frees, and the inodes of buffers", NO_PROBES, CONFIGURE))
            inode: tuple[str, ...] = ()
        else:
            number = f"inode=+{layout.inode_number}($arg1):u64"
            if not any(self._probe("p", What.RELEASED, name, number) for name in RELEASES):
                self.gaps.append(Gap("frees", NO_PROBES, CONFIGURE))
            inode = (f"inode=+{layout.inode_number}(+{layout.file_inode}(+8($retval))):u64",)
        ends = self._probe("r", What.EXPORTED, "dma_buf_export", "result=$retval:s64", "size=+0($retval):u64", *inode)
        begins = self._probe(
            "p", What.EXPORTING, "dma_buf_export", "size=+24($arg1):u64", "exporter=+0(+0($arg1)):string"
        )
        if not (ends or begins):
            self.gaps.append(Gap("allocations", NO_PROBES, CONFIGURE))

    def _watch_calls(self) -> None:
        ends = self._probe("r", What.RETURN, "dma_heap_ioctl", "result=$retval:s64")
        # Memory of the process is read by +u from 5.2 on, and by + before.
        sizes = ("size=+u0($arg3):u64", "size=+0($arg3):u64")
        if not (
            ends and any(self._probe("p", What.CALL, "dma_heap_ioctl", "command=$arg2:u32", size) for size in sizes)
        ):
            self.gaps.append(Gap("allocations that a heap refused, and latencies", NO_PROBES, CONFIGURE))

    def _watch_cma(self) -> None:
        missing = [name for what, name in CMA_TRACEPOINTS.items() if not self._tracepoint(what, name)]
        if missing:
            why = "the kernel has no such tracepoint"
            self.gaps.append(Gap(f"CMA failures ({', '.join(missing)})", why, ""))

    def _probe(self, kind: str, what: What, function: str, *arguments: str) -> bool:
        name = f"{what.name.lower()}_{len(self._places)}"
        format_ = self._definitions.add(kind, name, function, *arguments, _COMM)
        if format_ is None:
            return False
        self._begin(what, format_, f"{function}()")
        return True

    def _tracepoint(self, what: What, name: str) -> bool:
        texts = (read_file(f"{folder}/events/{name}/format") for folder in TRACEFS)
        text = next((text for text in texts if isinstance(text, bytes)), None)
        try:
            format_ = None if text is None else trace_format.parse(text)
        except ParseError:
            return False
        if format_ is None:
            return False
        self._begin(what, format_, name.replace("/", ":"))
        return True

    def _begin(self, what: What, format_: Format, shown: str) -> None:
        self._rings.watch(format_.id)
        self._places[format_.id] = what, format_
        if shown not in self.watched:
            self.watched.append(shown)


def find_layout(definitions: Definitions) -> Layout | None:
    """By experiment, as `heaptop.trace.layout` has it."""
    words = [f"{of}{n}=+{8 * n}($arg{number}):u64" for number, of in ((1, "i"), (2, "f")) for n in range(_WORDS)]
    format_ = definitions.add("p", _LAYOUT, RELEASE, "inode=$arg1:u64", *words)
    if format_ is None:
        return None
    rings = Rings()
    try:
        rings.watch(format_.id)
        inodes = [open_and_close() for _ in range(PIPES)]
        samples = rings.read(2 * SETTLE_S) + rings.read(2 * SETTLE_S)
    finally:
        rings.close()
        definitions.remove(_LAYOUT)
    seen = []
    for sample in samples:
        with contextlib.suppress(ParseError):
            fields = MappingProxyType(format_.decode(sample.raw))
            inode, file = ([int(fields[f"{of}{n}"]) for n in range(_WORDS)] for of in "if")
            seen.append((int(fields["inode"]), inode, file))
    return layout_of_words(seen, inodes)
