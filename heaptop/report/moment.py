"""Moments as text for machines."""

from datetime import UTC, datetime


def timestamp(seconds: float | None) -> str | None:
    """Seconds since the epoch in ISO 8601, UTC, to the millisecond; None where not known or no date.

    >>> timestamp(1.5)
    '1970-01-01T00:00:01.500Z'
    """
    if seconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
