"""`heaptop content`: the bytes of a buffer, as a hex dump or as a picture in a PNG."""

from contextlib import closing

from heaptop.analysis.hexdump import LINE_BYTES, dump, offset_digits
from heaptop.analysis.picture_guess import guess
from heaptop.analysis.png import png_of
from heaptop.assemble import assemble
from heaptop.backend.base import Backend, Content, ContentReader
from heaptop.cli.output import emit, narrate, narrate_gaps
from heaptop.cli.parser import Options
from heaptop.cli.source import opened
from heaptop.errors import Exit, UsageError
from heaptop.recording.file import write_file
from heaptop.session import ways_to

LENGTH_BYTES = 256
"""How much is printed where `--length` says nothing."""
CHUNK_BYTES = 1 << 20


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
