"""What the programs that find holders write: records in memory that is shared with them."""

import struct
from dataclasses import dataclass
from typing import Final

TASKS: Final = "bpf_iter_task"
FILES: Final = "bpf_iter_task_file"
MAPPINGS: Final = "bpf_iter_task_vma"
"""The iterators, by the function that stands for each in BTF."""

PROCESS, DESCRIPTOR, RING, MAPPING, ODD = range(1, 6)
"""Kinds of records. A ring is an io_uring, which may hide buffers; a process with an odd one must be read in /proc."""
RECORD: Final = struct.Struct("<IIIIQQQIIQQQq64sqIIQ32s")
"""Kind, process, descriptor, device, inode, bytes, blocks, mode, links; position or start, flags or end, page offset;
length of the name with its end, or an error; the name; file count, mount, (nothing,) the bits of close-on-exec among
which is the descriptor's, exporter. A process has other things there: see `Making.process`."""
NAME_BYTES: Final = 64
HEADER: Final = struct.Struct("<Q8x")
"""Start of the memory that is shared: bytes of the records that there are, or would be."""

AT_KIND, AT_PROCESS, AT_DESCRIPTOR, AT_DEVICE, AT_INODE, AT_SIZE, AT_BLOCKS = 0, 4, 8, 12, 16, 24, 32
AT_COUNT, AT_MOUNT, AT_CLOSES, AT_EXPORTER = 144, 152, 160, 168
EXPORTER_BYTES: Final = 32
AT_MODE, AT_LINKS, AT_START, AT_END, AT_OFFSET, AT_LENGTH, AT_NAME = 40, 44, 48, 56, 64, 72, 80


@dataclass(frozen=True, slots=True)
class StandIns:
    """Files that stand for buffers: those of a device whose names begin so."""

    device: int
    prefix: bytes


@dataclass(frozen=True, slots=True)
class Shared:
    """Maps of the programs: where records go, and a bit for each process that is wanted; fds, and sizes in bytes."""

    records_fd: int
    records_bytes: int
    wanted_fd: int
    wanted_bytes: int
    queue_fd: int
    queue_bytes: int
