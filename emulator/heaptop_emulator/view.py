"""The emulator's state as its clients get it."""

from collections.abc import Mapping
from operator import itemgetter

from heaptop_emulator import text, text_machine
from heaptop_emulator.framework import Buffer
from heaptop_emulator.machine import Machine
from heaptop_emulator.wire import BufferState, State


class View:
    """Makes states of one machine. What cannot have changed is not made anew."""

    def __init__(self, machine: Machine, heaps: tuple[str, ...], scenario: str, boot_id: str) -> None:
        self._machine = machine
        self._heaps = heaps
        self._scenario = scenario
        self._boot_id = boot_id
        self._lines: dict[int, bytes] = {}

    def state(self, buffers: Mapping[int, Buffer], actors: Mapping[int, str]) -> State:
        """All there is to know at this moment."""
        files = text_machine.machine_files(self._machine, self._heaps, self._boot_id)
        return State(
            scenario=self._scenario,
            heaps=self._heaps,
            actors=actors,
            files={**files, text.PLACES: self._places(buffers)},
            links=text_machine.machine_links(self._machine, self._heaps),
            buffers=tuple(
                BufferState(
                    inode=item.shown_inode,
                    heap=item.heap,
                    exporter=item.exporter,
                    size_bytes=item.size_bytes,
                    access=item.access,
                    serial=item.serial,
                    name=item.name,
                    is_dmabuf=item.dmabuf is not None,
                )
                for item in buffers.values()
            ),
        )

    def _places(self, buffers: Mapping[int, Buffer]) -> bytes:
        """Where each buffer lies. That does not change while it lives."""
        before, self._lines = self._lines, {}
        for inode, buffer in sorted(((item.shown_inode, item) for item in buffers.values()), key=itemgetter(0)):
            self._lines[inode] = before.get(inode) or text.place(inode, buffer.pages.runs())
        return b"".join(self._lines.values())
