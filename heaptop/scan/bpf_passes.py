"""The other way to find holders: the kernel's iterators over tasks, descriptors (5.8 on) and mappings (5.12 on).

Each item is offered to a program, wanted or not, and the kernel holds the file, or locks the memory, meanwhile.
"""

from heaptop.scan.bpf_asm import (
    EQUAL,
    R1,
    R7,
    R8,
    R9,
    STACK,
)
from heaptop.scan.bpf_making import DESCRIPTOR_AT, Making
from heaptop.scan.bpf_records import FILES, MAPPINGS, TASKS, Shared, StandIns
from heaptop.scan.btf import FUNC, Types


def pass_programs(types: Types, shared: Shared, stand_ins: StandIns | None = None) -> dict[str, bytes]:
    """A program for each iterator. Raises BtfError where the kernel lacks one."""
    programs = {}
    for iterator in (TASKS, FILES, MAPPINGS):
        making = _Pass(types, shared, stand_ins, can_cast=False)
        types.id_of(iterator, FUNC)
        if iterator == TASKS:
            making.begin_with_task()
            making.process()
        elif iterator == FILES:
            making.one_descriptor()
        else:
            making.one_mapping()
        programs[iterator] = making.end()
    return programs


class _Pass(Making):
    """R7 is the context."""

    def one_descriptor(self) -> None:
        """That at which the iterator is, of a process's own table."""
        asm, context = self.asm, "bpf_iter__task_file"
        self.begin_with_leader(context)
        asm.load(R9, R7, self.types.offset(context, "file"))
        asm.jump_if(R9, EQUAL, 0, "end")
        asm.load_32(R1, R7, self.types.offset(context, "fd"))
        asm.store(STACK, DESCRIPTOR_AT, R1)
        self.descriptor("end")

    def one_mapping(self) -> None:
        """That at which the iterator is."""
        context = "bpf_iter__task_vma"
        self.begin_with_leader(context)
        self.asm.load(R8, R7, self.types.offset(context, "vma"))
        self.asm.jump_if(R8, EQUAL, 0, "end")
        self.jump_if_other_mapping(R8, "end")
        self.mapping(R8, "end")
