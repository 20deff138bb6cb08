# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What is common, compiled: descriptors that are buffers, who holds what, and the buffer that its parts make.

`processes` and `buffers` say in plain Python what is right, and do what is not common; tests/assemble/test_quick.py
holds both equal.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp

from heaptop.parse._named cimport named

from heaptop.assemble.parts import FdSight, Holding
from heaptop.model import Buffer, FdRef, Holder, MapRef

cdef enum:
    FILE_TYPE_BITS = 0o170000
    LINK_BYTES = 8             # of "/dmabuf:"
    PROVENANCES_MAX = 4096

cdef object SIZE_END = 1 << 64
cdef dict provenances = {}


def sights(tuple links):
    """The `FdSight`s of a table without fdinfo; None where one is a buffer that only the twin can tell of."""
    cdef list found = []
    cdef bytes target
    for link in links:
        target = link[1]
        if (PyBytes_GET_SIZE(target) < LINK_BYTES
                or memcmp(PyBytes_AS_STRING(target), <const char *>"/dmabuf:", LINK_BYTES) != 0):
            if target == b"anon_inode:dmabuf":
                return None
            continue
        stat = link[2]
        if stat is None or not (0 <= stat[1] < SIZE_END and 0 <= stat[2] < SIZE_END):
            return None
        if not stat[3] & FILE_TYPE_BITS:  # else a file that only has a dma-buf's name
            ref = named(FdRef, (link[0], None, None))
            found.append(named(FdSight, (stat[1], ref, stat, None, target[LINK_BYTES:])))
    return tuple(found)


def holdings(process, comm, tuple fds, tuple vmas, bint shares_fds, bint shares_maps):
    """`processes.holdings`: `vmas` are those that count."""
    cdef dict by_inode = {}
    cdef dict mapped = {}
    cdef dict found = {}
    cdef list mine
    for sight in fds:
        if (mine := by_inode.get(sight[0])) is None:
            by_inode[sight[0]] = [sight]
        else:
            mine.append(sight)
    for vma in vmas:
        if (mine := mapped.get(vma[5])) is None:
            mapped[vma[5]] = [vma]
            if vma[5] not in by_inode:
                by_inode[vma[5]] = []
        else:
            mine.append(vma)
    for inode, mine in by_inode.items():
        found[inode] = holding(process, comm, mine, mapped.get(inode), shares_fds, shares_maps)
    return found


cdef object holding(object process, object comm, list fds, list vmas, bint shares_fds, bint shares_maps):
    cdef list refs = []
    cdef list maps = []
    cdef Py_ssize_t references = 0
    stat = info = file_count = link_name = map_name = None
    for _, ref, its_stat, its_info, name in fds:
        refs.append(ref)
        references += not shares_fds or ref[1] is not None
        if stat is None:
            stat = its_stat
        if its_info is not None:
            if info is None:
                info = its_info
            if file_count is None or its_info.file_count < file_count:
                file_count = its_info.file_count
        if link_name is None and name:
            link_name = name
    if vmas is not None:
        for start, end, perms, offset, _, _, path in vmas:
            maps.append(named(MapRef, (start, end - start, offset, perms)))
            references += not shares_maps
            if map_name is None and path.startswith(b"/dmabuf:"):
                map_name = path[LINK_BYTES:] or None
    holder = named(Holder, (process, comm, tuple(refs), tuple(maps), None))
    return named(Holding, (holder, references, stat, info, file_count, link_name, map_name))


def build(inode, parts, twin):
    """The buffer, as `twin` makes it; None where that must do it."""
    cdef unsigned long tellers
    (holdings, row, entry, trust_row, heap_names, listed, runs, dumped, info, origin) = parts
    if entry is not None or dumped is not None or row is not None and (row.attachments or row.fences):
        return None
    holders, references, stat, newest, file_count, link_name, map_name = joined(holdings, info)
    linked = link_name or map_name
    exporter = first(listed and listed.exp_name, newest and newest.exp_name, row and row.exp_name)
    exporter = None if exporter is None else exporter.decode("utf-8", "surrogateescape")
    heap = None if exporter is None else heap_names.heap_of(exporter)
    by_row = row.count if row is not None and row.count >= 0 else None
    counts = (by_row, file_count) if trust_row else (file_count, by_row)
    count = first(listed and listed.count, counts[0], counts[1])
    hidden = None if count is None or references is None else max(0, count - references)
    if listed is not None and not listed.is_pinned:
        name = listed.name
    elif newest is not None:
        name = newest.name
    else:
        name = linked if linked is not None else row.name if row is not None else listed and listed.name
    tellers = (trust_row | (stat is not None) << 1 | (newest is not None) << 2 | (link_name is not None) << 3
               | (map_name is not None) << 4 | (file_count is not None) << 5 | (hidden is not None) << 6
               | (heap is not None) << 7 | (runs is not None) << 8 | (origin is not None) << 9)
    if listed is not None:
        tellers |= 1 << 10 | (listed.count is not None) << 11 | listed.is_pinned << 12 | (listed.name is None) << 13
    if row is not None:
        tellers |= (1 << 14 | (row.count >= 0) << 15 | (row.exp_name is not None) << 16
                    | (row.attachments is not None) << 17 | (row.fences is not None) << 18)
    return Buffer(
        inode, first(listed and listed.size, stat and stat[2], first(newest and newest.size, row and row.size, None)),
        exporter, None if name is None else name.decode("utf-8", "surrogateescape"), count, hidden,
        None if row is None else row.attachments, None if row is None else row.fences, holders, heap,
        told(tellers, inode, parts, twin), runs, origin)


cdef inline object first(object one, object two, object three):
    return one if one is not None else two if two is not None else three


cdef tuple joined(tuple holdings, object info):
    """Of all that hold it: the holders, their references, and what the first that tells it says."""
    cdef list holders = []
    stat = file_count = link_name = map_name = None
    references = 0
    newest = info
    for holder, seen, its_stat, its_info, its_count, its_link, its_map in holdings:
        holders.append(holder)
        references = None if references is None or seen is None else references + seen
        stat = its_stat if stat is None else stat
        newest = its_info if newest is None else newest
        if its_count is not None and (file_count is None or its_count < file_count):
            file_count = its_count
        link_name = link_name or its_link or None
        map_name = map_name or its_map or None
    if info is not None:
        file_count = info.file_count
    return tuple(holders), references, stat, newest, file_count, link_name, map_name


cdef object told(unsigned long tellers, object inode, object parts, object twin):
    """What told what is the same for the same set of tellers: the twin is asked once for each."""
    provenance = provenances.get(tellers)
    if provenance is None:
        if len(provenances) >= PROVENANCES_MAX:
            provenances.clear()
        provenance = provenances[tellers] = twin(inode, parts).provenance
    return provenance
