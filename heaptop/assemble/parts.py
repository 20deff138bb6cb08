"""What is told of a buffer, on its way from the sources to the model."""

from typing import NamedTuple

from heaptop.assemble.heaps import HeapNames
from heaptop.call_stack import Origin
from heaptop.capture import FdStat
from heaptop.model import FdRef, Holder, PageRun, Source
from heaptop.parse.bpf_iter import IterRow
from heaptop.parse.bufinfo import Row
from heaptop.parse.dump import DumpedBuffer
from heaptop.parse.fdinfo import DmabufFdinfo


class FdSight(NamedTuple):
    """A descriptor that refers to a buffer of known identity, and what it tells. `name` is the link's."""

    inode: int
    ref: FdRef
    stat: FdStat | None
    info: DmabufFdinfo | None
    name: bytes | None


class Holding(NamedTuple):
    """How one process holds one buffer, and what it told of it. `file_count` is the smallest it saw, `references` how
    many of its descriptors and mappings are not those of another process too (None: not told).
    """

    holder: Holder
    references: int | None
    stat: FdStat | None
    info: DmabufFdinfo | None
    file_count: int | None
    link_name: bytes | None
    map_name: bytes | None


class SysfsEntry(NamedTuple):
    """`/sys/kernel/dmabuf/buffers/INODE`, as far as it was readable. Attachments are devices, each with its number."""

    size: int | None = None
    exporter: bytes | None = None
    attachments: tuple[tuple[str, bytes], ...] = ()


class Parts(NamedTuple):
    """All that is told of one buffer. Equal parts make an equal buffer."""

    holdings: tuple[Holding, ...]
    row: Row | None
    entry: SysfsEntry | None
    trust_row: bool
    heap_names: HeapNames
    listed: IterRow | None = None
    runs: tuple[PageRun, ...] | None = None
    dumped: tuple[Source, DumpedBuffer] | None = None
    info: DmabufFdinfo | None = None
    origin: Origin | None = None

    @property
    def newest_info(self) -> DmabufFdinfo | None:
        """The fdinfo that was read last, as far as that is known."""
        return self.info or next((holding.info for holding in self.holdings if holding.info is not None), None)
