"""A small assembler of BPF instructions, 64-bit little-endian (Documentation/bpf/standardization/)."""

import struct
from typing import Final

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, STACK = range(11)
"""Registers: R0 results, R1 to R5 arguments (lost in a call), R6 to R9 kept, STACK the end of 512 bytes of stack."""

KTIME_GET_NS: Final = 5
GET_CURRENT_PID_TGID: Final = 14
GET_CURRENT_COMM: Final = 16
PROBE_READ_USER: Final = 112
PROBE_READ_KERNEL: Final = 113
PROBE_READ_KERNEL_STR: Final = 115
SEQ_PRINTF: Final = 126
SEQ_WRITE: Final = 127
RINGBUF_RESERVE: Final = 131
RINGBUF_SUBMIT: Final = 132
"""Helpers (include/uapi/linux/bpf.h)."""

EQUAL: Final = 0x10
GREATER: Final = 0x20
SET: Final = 0x40
NOT_EQUAL: Final = 0x50
SIGNED_LESS: Final = 0xC0
"""Conditions of a jump: unsigned, SET for `a & b`, and the last one signed."""

_MOVE, _CONSTANT, _ADD, _ADD_CONSTANT, _AND_CONSTANT, _OR_CONSTANT = 0xBF, 0xB7, 0x0F, 0x07, 0x57, 0x47
_MULTIPLY_CONSTANT, _LEFT_CONSTANT, _RIGHT_CONSTANT, _RIGHT = 0x27, 0x67, 0x77, 0x7F
_LOAD, _LOAD_32, _LOAD_16, _LOAD_8, _STORE, _STORE_32, _ATOMIC = 0x79, 0x61, 0x69, 0x71, 0x7B, 0x63, 0xDB
_LOAD_CONSTANT_64: Final = 0x18
_MAP: Final = 1
_MAP_VALUE: Final = 2
"""The 64-bit constant is the address of an array's first element: its map's fd, and an offset."""
_OF_THE_KERNEL: Final = 2
"""What is called is a function of the kernel, by its number in BTF (5.13 on)."""
_JUMP, _JUMP_IF_CONSTANT, _JUMP_IF, _MAY_GOTO, _CALL, _EXIT = 0x05, 0x05, 0x0D, 0xE5, 0x85, 0x95


class Assembler:
    """Collects instructions; offsets and sizes are bytes."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int, int]] = []
        self._labels: dict[str, int] = {}
        self._jumps: dict[int, str] = {}

    def program(self) -> bytes:
        """The instructions, with every jump resolved."""
        for at, label in self._jumps.items():
            opcode, target, source, _, constant = self._code[at]
            self._code[at] = opcode, target, source, self._labels[label] - at - 1, constant
        return b"".join(
            struct.pack("<BBhi", opcode, target | source << 4, offset, constant)
            for opcode, target, source, offset, constant in self._code
        )

    def _emit(self, opcode: int, target: int = 0, source: int = 0, offset: int = 0, constant: int = 0) -> None:
        self._code.append((opcode, target, source, offset, constant))

    def move(self, target: int, source: int) -> None:
        """`target` = source."""
        self._emit(_MOVE, target, source)

    def constant(self, target: int, value: int) -> None:
        """`target` = value, up to 64 bits."""
        if -(1 << 31) <= value < 1 << 31:
            self._emit(_CONSTANT, target, constant=value)
        else:
            self._wide(target, 0, *struct.unpack("<ii", struct.pack("<Q", value)))

    def map_value(self, target: int, map_fd: int) -> None:
        """`target` = the address of an array's only element."""
        self._wide(target, _MAP_VALUE, map_fd, 0)

    def map(self, target: int, map_fd: int) -> None:
        """`target` = a map, as helpers take it."""
        self._wide(target, _MAP, map_fd, 0)

    def _wide(self, target: int, source: int, low: int, high: int) -> None:
        self._emit(_LOAD_CONSTANT_64, target, source, constant=low)
        self._emit(0, constant=high)

    def add(self, target: int, value: int) -> None:
        """`target` += value."""
        self._emit(_ADD_CONSTANT, target, constant=value)

    def add_register(self, target: int, source: int) -> None:
        """`target` += source."""
        self._emit(_ADD, target, source)

    def mask(self, target: int, value: int) -> None:
        """`target` &= value, which is sign-extended."""
        self._emit(_AND_CONSTANT, target, constant=value)

    def set_bits(self, target: int, value: int) -> None:
        """`target` |= value, which is sign-extended."""
        self._emit(_OR_CONSTANT, target, constant=value)

    def multiply(self, target: int, value: int) -> None:
        """`target` *= value."""
        self._emit(_MULTIPLY_CONSTANT, target, constant=value)

    def left(self, target: int, bits: int) -> None:
        """`target` <<= bits."""
        self._emit(_LEFT_CONSTANT, target, constant=bits)

    def right(self, target: int, bits: int) -> None:
        """`target` >>= bits, as unsigned."""
        self._emit(_RIGHT_CONSTANT, target, constant=bits)

    def right_register(self, target: int, source: int) -> None:
        """`target` >>= source, as unsigned."""
        self._emit(_RIGHT, target, source)

    def load(self, target: int, source: int, *offsets: int) -> None:
        """`target` = the 8 bytes at source + offset; with several offsets, following a pointer at each but the last."""
        for offset in offsets:
            self._emit(_LOAD, target, source, offset)
            source = target

    def load_32(self, target: int, source: int, offset: int) -> None:
        """`target` = the 4 bytes at source + offset."""
        self._emit(_LOAD_32, target, source, offset)

    def load_16(self, target: int, source: int, offset: int) -> None:
        """`target` = the 2 bytes at source + offset."""
        self._emit(_LOAD_16, target, source, offset)

    def load_8(self, target: int, source: int, offset: int) -> None:
        """`target` = the byte at source + offset."""
        self._emit(_LOAD_8, target, source, offset)

    def store_32(self, target: int, offset: int, source: int) -> None:
        """The 4 bytes at target + offset = the low half of source."""
        self._emit(_STORE_32, target, source, offset)

    def store(self, target: int, offset: int, source: int) -> None:
        """The 8 bytes at target + offset = source."""
        self._emit(_STORE, target, source, offset)

    def add_to_memory(self, target: int, offset: int, source: int) -> None:
        """The 8 bytes at target + offset += source, at once for all processors."""
        self._emit(_ATOMIC, target, source, offset)

    def stack(self, target: int, offset: int) -> None:
        """`target` = the address STACK + offset."""
        self.move(target, STACK)
        self.add(target, offset)

    def clear_stack(self, offset: int, count_bytes: int) -> None:
        """Zeroes from STACK + offset on; R0 is lost."""
        self.constant(R0, 0)
        for at in range(offset, offset + count_bytes, 8):
            self.store(STACK, at, R0)

    def call(self, helper: int) -> None:
        """R0 = helper(R1 … R5)."""
        self._emit(_CALL, constant=helper)

    def call_kernel(self, function_id: int) -> None:
        """R0 = a function of the kernel that programs may call, by its number in BTF (R1 … R5)."""
        self._emit(_CALL, 0, _OF_THE_KERNEL, constant=function_id)

    def label(self, name: str) -> None:
        """The place that jumps to `name` lead to."""
        self._labels[name] = len(self._code)

    def jump(self, label: str) -> None:
        """Go to label."""
        self._jump(_JUMP, label)

    def jump_if(self, left: int, condition: int, value: int, label: str) -> None:
        """If left `condition` value, which is sign-extended: go to label."""
        self._jump(_JUMP_IF_CONSTANT | condition, label, left, constant=value)

    def jump_if_register(self, left: int, condition: int, right: int, label: str) -> None:
        """If left `condition` right: go to label."""
        self._jump(_JUMP_IF | condition, label, left, right)

    def give_up_late(self, label: str) -> None:
        """Go to label after very many rounds: makes any loop a bounded one (may_goto, 6.9 on)."""
        self._jump(_MAY_GOTO, label)

    def _jump(self, opcode: int, label: str, left: int = 0, right: int = 0, constant: int = 0) -> None:
        self._jumps[len(self._code)] = label
        self._emit(opcode, left, right, constant=constant)

    def leave(self, value: int = 0) -> None:
        """Return that."""
        self.constant(R0, value)
        self._emit(_EXIT)
