"""What the parsers share: single numbers, and errors that name their line."""

from heaptop.errors import ParseError
from heaptop.pattern import pattern

_INTEGER = pattern(rb"(-?\d{1,20})\n?")


def error_at(parser: str, why: str, data: bytes, offset: int = 0) -> ParseError:
    """The error for the line of `data` that `offset` lies in."""
    begin = data.rfind(b"\n", 0, offset) + 1
    end = data.find(b"\n", begin)
    return ParseError(parser, why, data.count(b"\n", 0, begin) + 1, data[begin : end if end >= 0 else len(data)])


def check_whole(parser: str, data: bytes) -> None:
    """Make sure that the last line is whole.

    Raises:
        ParseError: the text is empty, or does not end with a newline: it is cut.
    """
    if not data.endswith(b"\n"):
        raise error_at(parser, "cut" if data else "empty", data, len(data))


def integer(data: bytes, parser: str, *, signed: bool = False) -> int:
    r"""A file that is one decimal number: `4096\n`, with or without the newline.

    Raises:
        ParseError: it is not, or it is negative where not `signed`.
    """
    match = _INTEGER.fullmatch(data)
    if match is None:
        raise error_at(parser, "not a decimal number", data)
    number = int(match[1])
    if number < 0 and not signed:
        raise error_at(parser, "negative", data)
    return number
