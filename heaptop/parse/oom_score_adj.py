"""`/proc/P/oom_score_adj` (fs/proc/base.c oom_score_adj_read): -1000 to 1000."""

from heaptop.parse.text import integer


def parse(data: bytes) -> int:
    """The number.

    Raises:
        ParseError: not a number.
    """
    return integer(data, "oom_score_adj", signed=True)
