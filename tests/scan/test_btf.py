"""Type information made by hand, and this machine's own where it has some."""

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heaptop.scan import btf as btf_module
from heaptop.scan import btf_part
from heaptop.scan.btf import FUNC, STRUCT, VMLINUX, Btf, BtfError, read_btf
from heaptop.scan.btf_part import Part

COMPILED: Any = None
with suppress(ImportError):
    from heaptop.scan import _btf_part

    COMPILED = _btf_part

INT, TYPEDEF = 1, 8
UNION = 5
Members = list[tuple[str, int, int]]


def strings_of(part: Part) -> bytes:
    found = b""
    while part.string_start + len(found) < part.string_end:
        found += part.string(part.string_start + len(found)) + b"\0"
    return found


class Maker:
    """Writes BTF, type by type; over `base` that of a module, which has no empty string of its own."""

    def __init__(self, base: Btf | None = None) -> None:
        self.base_strings = None if base is None else b"".join(map(strings_of, base.parts))
        self.string_start = 0 if base is None else base.parts[-1].string_end
        self.strings = b"\0" if base is None else b""
        self.types = b""
        self.count = 0 if base is None else base.parts[-1].last

    def string(self, text: str) -> int:
        entry = text.encode() + b"\0"
        if self.base_strings is not None and b"\0" + entry in self.base_strings:
            return self.base_strings.index(b"\0" + entry) + 1
        if b"\0" + entry not in b"\0" + self.strings:
            self.strings += entry
        return 0 if not text else self.string_start + (b"\0" + self.strings).index(b"\0" + entry)

    def add(self, name: str, kind: int, size_or_type: int, tail: bytes = b"", bits: int = 0) -> int:
        self.types += struct.pack("<III", self.string(name), kind << 24 | bits, size_or_type) + tail
        self.count += 1
        return self.count

    def struct(self, name: str, size: int, members: Members, kind: int = STRUCT, flag: int = 0) -> int:
        tail = b"".join(struct.pack("<III", self.string(one), type_id, offset) for one, type_id, offset in members)
        return self.add(name, kind, size, tail, len(members) | flag << 31)

    def data(self) -> bytes:
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings))
        return header + self.types + self.strings


@pytest.fixture
def made() -> Maker:
    maker = Maker()
    number = maker.add("long", INT, 8, struct.pack("<I", 64))
    inner = maker.struct("inner", 16, [("first", number, 0), ("second", number, 64)])
    alias = maker.add("inner_t", TYPEDEF, inner)
    anonymous = maker.struct("", 16, [("count", alias, 0), ("other", number, 0)], kind=UNION)
    maker.add("outer", FUNC, 0)
    maker.struct("outer", 40, [("head", number, 0), ("", anonymous, 64 * 2), ("tail", number, 64 * 4)])
    maker.struct("bits", 8, [("low", number, 3 << 24), ("word", number, 32)], flag=1)
    return maker


def test_members_by_name(made: Maker) -> None:
    btf = Btf(made.data())
    assert btf.offset("outer", "tail") == 32
    assert btf.offset("outer", "count") == 16
    assert btf.offset("outer", "count", "second") == 24
    assert btf.size("outer") == 40


def test_a_type_is_told_by_its_kind(made: Maker) -> None:
    btf = Btf(made.data())
    assert btf.id_of("outer", FUNC) == 5
    assert btf.id_of("outer", STRUCT) == 6


def test_a_modules_types_go_on_where_the_kernels_end(made: Maker) -> None:
    btf = Btf(made.data())
    inner = btf.id_of("inner", STRUCT)
    module = Maker(base=btf)
    module.struct("own", 64, [("tail", inner, 0), ("fresh", inner, 128)])
    module.struct("inner", 8, [("renamed", 1, 0)])
    split = Btf(module.data(), btf)
    assert module.strings == b"fresh\0own\0renamed\0", "names that the kernel has are not repeated"
    assert split.offset("own", "fresh", "second") == 24
    assert split.offset("own", "tail", "second") == 8
    assert split.offset("inner", "renamed") == 0
    assert (split.size("inner"), btf.size("inner")) == (8, 16), "its own comes first"
    assert split.offset("outer", "tail") == 32
    assert split.id_of("own", STRUCT) == made.count + 1
    with pytest.raises(BtfError):
        btf.id_of("own", STRUCT)


def test_bit_fields_have_no_address(made: Maker) -> None:
    btf = Btf(made.data())
    assert btf.offset("bits", "word") == 4
    with pytest.raises(BtfError):
        btf.offset("bits", "low")


@pytest.mark.parametrize(("name", "path"), [("nothing", ("x",)), ("outer", ("x",)), ("outer", ("head", "x"))])
def test_what_is_not_there(made: Maker, name: str, path: tuple[str, ...]) -> None:
    with pytest.raises(BtfError):
        Btf(made.data()).offset(name, *path)


def what_a_part_says(kind: type[Part], data: bytes, base: bytes | None) -> object:
    """All that can be asked of it; or how it is refused."""
    try:
        part = kind(data) if base is None else kind(data, kind(base))
    except BtfError as error:
        return str(error)
    numbers = range(part.before + 1, part.last + 1)
    names = (b"", b"long", b"first", b"outer", b"inner", b"count", b"own", b"fresh", b"er")
    return (
        [part.type(number) for number in numbers],
        [
            part.members(number, name)
            for number in numbers
            if part.type(number).kind in (STRUCT, UNION)
            for name in names
        ],
        [part.find(name, kind_of) for name in names for kind_of in (STRUCT, UNION, FUNC)],
        [part.string(offset) for offset in (0, 1, part.string_start, part.string_end, part.string_end + 9, 1 << 31)],
        (part.before, part.string_start, part.last, part.string_end),
    )


def small() -> Maker:
    maker = Maker()
    number = maker.add("long", INT, 8, struct.pack("<I", 64))
    inner = maker.struct("inner", 16, [("first", number, 0), ("", number, 64)])
    maker.add("outer", FUNC, 0)
    maker.struct("outer", 8, [("first", inner, 3 << 24), ("count", inner, 0)], flag=1)
    return maker


def module() -> bytes:
    maker = Maker(base=Btf(small().data()))
    maker.struct("own", 64, [("first", 2, 0), ("fresh", 2, 128)])
    maker.struct("inner", 8, [("renamed", 1, 0)])
    return maker.data()


@pytest.mark.skipif(COMPILED is None, reason="there is no compiled part")
@given(st.binary(max_size=80), st.integers(0, 400), st.booleans())
def test_the_twins_say_the_same(noise: bytes, at: int, is_module: bool) -> None:
    data = module() if is_module else small().data()
    data = data[:at] + noise + data[at + len(noise) :]
    base = small().data() if is_module else None
    assert what_a_part_says(COMPILED.Part, data, base) == what_a_part_says(Part, data, base)


@given(st.binary(max_size=80), st.integers(0, 400))
@example(bytes((0, 0, 0, 0, 62, 0, 0, 0, 194)), 3)
def test_damaged(noise: bytes, at: int) -> None:
    data = small().data()
    try:
        Btf(data[:at] + noise + data[at + len(noise) :]).offset("outer", "count", "first")
    except BtfError:
        return


def test_types_that_refer_to_themselves() -> None:
    maker = Maker()
    maker.add("", TYPEDEF, 1)
    maker.struct("outer", 8, [("", 1, 0), ("", 2, 0), ("", 2, 0)])
    with pytest.raises(BtfError, match="damaged"):
        Btf(maker.data()).offset("outer", "x")


@pytest.mark.parametrize("part", [pytest.param(btf_part, id="plain"), pytest.param(COMPILED, id="compiled")])
def test_this_kernels_own(part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path(f"/{VMLINUX}").exists():
        pytest.skip("this kernel has no BTF")
    if part is None:
        pytest.skip("there is no compiled part")
    monkeypatch.setattr(btf_module, "Part", part.Part)
    btf = read_btf(f"/{VMLINUX}")
    assert btf.offset("list_head", "prev") == 8
    assert btf.size("list_head") == 16
    assert btf.offset("vm_area_struct", "vm_end") == btf.offset("vm_area_struct", "vm_start") + 8
    assert btf.id_of("bpf_iter_task", FUNC) > 0
    with pytest.raises(BtfError):
        btf.id_of("list_head", FUNC)


def test_what_is_no_file_of_types(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(BtfError):
            read_btf(str(path))
    (tmp_path / "empty").touch()
    with pytest.raises(BtfError):
        read_btf(str(tmp_path / "empty"))
