"""Who comes first while a program starts: the thread that draws what the user sees first has the floor.

The compiled pass runs beside it, for it lets the interpreter go; to make something of what it found would hold the
interpreter, and the screen with it, and so waits.
"""

import threading
from typing import Final

WAIT_S: Final = 1.0
"""The longest wait: a first frame that takes longer will not be saved by more of it."""

_free = threading.Event()
_free.set()


def take() -> None:
    """From now on others wait."""
    _free.clear()


def give() -> None:
    """They go on."""
    _free.set()


def wait() -> None:
    """Until the floor is free; at once where nobody has it."""
    _free.wait(WAIT_S)
