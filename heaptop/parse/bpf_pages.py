"""`bpf/dmabuf_pages`, which heaptop writes (see docs/recording.md): where each buffer lies in memory."""

from heaptop.parse.text import check_whole, error_at
from heaptop.pattern import pattern

Runs = tuple[tuple[int, int], ...]
"""First page frame and pages of each run, in the buffer's order."""

_LINE = pattern(rb"(\d{1,20})\t(\d{1,18}\+[1-9]\d{0,17}(?: \d{1,18}\+[1-9]\d{0,17})*)")


def lines(data: bytes) -> list[bytes]:
    """A line for each buffer.

    Raises:
        ParseError: the last one is cut.
    """
    if not data:
        return []
    check_whole("bpf dmabuf_pages", data)
    return data[:-1].split(b"\n")


def place(line: bytes) -> tuple[int, Runs]:
    """A buffer's inode and runs.

    Raises:
        ParseError: the line has another shape.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise error_at("bpf dmabuf_pages", "not an inode and runs PFN+COUNT", line)
    numbers = list(map(int, match[2].replace(b"+", b" ").split()))
    return int(match[1]), tuple(zip(numbers[::2], numbers[1::2], strict=True))
