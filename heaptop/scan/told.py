"""What a look by BPF tells of one process."""

from typing import NamedTuple

from heaptop.capture import FdLink


class Told(NamedTuple):
    """`table` is its fd table's identity, 0 for none; `links` are its descriptors of buffers, by rising fd, and `maps`
    its mappings of buffers as maps would have them. Only /proc tells all of one that `is_odd`. While `signature` is the
    same, nothing of all that BPF looks at has changed. `first` is the place of its first descriptor's record,
    `start_ns` when the process began, since boot.
    """

    table: int
    comm: bytes
    is_odd: bool
    links: tuple[FdLink, ...]
    maps: bytes
    signature: int
    first: int = -1
    start_ns: int = 0
