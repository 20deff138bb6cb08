"""Regular expressions that are compiled when they are first used: most of heaptop's are for files that are not there,
and to compile all of them would take longer than a look.
"""

import re
from typing import Any, AnyStr, cast

_METHODS = ("findall", "finditer", "fullmatch", "match", "search", "split", "sub")


class _Lazy:
    def __init__(self, text: Any, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """Compiles it. From then on its methods are found without a detour."""
        compiled = re.compile(self._text, self._flags)
        vars(self).update((method, getattr(compiled, method)) for method in _METHODS)
        return getattr(compiled, name)


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What `re.compile` gives, in its own time.

    Raises:
        re.error: when it is first used, where `text` is not a regular expression.
    """
    return cast("re.Pattern[AnyStr]", _Lazy(text, flags))
