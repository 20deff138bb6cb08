"""The quick way to find holders: one program on the iterator over tasks.

For each wanted process it follows the fd table, and the maple tree of the mappings: nothing is done for what is not
wanted, no file is held and no lock taken. A table that was exchanged meanwhile is told as odd, as is a memory whose
tree comes to another number of mappings than the kernel has counted: it changed just then, or this kernel's trees are
other than those known here. It takes functions that the kernel offers to programs (6.4 on).
"""

from typing import Final

from heaptop.scan.bpf_asm import (
    EQUAL,
    GREATER,
    NOT_EQUAL,
    PROBE_READ_KERNEL,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    R9,
    SIGNED_LESS,
    STACK,
)
from heaptop.scan.bpf_making import BELOW, DESCRIPTOR_AT, Making
from heaptop.scan.bpf_records import ODD, Shared, StandIns
from heaptop.scan.btf import FUNC, Types

_TABLE, _MEMORY, _COUNTER, _SLOTS, _NODE = (BELOW - 8 * i for i in range(5))
"""What else stands on the stack."""
_ZERO, _TAIL, _MARKS, _QUEUE = 0, 8, 16, 24
"""Where in the queue's memory there is a zero (the verifier does not know that it is one, and so need not tell states
apart by it), the bytes of the queue, the slots of a leaf that are marked, and the queue itself."""
_TYPE_SHIFT: Final = 3
_LEAF, _INNER = 1, 3
_LEAF_SLOTS, _INNER_SLOTS = 16, 10
"""Maple trees of memories (include/linux/maple_tree.h, 6.1 on): where a node's address has its type, the two types of
nodes that there are in them, and how many slots these have on 64-bit machines."""


def walk_program(types: Types, shared: Shared, stand_ins: StandIns | None = None) -> bytes:
    """For the iterator `TASKS`. Raises BtfError where the kernel lacks something that it needs."""
    walk = _Walk(types, shared, stand_ins, can_cast=True)
    walk.begin_with_task()
    walk.process()
    walk.table()
    walk.mappings()
    return walk.end()


class _Walk(Making):
    """R8 and R9 are for who is at work, R7 is the number of mappings."""

    holds_file = False

    # ---- descriptors ----

    def table(self) -> None:
        """Each slot of the fd table. A table that was exchanged meanwhile is told as odd."""
        asm = self.asm
        again, done, over = self.label(), self.label(), self.label()
        asm.load(R1, R6, self.task("files"))
        asm.store(STACK, _TABLE, R1)
        asm.jump_if(R1, EQUAL, 0, over)
        asm.load(R1, R1, self.types.offset("files_struct", "fdt"))
        asm.load(R8, R1, self.types.offset("fdtable", "fd"))
        asm.load_32(R3, R1, self.types.offset("fdtable", "max_fds"))
        self.count_to(_COUNTER, 0)
        asm.label(again)
        self.next_of(_COUNTER, done)
        asm.load_32(R1, R0, 0)
        asm.store(STACK, DESCRIPTOR_AT, R1)
        self.file_in_slot()
        asm.move(R9, R0)
        asm.jump_if(R9, EQUAL, 0, again)
        self.descriptor(again)
        asm.jump(again)
        asm.label(done)
        self.end_of(_COUNTER)
        asm.load(R1, R6, self.task("files"))
        asm.load(R2, STACK, _TABLE)
        asm.jump_if_register(R1, EQUAL, R2, over)
        self.record(ODD)
        self.write()
        asm.label(over)

    def file_in_slot(self) -> None:
        """R0 = the file at the number on the stack, of the slots at R8."""
        self.asm.load(R2, STACK, DESCRIPTOR_AT)
        self.asm.move(R1, R8)
        self.pointer_in_slot("bpf_iter__task_file", "file")

    def jump_if_changed(self, other: str) -> None:
        """As nobody holds it."""
        self.file_in_slot()
        self.asm.jump_if_register(R0, NOT_EQUAL, R9, other)

    # ---- mappings ----

    def mappings(self) -> None:
        """All mappings of the task's memory: the nodes of its maple tree, one after the other, by a queue of them.
        Where it comes to another number of mappings than the kernel has counted, the process is odd.
        """
        asm, types = self.asm, self.types
        again, done, inner, odd, over = (self.label() for _ in range(5))
        tree = types.offset("mm_struct", "mm_mt")
        asm.load(R1, R6, self.task("mm"))
        asm.store(STACK, _MEMORY, R1)
        asm.jump_if(R1, EQUAL, 0, over)
        asm.load(R2, R1, tree + types.offset("maple_tree", "ma_root"))
        asm.map_value(R3, self.shared.queue_fd)
        asm.store(R3, _QUEUE, R2)
        asm.constant(R2, 8)
        asm.store(R3, _TAIL, R2)
        asm.load(R7, R3, _ZERO)
        self.count_to(_COUNTER, (self.shared.queue_bytes - _QUEUE) // 8)
        asm.label(again)
        self.next_of(_COUNTER, done)
        self.node_in_queue(done)
        asm.store(STACK, _NODE, R1)
        asm.right(R2, _TYPE_SHIFT)
        asm.mask(R2, 15)
        asm.jump_if(R2, EQUAL, _INNER, inner)
        asm.jump_if(R2, NOT_EQUAL, _LEAF, done)
        self.leaf(again)
        asm.label(inner)
        self.inner_node(done)
        asm.jump(again)
        asm.label(done)
        self.end_of(_COUNTER)
        asm.load(R1, R6, self.task("mm"))
        asm.load(R2, STACK, _MEMORY)
        asm.jump_if_register(R1, NOT_EQUAL, R2, odd)
        asm.load_32(R1, R1, types.offset("mm_struct", "map_count"))
        asm.jump_if_register(R1, EQUAL, R7, over)
        asm.label(odd)
        self.record(ODD)
        self.write()
        asm.label(over)

    def node_in_queue(self, done: str) -> None:
        """R1 = the address of the node whose number is at R0, R2 = the same with its type; else to `done`."""
        asm = self.asm
        asm.load_32(R1, R0, 0)
        asm.left(R1, 3)
        asm.jump_if(R1, GREATER, self.shared.queue_bytes - _QUEUE - 8, done)
        asm.map_value(R2, self.shared.queue_fd)
        asm.load(R3, R2, _TAIL)
        asm.jump_if_register(R1, EQUAL, R3, done)
        asm.add_register(R2, R1)
        asm.load(R2, R2, _QUEUE)
        asm.move(R1, R2)
        asm.mask(R1, ~255)

    def inner_node(self, done: str) -> None:
        """The nodes below the one on the stack join the queue; to `done` where there is no room."""
        asm, types = self.asm, self.types
        asm.load(R1, STACK, _NODE)
        asm.move(R9, R1)
        self.cast("maple_arange_64")
        asm.load_8(R8, R0, types.offset("maple_arange_64", "meta", "end"))
        asm.jump_if(R8, GREATER, _INNER_SLOTS - 1, done)
        asm.map_value(R1, self.shared.queue_fd)
        asm.load(R2, R1, _TAIL)
        asm.jump_if(R2, GREATER, self.shared.queue_bytes - _QUEUE - 8 * _INNER_SLOTS, done)
        asm.add(R8, 1)
        asm.left(R8, 3)
        asm.add_register(R8, R2)
        asm.store(R1, _TAIL, R8)
        asm.add_register(R1, R2)
        asm.add(R1, _QUEUE)
        asm.constant(R2, 8 * _INNER_SLOTS)
        asm.move(R3, R9)
        asm.add(R3, types.offset("maple_arange_64", "slot"))
        asm.call(PROBE_READ_KERNEL)

    def leaf(self, again: str) -> None:
        """Counts the mappings of the node on the stack, and marks those of buffers; then come their records."""
        asm, types = self.asm, self.types
        scanned, whole, marked = self.label(), self.label(), self.label()
        slots, name = types.offset("maple_range_64", "slot"), "maple_range_64"
        asm.load(R1, STACK, _NODE)
        self.cast(name)
        asm.move(R8, R0)
        asm.constant(R9, _LEAF_SLOTS - 1)
        asm.load(R1, R8, types.offset(name, "pivot") + 8 * (_LEAF_SLOTS - 2))
        asm.jump_if(R1, NOT_EQUAL, 0, whole)
        asm.load(R9, R8, types.offset(name, "meta", "end"))  # by the slot that is in its place
        asm.mask(R9, 255)
        asm.label(whole)
        for slot in range(_LEAF_SLOTS):
            self.slot(slot, slots + 8 * slot, scanned)
        asm.label(scanned)
        asm.map_value(R3, self.shared.queue_fd)
        asm.load(R9, R3, _MARKS)
        asm.jump_if(R9, EQUAL, 0, again)
        asm.constant(R2, 0)
        asm.store(R3, _MARKS, R2)
        self.count_to(_SLOTS, _LEAF_SLOTS)
        asm.label(marked)
        self.next_of(_SLOTS, over := self.label())
        asm.load_32(R2, R0, 0)
        asm.move(R1, R9)
        asm.right_register(R1, R2)
        asm.mask(R1, 1)
        asm.jump_if(R1, EQUAL, 0, marked)
        asm.load(R1, STACK, _NODE)
        asm.add(R1, slots)
        self.pointer_in_slot("bpf_iter__task_vma", "vma")
        asm.move(R8, R0)
        self.mapping(R8, marked)
        asm.jump(marked)
        asm.label(over)
        self.end_of(_SLOTS)
        asm.jump(again)

    def slot(self, slot: int, at: int, scanned: str) -> None:
        """One of the leaf at R8, whose last one is R9; to `scanned` after that."""
        asm, following, is_address = self.asm, self.label(), self.label()
        if slot:
            asm.jump_if(R9, EQUAL, slot - 1, scanned)
        asm.load(R1, R8, at)
        asm.jump_if(R1, SIGNED_LESS, 0, is_address)
        asm.jump(following)
        asm.label(is_address)
        asm.add(R7, 1)
        self.cast("vm_area_struct")
        self.jump_if_other_mapping(R0, following)
        asm.map_value(R3, self.shared.queue_fd)
        asm.load(R2, R3, _MARKS)
        asm.set_bits(R2, 1 << slot)
        asm.store(R3, _MARKS, R2)
        asm.label(following)

    # ---- what the kernel offers to programs ----

    def count_to(self, at: int, count: int) -> None:
        """Begin to count from 0 on, with the state on the stack. R3 is the end where `count` is 0."""
        self.asm.stack(R1, at)
        self.asm.constant(R2, 0)
        if count:
            self.asm.constant(R3, count)
        self.asm.call_kernel(self.types.id_of("bpf_iter_num_new", FUNC))

    def next_of(self, at: int, done: str) -> None:
        """R0 = the address of the next number; to `done` where there is none."""
        self.asm.stack(R1, at)
        self.asm.call_kernel(self.types.id_of("bpf_iter_num_next", FUNC))
        self.asm.jump_if(R0, EQUAL, 0, done)

    def end_of(self, at: int) -> None:
        """End it, which the verifier insists on."""
        self.asm.stack(R1, at)
        self.asm.call_kernel(self.types.id_of("bpf_iter_num_destroy", FUNC))

    def pointer_in_slot(self, context: str, member: str) -> None:
        """R0 = the pointer in slot R2 of those at R1, by a struct that has such a member."""
        at = self.types.offset(context, member)
        self.asm.left(R2, 3)
        self.asm.add_register(R1, R2)
        self.asm.add(R1, -at)
        self.cast(context)
        self.asm.load(R0, R0, at)
