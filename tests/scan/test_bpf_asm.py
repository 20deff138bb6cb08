import struct

from heaptop.scan.bpf_asm import EQUAL, R0, R1, R2, STACK, Assembler


def words(asm: Assembler) -> list[tuple[int, int, int, int]]:
    """Opcode, registers, offset and constant of each instruction."""
    return list(struct.iter_unpack("<BBhi", asm.program()))


def test_jumps_lead_to_their_labels() -> None:
    asm = Assembler()
    asm.label("again")
    asm.jump_if(R1, EQUAL, 0, "end")
    asm.constant(R2, 1 << 40)  # two places wide
    asm.jump("again")
    asm.label("end")
    asm.leave()
    assert [offset for _, _, offset, _ in words(asm)] == [3, 0, 0, -4, 0, 0]


def test_constants() -> None:
    asm = Assembler()
    asm.constant(R1, -1)
    asm.constant(R2, 0xFFFF_8880_1234_5678)
    assert words(asm) == [(0xB7, R1, 0, -1), (0x18, R2, 0, 0x12345678), (0, 0, 0, 0xFFFF8880 - (1 << 32))]


def test_a_chain_of_loads_follows_pointers() -> None:
    asm = Assembler()
    asm.load(R1, R2, 8, 16)
    assert words(asm) == [(0x79, R1 | R2 << 4, 8, 0), (0x79, R1 | R1 << 4, 16, 0)]


def test_the_stack_is_cleared_whole() -> None:
    asm = Assembler()
    asm.clear_stack(-24, 24)
    assert words(asm)[1:] == [(0x7B, STACK | R0 << 4, offset, 0) for offset in (-24, -16, -8)]
