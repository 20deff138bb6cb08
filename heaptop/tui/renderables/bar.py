"""A share as a horizontal bar."""

STEPS = "▏▎▍▌▋▊▉█"
"""A column of the bar filled by one eighth, two eighths… eight."""


def bar(share: float, width: int) -> str:
    """`share` (0..1, clamped) of `width` columns, in eighths of a column.

    What is there is seen: a share above 0 draws at least one eighth, one below 1 never a full bar.

    >>> bar(0.5, 4), bar(0.001, 4), bar(0.6, 4)
    ('██  ', '▏   ', '██▍ ')
    """
    total = max(0, width) * len(STEPS)
    share = min(1.0, max(0.0, share))
    filled = round(share * total)
    if 0 < share < 1:
        filled = min(total - 1, max(1, filled))
    if filled <= 0:
        return " " * width
    full, rest = divmod(filled, len(STEPS))
    return (STEPS[-1] * full + (STEPS[rest - 1] if rest else "")).ljust(width)
