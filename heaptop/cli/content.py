"""`heaptop content`: the bytes of a buffer, as a hex dump or as a picture in a PNG."""

import argparse
from contextlib import closing
from typing import Final

from heaptop.analysis.hexdump import LINE_BYTES, dump, offset_digits
from heaptop.analysis.picture_guess import guess
from heaptop.analysis.png import png_of
from heaptop.assemble import assemble
from heaptop.backend.base import Backend, Content, ContentReader
from heaptop.cli import values
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit, narrate, narrate_gaps
from heaptop.cli.source import opened
from heaptop.errors import Exit, UsageError
from heaptop.recording.file import write_file
from heaptop.session import ways_to

LENGTH_BYTES = 256
"""How much is printed where `--length` says nothing."""
CHUNK_BYTES = 1 << 20


MANUAL: Final = {
    "content": "Takes a descriptor of the buffer from a process that holds it (pidfd_getfd(2), which takes root or "
    "CAP_SYS_PTRACE for other users' processes), maps it for reading, and reads it between DMA_BUF_IOCTL_SYNC start "
    "and end. Meanwhile heaptop itself holds the buffer. Prints 16 bytes a line with their ASCII. With --png it "
    "writes the buffer as a picture, in the colours of BT.601 where it is YUV, without alpha; what is not told of "
    "format, width, height and stride is guessed from the size.",
}


class Options(CommonOptions):
    """What was asked for."""

    inode: int = 0
    offset: int = 0
    length: int | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    stride: int | None = None
    png: str | None = None
    force: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    from heaptop.analysis.picture import FORMATS

    parser.add_argument(
        "inode", metavar="INODE", type=values.whole_number, help="the buffer, as heaptop buffers lists it"
    )
    parser.add_argument("--offset", metavar="N", type=values.offset, help="begin here (default: 0)")
    parser.add_argument("--length", metavar="N", type=values.size, help="print so many bytes (default: 256)")
    parser.add_argument("--png", metavar="PATH", help="write a picture there instead; what is not told is guessed")
    parser.add_argument("--format", metavar="F", choices=tuple(FORMATS), help=f"its format: {', '.join(FORMATS)}")
    parser.add_argument("--width", metavar="N", type=values.whole_number, help="its width in pixels")
    parser.add_argument("--height", metavar="N", type=values.whole_number, help="its height in pixels")
    parser.add_argument(
        "--stride", metavar="N", type=values.whole_number, help="bytes from one of its rows to the next"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that exists")


def check(options: Options) -> None:
    """A hex dump and a picture take different options."""
    given = vars(options).keys() & {"format", "width", "height", "stride", "force"}
    if options.png is None and given:
        raise UsageError(f"--{min(given)} says nothing to a hex dump", remedy="take --png PATH to write a picture")
    if options.png is not None and options.length is not None:
        raise UsageError("--length says nothing to a picture", remedy="its height and stride say how much is read")


def run(options: Options) -> int:
    """Print, or write; the buffer is held only meanwhile.

    Raises:
        UsageError: there is no such buffer, this source shows no content, or the picture does not fit.
        SourceError: the buffer may not be looked into, or cannot be mapped.
        HeaptopError: the PNG cannot be written.
    """
    with opened(options) as backend, closing(_open(backend, options.inode)) as content:
        if options.png is None:
            _print(content, options)
        else:
            _write(content, options, options.png)
    return Exit.OK


def _open(backend: Backend, inode: int) -> Content:
    if not isinstance(backend, ContentReader):
        raise UsageError("content", f"{backend.source} shows none", "only the running kernel and the emulator do")
    snapshot = assemble(backend.capture())
    buffer = next((buffer for buffer in snapshot.buffers if buffer.inode == inode), None)
    if buffer is None:
        narrate_gaps(snapshot)
        raise UsageError(f"no buffer {inode} is seen on {backend.source}", remedy="heaptop buffers lists all that are")
    return backend.open_content(inode, ways_to(buffer))


def _print(content: Content, options: Options) -> None:
    start = options.offset
    if start >= content.size_bytes:
        raise UsageError(f"--offset {start}", f"the buffer ends at {content.size_bytes}")
    end = min(content.size_bytes, start + (options.length or LENGTH_BYTES))
    digits = offset_digits(content.size_bytes)
    for at in range(start, end, CHUNK_BYTES - CHUNK_BYTES % LINE_BYTES):
        (data,) = content.read([(at, min(CHUNK_BYTES, end - at))])
        emit(dump(at, data, digits))


def _write(content: Content, options: Options, path: str) -> None:
    picture = guess(
        content.size_bytes,
        format_=options.format,
        width=options.width,
        height=options.height,
        stride=options.stride,
        offset=options.offset,
    )
    write_file(path, png_of(picture, content.read), force=options.force)
    narrate(
        f"heaptop: {picture.format} {picture.width}x{picture.height}, stride {picture.stride}, "
        f"offset {picture.offset}, written to {path}"
    )
