"""`/proc/P/cmdline` (fs/proc/base.c get_mm_cmdline): the arguments, each ended by NUL; a process may overwrite them."""


def parse(data: bytes) -> tuple[bytes, ...]:
    """The arguments; none for a kernel thread or a zombie. Total."""
    return tuple(data.removesuffix(b"\0").split(b"\0")) if data else ()
