"""Unwind tables: row by row what pyelftools finds, and nothing but DamageError from any bytes."""

import contextlib
import ctypes.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from heaptop.stacks.cfi import How, Row, Table
from heaptop.stacks.cursor import DamageError
from heaptop.stacks.elf import Elf

SAMPLE = 37
"""Every so many entries."""
KINDS = {
    How.SAVED: "OFFSET",
    How.IS_OFFSET: "VAL_OFFSET",
    How.REGISTER: "REGISTER",
    How.UNDEFINED: "UNDEFINED",
    How.SAVED_BY_EXPRESSION: "EXPRESSION",
    How.IS_EXPRESSION: "VAL_EXPRESSION",
}


def libraries() -> list[str]:
    ctypes.CDLL("libstdc++.so.6") if ctypes.util.find_library("stdc++") else None
    text = Path("/proc/self/maps").read_text()
    return sorted(set(re.findall(r"(/\S+/lib(?:c|stdc\+\+|m)\.so\S*)", text)))


def read(path: str) -> Elf:
    data = Path(path).read_bytes()
    return Elf(lambda offset, length: data[offset : offset + length])


def decoded(path: str) -> Iterator[dict[Any, Any]]:
    """Rows as pyelftools has them; entries that it cannot decode (DW_CFA_GNU_args_size, 0.33) are left out."""
    with open(path, "rb") as file:
        dwarf = ELFFile(file).get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)
        entries = [entry for entry in dwarf.EH_CFI_entries() if isinstance(entry, FDE)]
        for entry in entries[::SAMPLE]:
            try:
                table = entry.get_decoded().table
            except Exception:  # noqa: BLE001
                continue
            end = entry["initial_location"] + entry["address_range"]
            yield from (row for row in table if row["pc"] < end)


@pytest.mark.parametrize("path", libraries(), ids=os.path.basename)
def test_rows_are_those_of_pyelftools(path: str) -> None:
    table = Table(read(path))
    count = 0
    for wanted in decoded(path):
        found = table.row(wanted["pc"])
        assert found is not None
        assert as_pyelftools(found) == as_told(wanted), hex(wanted["pc"])
        count += 1
    assert count > 50


def as_pyelftools(row: Row) -> tuple[object, dict[int, tuple[str, object]]]:
    return row.cfa, {
        number: (KINDS[how], None if how is How.UNDEFINED else value) for number, (how, value) in row.registers.items()
    }


def as_told(row: dict[Any, Any]) -> tuple[object, dict[int, tuple[str, object]]]:
    cfa = row["cfa"]
    rules = {
        number: (rule.type, bytes(rule.arg) if isinstance(rule.arg, list) else rule.arg)
        for number, rule in row.items()
        if isinstance(number, int) and rule.type != "SAME_VALUE"
    }
    return (cfa.reg, cfa.offset) if cfa.expr is None else bytes(cfa.expr), rules


def test_an_address_outside_of_all_entries() -> None:
    table = Table(read(libraries()[0]))
    assert table.row(0) is None
    assert table.row(1 << 62) is None


class Part:
    """The start and the tables of a library, cheap to change: all else reads as zeros."""

    def __init__(self, path: str) -> None:
        self.data = Path(path).read_bytes()
        header = read(path).eh_frame_hdr
        assert header is not None
        self.index = header.address
        self.length = header.length_bytes


PART = Part(libraries()[0])


@given(st.data())
def test_damage_is_told_as_such(data: st.DataObject) -> None:
    """Bytes of headers, of the index or of entries are changed: each address still has a row, none, or DamageError."""
    changed = bytearray(PART.data)
    places = st.integers(0, 0x400) | st.integers(PART.index, PART.index + PART.length + 60_000)
    for at in data.draw(st.lists(places, min_size=1, max_size=40)):
        if at < len(changed):
            changed[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from((len(changed), len(changed), PART.index + 5, 70, 3)))
    text = bytes(changed[:cut])
    try:
        table = Table(Elf(lambda offset, length: text[offset : offset + length] if offset >= 0 else b""))
    except DamageError:
        return
    for pc in data.draw(st.lists(st.integers(0x20000, 0x180000), max_size=20)):
        with contextlib.suppress(DamageError):
            table.row(pc)


@given(st.binary(max_size=600))
def test_any_bytes_are_no_library(noise: bytes) -> None:
    for text in (noise, b"\x7fELF\x02\x01" + noise, b"\x7fELF\x01\x01" + noise):
        try:
            Table(Elf(lambda offset, length, text=text: text[offset : offset + length]))  # type: ignore[misc]
        except DamageError:
            continue
