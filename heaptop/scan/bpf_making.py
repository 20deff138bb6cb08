"""The parts of the programs that find holders: they follow tasks, files and mappings to what a record tells of them.

Offsets are those of the kernel's own BTF. Tasks, tables and files are read as they are, under RCU; what is gone by then
reads as zeros.
"""

from typing import Final

from heaptop.scan.bpf_asm import (
    EQUAL,
    GREATER,
    NOT_EQUAL,
    PROBE_READ_KERNEL,
    PROBE_READ_KERNEL_STR,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R9,
    SET,
    STACK,
    Assembler,
)
from heaptop.scan.bpf_programs import file_count
from heaptop.scan.bpf_records import (
    AT_BLOCKS,
    AT_CLOSES,
    AT_COUNT,
    AT_DESCRIPTOR,
    AT_DEVICE,
    AT_END,
    AT_EXPORTER,
    AT_INODE,
    AT_KIND,
    AT_LENGTH,
    AT_LINKS,
    AT_MODE,
    AT_MOUNT,
    AT_NAME,
    AT_OFFSET,
    AT_PROCESS,
    AT_SIZE,
    AT_START,
    DESCRIPTOR,
    EXPORTER_BYTES,
    HEADER,
    MAPPING,
    NAME_BYTES,
    ODD,
    PROCESS,
    RECORD,
    RING,
    Shared,
    StandIns,
)
from heaptop.scan.btf import FUNC, STRUCT, Types

_DMA_BUF_MAGIC: Final = 0x444D4142
_ANON_INODE_MAGIC: Final = 0x09041934
"""include/uapi/linux/magic.h: of the file systems of dma-bufs (5.3 on) and of files without a place."""
_RING_NAME: Final = b"[io_urin"
_KERNEL_THREAD: Final = 0x00200000
"""PF_KTHREAD (include/linux/sched.h)."""

ROW: Final = -RECORD.size
DESCRIPTOR_AT, _FILE, BELOW = (ROW - 8 * i for i in range(1, 4))
"""On the stack: the record that is being made, the descriptor's number, a file; what is below is for others."""


class Making:
    """R6 is the task, R7 the context at first; R8 and R9 are for who is at work. Where addresses can be `cast`, the
    task is one that is: the verifier need not ask of each of its members whether it is to be trusted, which is slow.
    """

    holds_file = True
    """Whether the iterator has a reference of its own to the file that it is at."""

    def __init__(self, types: Types, shared: Shared, stand_ins: StandIns | None, *, can_cast: bool) -> None:
        self.asm = Assembler()
        self.types = types
        self.shared = shared
        self.stand_ins = stand_ins
        self.can_cast = can_cast
        self.labels = 0

    def label(self) -> str:
        """A new one."""
        self.labels += 1
        return f"label {self.labels}"

    def end(self) -> bytes:
        """The program."""
        self.asm.label("end")
        self.asm.leave()
        return self.asm.program()

    def task(self, *path: str) -> int:
        """Offset of a task's member."""
        return self.types.offset("task_struct", *path)

    def begin(self, context: str) -> None:
        """The task, if it is of a process that is wanted: no kernel thread."""
        asm = self.asm
        asm.move(R7, R1)
        asm.load(R6, R7, self.types.offset(context, "task"))
        asm.jump_if(R6, EQUAL, 0, "end")
        if self.can_cast:
            asm.move(R1, R6)
            self.cast("task_struct")
            asm.move(R6, R0)
        asm.load_32(R1, R6, self.task("flags"))
        asm.jump_if(R1, SET, _KERNEL_THREAD, "end")
        asm.load_32(R1, R6, self.task("tgid"))
        asm.move(R2, R1)
        asm.right(R2, 6)
        asm.jump_if(R2, GREATER, self.shared.wanted_bytes // 8 - 1, "end")
        asm.left(R2, 3)
        asm.map_value(R3, self.shared.wanted_fd)
        asm.add_register(R3, R2)
        asm.load(R3, R3, 0)
        asm.mask(R1, 63)
        asm.right_register(R3, R1)
        asm.mask(R3, 1)
        asm.jump_if(R3, EQUAL, 0, "end")

    def begin_with_task(self) -> None:
        """The leader of a process; a thread that has a table of its own is told as odd."""
        asm, is_leader = self.asm, self.label()
        self.begin("bpf_iter__task")
        asm.load_32(R1, R6, self.task("tgid"))
        asm.load_32(R2, R6, self.task("pid"))
        asm.jump_if_register(R1, EQUAL, R2, is_leader)
        asm.load(R1, R6, self.task("files"))
        asm.jump_if(R1, EQUAL, 0, "end")
        asm.load(R2, R6, self.task("group_leader"), self.task("files"))
        asm.jump_if_register(R1, EQUAL, R2, "end")
        self.record(ODD)
        self.write()
        asm.jump("end")
        asm.label(is_leader)

    def begin_with_leader(self, context: str) -> None:
        """The leader of a process alone."""
        self.begin(context)
        self.asm.load_32(R1, R6, self.task("tgid"))
        self.asm.load_32(R2, R6, self.task("pid"))
        self.asm.jump_if_register(R1, NOT_EQUAL, R2, "end")

    def record(self, kind: int) -> None:
        """A new record of this process. What is not put into it is what was there before."""
        self.asm.constant(R1, kind)
        self.put_32(AT_KIND, R1)
        self.asm.load_32(R1, R6, self.task("tgid"))
        self.put_32(AT_PROCESS, R1)

    def put(self, at: int, register: int) -> None:
        """8 bytes of the record."""
        self.asm.store(STACK, ROW + at, register)

    def put_32(self, at: int, register: int) -> None:
        """4 bytes of the record."""
        self.asm.store_32(STACK, ROW + at, register)

    def write(self) -> None:
        """The record goes where the last one ended; it is counted even where there is no room."""
        asm, full = self.asm, self.label()
        asm.map_value(R1, self.shared.records_fd)
        asm.load(R2, R1, 0)
        asm.move(R3, R2)
        asm.add(R3, RECORD.size)
        asm.store(R1, 0, R3)
        asm.jump_if(R2, GREATER, self.shared.records_bytes - HEADER.size - RECORD.size, full)
        asm.add_register(R1, R2)
        asm.add(R1, HEADER.size)
        asm.constant(R2, RECORD.size)
        asm.stack(R3, ROW)
        asm.call(PROBE_READ_KERNEL)
        asm.label(full)

    # ---- processes ----

    def process(self) -> None:
        """What tells whether anything of it has changed, with its table first."""
        asm = self.asm
        self.record(PROCESS)
        asm.constant(R1, 0)
        for at in (AT_DESCRIPTOR, AT_OFFSET, AT_LENGTH):
            self.put(at, R1)
        for at, name in (
            (AT_INODE, "files"),
            (AT_SIZE, "mm"),
            (AT_BLOCKS, "start_boottime"),
            (AT_START, "self_exec_id"),
        ):
            asm.load(R1, R6, self.task(name))
            self.put(at, R1)
        credentials = self.task("real_cred")
        for at, name in ((AT_MODE, "uid"), (AT_LINKS, "euid")):
            asm.load(R1, R6, credentials)
            asm.load_32(R1, R1, self.types.offset("cred", name, "val"))
            self.put_32(at, R1)
        asm.load(R1, R6, self.task("signal"))
        asm.load_16(R1, R1, self.types.offset("signal_struct", "oom_score_adj"))
        self.put(AT_END, R1)
        asm.stack(R1, ROW + AT_NAME)
        asm.constant(R2, 16)
        asm.move(R3, R6)
        asm.add(R3, self.task("comm"))
        asm.call(PROBE_READ_KERNEL)
        self.write()

    # ---- descriptors ----

    def descriptor(self, other: str) -> None:
        """A record of the file at R9, where it is a buffer or a ring; else to `other`."""
        asm, types = self.asm, self.types
        ring, write = self.label(), self.label()
        asm.load(R1, R9, types.offset("file", "f_inode"), types.offset("inode", "i_sb"))
        asm.load(R2, R1, types.offset("super_block", "s_magic"))
        asm.jump_if(R2, EQUAL, _ANON_INODE_MAGIC, ring)
        self.jump_if_no_buffer(other)
        self.record(DESCRIPTOR)
        self.describe(R9, other)
        asm.load(R1, R9, types.offset("file", "f_pos"))
        self.put(AT_START, R1)
        asm.load_32(R1, R9, types.offset("file", "f_flags"))
        self.put(AT_END, R1)
        asm.constant(R1, 0)
        self.put(AT_OFFSET, R1)
        self.info()
        asm.jump(write)
        asm.label(ring)
        self.record(RING)
        self.read_name(R9)
        asm.load(R1, STACK, ROW + AT_NAME)
        asm.constant(R2, int.from_bytes(_RING_NAME, "little"))
        asm.jump_if_register(R1, NOT_EQUAL, R2, other)
        asm.label(write)
        asm.load(R1, STACK, DESCRIPTOR_AT)
        self.put_32(AT_DESCRIPTOR, R1)
        self.jump_if_changed(other)
        self.write()

    def info(self) -> None:
        """What else fdinfo tells of the file at R9 (fs/proc/fd.c seq_show, drivers/dma-buf/dma-buf.c)."""
        asm, types = self.asm, self.types
        at, bias = file_count(types)
        asm.load(R1, R9, at)
        asm.add(R1, bias + (0 if self.holds_file else 1))
        self.put(AT_COUNT, R1)
        asm.load(R3, R9, types.offset("file", "f_path", "mnt"))
        asm.add(R3, types.offset("mount", "mnt_id") - types.offset("mount", "mnt"))
        self.copy(AT_MOUNT, 4)
        asm.load(R3, R6, self.task("files"), types.offset("files_struct", "fdt"))
        asm.load(R3, R3, types.offset("fdtable", "close_on_exec"))
        asm.load(R2, STACK, DESCRIPTOR_AT)
        asm.right(R2, 6)
        asm.left(R2, 3)
        asm.add_register(R3, R2)
        self.copy(AT_CLOSES, 8)
        if self.stand_ins is None:
            asm.load(R3, R9, types.offset("file", "private_data"))
            asm.add(R3, types.offset("dma_buf", "exp_name"))
            self.copy(AT_EXPORTER, 8)
            asm.load(R3, STACK, ROW + AT_EXPORTER)
            asm.stack(R1, ROW + AT_EXPORTER)
            asm.constant(R2, EXPORTER_BYTES)
            asm.call(PROBE_READ_KERNEL_STR)

    def copy(self, at: int, count_bytes: int) -> None:
        """From the address in R3 into the record."""
        self.asm.stack(R1, ROW + at)
        self.asm.constant(R2, count_bytes)
        self.asm.call(PROBE_READ_KERNEL)

    def jump_if_changed(self, other: str) -> None:
        """Where the descriptor is not that of the file at R9 any more; nobody can tell unless he holds it."""

    def jump_if_no_buffer(self, other: str) -> None:
        """By the super block in R1, and its magic in R2."""
        if self.stand_ins is None:
            self.asm.jump_if(R2, NOT_EQUAL, _DMA_BUF_MAGIC, other)
        else:
            self.asm.load_32(R2, R1, self.types.offset("super_block", "s_dev"))
            self.asm.jump_if(R2, NOT_EQUAL, self.stand_ins.device, other)

    def describe(self, file: int, other: str) -> None:
        """What stat and readlink tell of a buffer's file, in the record; to `other` where it has another name."""
        asm, types = self.asm, self.types
        asm.store(STACK, _FILE, file)
        asm.load(R1, file, types.offset("file", "f_inode"))
        for at, name in ((AT_INODE, "i_ino"), (AT_SIZE, "i_size"), (AT_BLOCKS, "i_blocks")):
            asm.load(R2, R1, types.offset("inode", name))
            self.put(at, R2)
        asm.load_16(R2, R1, types.offset("inode", "i_mode"))
        self.put_32(AT_MODE, R2)
        asm.load_32(R2, R1, types.offset("inode", "i_nlink"))
        self.put_32(AT_LINKS, R2)
        asm.load(R1, R1, types.offset("inode", "i_sb"))
        asm.load_32(R2, R1, types.offset("super_block", "s_dev"))
        self.put_32(AT_DEVICE, R2)
        asm.load(R1, STACK, _FILE)
        if self.stand_ins is not None:
            self.read_name(R1)
            self.jump_if_other_name(other)
            return
        asm.load(R3, R1, types.offset("file", "private_data"))
        asm.stack(R1, ROW + AT_NAME)
        asm.constant(R2, 8)
        asm.add(R3, types.offset("dma_buf", "name"))
        asm.call(PROBE_READ_KERNEL)
        asm.load(R3, STACK, ROW + AT_NAME)
        self.read_name_at_r3()

    def read_name(self, file: int) -> None:
        """The name of the file's directory entry."""
        self.asm.load(R1, file, self.types.offset("file", "f_path", "dentry"))
        self.asm.load(R3, R1, self.types.offset("dentry", "d_name", "name"))
        self.read_name_at_r3()

    def read_name_at_r3(self) -> None:
        """The text at that address."""
        self.asm.stack(R1, ROW + AT_NAME)
        self.asm.constant(R2, NAME_BYTES)
        self.asm.call(PROBE_READ_KERNEL_STR)
        self.put(AT_LENGTH, R0)

    def jump_if_other_name(self, other: str) -> None:
        """Where the record's name does not begin as that of a stand-in."""
        assert self.stand_ins is not None
        prefix = self.stand_ins.prefix
        for at in range(0, len(prefix), 8):
            part = prefix[at : at + 8]
            self.asm.load(R1, STACK, ROW + AT_NAME + at)
            if len(part) < 8:
                self.asm.left(R1, 64 - 8 * len(part))
            self.asm.constant(R2, int.from_bytes(part.rjust(8, b"\0"), "little"))
            self.asm.jump_if_register(R1, NOT_EQUAL, R2, other)

    # ---- mappings ----

    def jump_if_other_mapping(self, mapping: int, other: str) -> None:
        """Where it is none of a buffer."""
        asm, types = self.asm, self.types
        asm.load(R1, mapping, types.offset("vm_area_struct", "vm_file"))
        asm.jump_if(R1, EQUAL, 0, other)
        asm.load(R1, R1, types.offset("file", "f_inode"), types.offset("inode", "i_sb"))
        asm.load(R2, R1, types.offset("super_block", "s_magic"))
        self.jump_if_no_buffer(other)

    def mapping(self, mapping: int, other: str) -> None:
        """A record of a mapping of a buffer; to `other` where it is none any more."""
        asm, types = self.asm, self.types
        asm.load(R1, mapping, types.offset("vm_area_struct", "vm_file"))
        asm.jump_if(R1, EQUAL, 0, other)
        self.record(MAPPING)
        asm.load(R1, mapping, types.offset("vm_area_struct", "vm_file"))
        asm.store(STACK, _FILE, R1)
        self.describe(R1, other)
        for at, name in ((AT_START, "vm_start"), (AT_END, "vm_end"), (AT_OFFSET, "vm_pgoff")):
            asm.load(R1, mapping, types.offset("vm_area_struct", name))
            self.put(at, R1)
        asm.load_32(R1, mapping, types.offset("vm_area_struct", "vm_flags"))
        self.put_32(AT_DESCRIPTOR, R1)
        self.write()

    def cast(self, name: str) -> None:
        """R0 = the address in R1, as one of a struct: reading there may fail, and then gives 0 (6.2 on)."""
        self.asm.constant(R2, self.types.id_of(name, STRUCT))
        self.asm.call_kernel(self.types.id_of("bpf_rdonly_cast", FUNC))
