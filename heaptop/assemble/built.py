"""All buffers, kept up to date."""

from collections.abc import Mapping

from heaptop.assemble import buffers
from heaptop.assemble.heaps import HeapNames
from heaptop.assemble.held import Held
from heaptop.assemble.listing import Infos, Listing
from heaptop.assemble.parts import Parts
from heaptop.changes import Rows, changed_keys
from heaptop.model import Buffer


class Builder:
    """Builds those of one snapshot after the other; one of which nothing new is told stays the very same object."""

    def __init__(self) -> None:
        self._told: tuple[Mapping[int, object], ...] = ()
        self._by: tuple[HeapNames, bool] | None = None
        self._parts: dict[int, Parts] = {}
        self._buffers: Rows[int, Buffer] = Rows()

    def build(self, held: Held, listing: Listing, names: HeapNames, infos: Infos) -> tuple[Buffer, ...]:
        """All buffers that are held or listed, by inode; the very same object while nothing changes."""
        bpf = listing.bpf
        alive = (held, listing.rows, listing.entries, bpf.rows, listing.dumped)
        told = (*alive, bpf.runs, listing.origins, infos)
        if self._by is None or self._by[0] is not names or self._by[1] != listing.is_exact:
            touched = {*self._parts, *(inode for mapping in alive for inode in mapping)}
        else:
            touched = {inode for pair in zip(self._told, told, strict=True) for inode in changed_keys(*pair)}
        self._by, self._told = (names, listing.is_exact), told
        rows, entries, listed, dumped = alive[1:]
        for inode in touched:
            if not (inode in held or inode in rows or inode in entries or inode in listed or inode in dumped):
                self._parts.pop(inode, None)
                self._buffers.put(inode, None)
                continue
            parts = listing.parts(inode, held.get(inode, ()), names, infos.get(inode))
            if self._parts.get(inode) != parts:
                self._parts[inode] = parts
                built, before = buffers.build(inode, parts), self._buffers.get(inode)
                self._buffers.put(inode, before if before == built else built)
        return self._buffers.all()
