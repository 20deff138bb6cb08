"""Names as their authors wrote them: C++ (the Itanium ABI's mangling) and Rust (v0 and legacy)."""

from functools import lru_cache
from typing import Final

_MANGLED: Final = ("_Z", "__Z", "_R")
NAME_CHARACTERS_MAX: Final = 4096


def is_mangled(name: str) -> bool:
    """Whether it looks like a name of C++ or Rust."""
    return name.startswith(_MANGLED) and len(name) <= NAME_CHARACTERS_MAX


@lru_cache(maxsize=4096)
def demangled(name: str) -> str:
    """The name without mangling; as it is where it is not mangled, or cannot be understood."""
    if not is_mangled(name):
        return name
    import demangle  # noqa: PLC0415  (its tables take a while to load)

    return demangle.demangle(name)
