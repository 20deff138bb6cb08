"""Sizes, durations and text from outside."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop import units


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(units).failed == 0


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1024, "1.00 KiB"),
        (16384, "16.0 KiB"),
        (1023 * 1024, "1.00 MiB"),
        (64 << 20, "64.0 MiB"),
        (128 << 20, "128 MiB"),
        (1 << 64, "16.0 EiB"),
        (-16384, "-16.0 KiB"),
        (None, "~"),
    ],
)
def test_format_size(size_bytes: int | None, text: str) -> None:
    assert units.format_size(size_bytes) == text


@given(st.integers(min_value=0, max_value=1 << 64))
def test_a_size_shows_at_most_three_digits(size_bytes: int) -> None:
    number, _unit = units.format_size(size_bytes).split(" ")
    assert len(number.replace(".", "")) <= 3


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("4096", 4096), ("4K", 4096), ("4k", 4096), ("1.5MiB", 1572864), (" 64 GB ", 64 << 30), ("0", 0), ("16B", 16)],
)
def test_parse_size(text: str, size_bytes: int) -> None:
    assert units.parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["12Q", "-5", "", "K", "1..5M", "4 4", "0x1000", "99999999E", "1e3", "٣", "9" * 400 + ".0", "9" * 5000]
)
def test_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|asked"):
        units.parse_size(text)


@given(st.integers(min_value=0, max_value=units.SIZE_BYTES_MAX))
def test_every_byte_count_parses_to_itself(size_bytes: int) -> None:
    assert units.parse_size(str(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10.0), ("500ms", 0.5), ("2m", 120.0), ("1.5h", 5400.0), ("3d", 259200.0)]
)
def test_parse_duration(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "5y", "s"])
def test_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("age_s", "text"),
    [(0.4, "0 s"), (59.9, "59 s"), (131, "2:11"), (3723, "1:02:03"), (273_600, "3d 04h"), (-3, "0 s"), (None, "~")],
)
def test_format_age(age_s: float | None, text: str) -> None:
    assert units.format_age(age_s) == text


def test_delta_has_its_sign() -> None:
    assert [units.format_delta(delta) for delta in (4 << 20, -16384, 0, None)] == ["+4.00 MiB", "-16.0 KiB", "0 B", "~"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"cam-preview", "cam-preview"),
        (b"evil\nsize:\t999", "evil\\nsize:\\t999"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "caf\\xe9"),
        ("a\u202eb\u2028c".encode(), "a\\u202eb\\u2028c"),
        ("\U000e0001".encode(), "\\U000e0001"),
        (b"[/x]", "[/x]"),
        (b"\x7f\x85\xc2\x85", "\\x7f\\x85\\x85"),
    ],
)
def test_printable(raw: bytes, shown: str) -> None:
    assert units.printable(units.text_of(raw)) == shown


@given(st.binary())
def test_text_is_kept_without_loss_and_shown_on_one_line(raw: bytes) -> None:
    text = units.text_of(raw)
    assert text.encode("utf-8", "surrogateescape") == raw
    shown = units.printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")
    assert all(char.isprintable() for char in shown)
