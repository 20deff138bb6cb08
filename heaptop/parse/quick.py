"""The compiled part of the parsers, where there is one: the patterns find the same without it."""

from types import ModuleType


def _compiled() -> ModuleType | None:
    try:
        from heaptop.parse import _quick  # noqa: PLC0415
    except ImportError:
        return None
    return _quick


quick = _compiled()
"""None where it was not built."""
