"""Names, comms and texts that try to pass for kernel text."""

from hypothesis import strategies as st

NAME_BYTES_MAX = 31

_PIECES = (
    b"\n",
    b"\t",
    b" ",
    b"\\012",
    b" (deleted)",
    b"<none>",
    b"\nsize:\t999",
    b"\nino:\t7",
    b"\nexp_name:\tsystem",
    b"\nname:\tx",
    b"\n\tAttached Devices:",
    b"\nTotal 0 devices attached",
    b"\n\n\nTotal 1 objects, 4096 bytes",
    b"\nTotal 1 objects, 4096 bytes",
    b"\n\twrite fence:a b signalled",
    b"\n\tread fence:0:0   signalled",
    b"\n00004096\t00000002\t00080007",
    b"\n4096\t2\t80007\t1\tsystem\t9\tx",
    b"\tread fence:0:0   signalled",
    b"/dmabuf:",
    b"\x1b[2J",
    b"[/x]",
    b"\xff\xfe",
)


def names(max_bytes: int = NAME_BYTES_MAX) -> st.SearchStrategy[bytes]:
    """Names as DMA_BUF_SET_NAME takes them: any bytes but NUL, often pieces of kernel text."""
    byte = st.binary(min_size=1, max_size=max_bytes).map(lambda raw: raw.replace(b"\0", b"0"))
    pieces = st.lists(st.one_of(st.sampled_from(_PIECES), byte), max_size=4).map(b"".join)
    return pieces.map(lambda name: name[:max_bytes])


def comms() -> st.SearchStrategy[bytes]:
    """Comms as prctl(PR_SET_NAME) takes them."""
    pieces = st.lists(st.sampled_from((b") R 1 (", b")", b"(", b" ", b"\n", b"\\", b"x", b"\xff")), max_size=15)
    return pieces.map(b"".join).map(lambda comm: comm[:15])
