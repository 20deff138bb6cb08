"""Compiled parts that have a twin in plain Python, which does the same without them."""

from importlib import import_module
from types import ModuleType


def compiled(name: str) -> ModuleType | None:
    """The module of that name; None where it was not built."""
    try:
        return import_module(name)
    except ImportError:
        return None
