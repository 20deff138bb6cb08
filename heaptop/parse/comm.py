"""`/proc/P/comm` (fs/proc/base.c comm_show): the raw comm, which may hold newlines itself, and one newline."""


def parse(data: bytes) -> bytes:
    """The comm without the kernel's newline. Total."""
    return data.removesuffix(b"\n")
