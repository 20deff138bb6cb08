"""Patterns that are compiled when first used."""

import importlib
import pkgutil
import re

import pytest

import heaptop
from heaptop.pattern import pattern


def test_it_is_what_it_stands_for() -> None:
    number = pattern(rb"^(\d+)([a-z]?)$", re.MULTILINE)
    whole = re.compile(rb"^(\d+)([a-z]?)$", re.MULTILINE)
    assert (number.pattern, number.groups, number.flags) == (whole.pattern, whole.groups, whole.flags)
    for text in (b"", b"1", b"12k", b"12k\n13", b"x\n1", b"1x2"):
        assert number.findall(text) == whole.findall(text)
        assert number.sub(rb"<\1>", text) == whole.sub(rb"<\1>", text)
        assert number.split(text) == whole.split(text)
        assert [m.span() for m in number.finditer(text)] == [m.span() for m in whole.finditer(text)]
        for found, expected in (
            (number.match(text), whole.match(text)),
            (number.search(text, 1), whole.search(text, 1)),
            (number.fullmatch(text), whole.fullmatch(text)),
        ):
            assert (found and found.groups()) == (expected and expected.groups())


def test_it_is_compiled_once_and_not_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    def compile_noted(text: str, flags: int) -> re.Pattern[str]:
        compiled.append(text)
        return original(text, flags)

    original = re.compile
    monkeypatch.setattr("heaptop.pattern.re.compile", compile_noted)
    word = pattern(r"\w+")
    assert compiled == []
    assert word.match("one")
    assert word.search("two")
    assert compiled == [r"\w+"]


def test_all_of_heaptops_are_regular_expressions() -> None:
    kind = type(pattern(""))
    found = 0
    for module in pkgutil.walk_packages(heaptop.__path__, "heaptop."):
        if module.name.endswith("__main__"):
            continue
        for one in vars(importlib.import_module(module.name)).values():
            if isinstance(one, kind):
                found += 1
                assert one.groups >= 0
    assert found > 100
