"""Messages from the supervisor to the front, which may be slow, stopped or gone: nobody ever waits for it."""

import json
import socket
from collections import deque
from collections.abc import Mapping
from typing import Final

KEPT_MAX: Final = 10_000
"""Events kept for a front that does not read; further ones are counted as lost."""


class Outbox:
    """Sends in order. `wants_room` where something waits for the socket to become writable."""

    def __init__(self, front: socket.socket) -> None:
        self._front = front
        self._front.setblocking(False)  # noqa: FBT003
        self._kept: deque[bytes] = deque()
        self.lost = 0

    @property
    def wants_room(self) -> bool:
        """Whether something is kept."""
        return bool(self._kept)

    def put(self, message: Mapping[str, object], *, is_event: bool = False) -> None:
        """Send a message, now or later. An event may be lost instead."""
        if is_event and len(self._kept) >= KEPT_MAX:
            self.lost += 1
            return
        self._kept.append(json.dumps(message).encode())
        self.flush()

    def flush(self) -> None:
        """Send what there is room for."""
        while self._kept:
            try:
                self._front.send(self._kept[0])
            except BlockingIOError:
                return
            except OSError:  # the front is gone: nobody is to be told
                self._kept.clear()
                return
            self._kept.popleft()
