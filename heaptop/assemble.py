"""From raw text to a Snapshot: every parser is called from here, and all sources are joined by inode."""

from heaptop.capture import Capture
from heaptop.model import Snapshot


def assemble(capture: Capture) -> Snapshot:
    """Join all that a capture tells. Never fails: what cannot be parsed or was not readable becomes a `Gap`."""
    raise NotImplementedError


class Assembler:
    """Assembles captures one after the other, and passes over what is the very same object as in the one before."""

    def assemble(self, capture: Capture) -> Snapshot:
        """As `assemble`."""
        raise NotImplementedError
