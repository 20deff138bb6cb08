# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What is common, compiled: descriptors that are buffers, who holds what, and the buffer that its parts make.

`processes` and `buffers` say in plain Python what is right, and do what is not common; tests/assemble/test_quick.py
holds both equal.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.string cimport memcmp

from heaptop._named cimport named

from heaptop.assemble.parts import FdSight, Holding
from heaptop.model import Buffer, FdRef, Holder, MapRef

cdef enum:
    FILE_TYPE_BITS = 0o170000
    LINK_BYTES = 8             # of "/dmabuf:"
    PROVENANCES_MAX = 4096

cdef object SIZE_END = 1 << 64
cdef dict provenances = {}


cdef inline object at(object values, Py_ssize_t index):
    """An item of a named tuple."""
    return <object>PyTuple_GET_ITEM(values, index)


def sights(tuple links):
    """The `FdSight`s of a table without fdinfo; None where one is a buffer that only the twin can tell of."""
    cdef list found = []
    cdef bytes target
    for link in links:
        target = at(link, 1)
        if (PyBytes_GET_SIZE(target) < LINK_BYTES
                or memcmp(PyBytes_AS_STRING(target), <const char *>"/dmabuf:", LINK_BYTES) != 0):
            if target == b"anon_inode:dmabuf":
                return None
            continue
        stat = at(link, 2)
        if stat is None or not (0 <= at(stat, 1) < SIZE_END and 0 <= at(stat, 2) < SIZE_END):
            return None
        if not at(stat, 3) & FILE_TYPE_BITS:  # else a file that only has a dma-buf's name
            ref = named(FdRef, (at(link, 0), None, None))
            found.append(named(FdSight, (at(stat, 1), ref, stat, None, target[LINK_BYTES:])))
    return tuple(found)


def holdings(process, comm, tuple fds, tuple vmas, bint shares_fds, bint shares_maps):
    """`processes.holdings`: `vmas` are those that count."""
    cdef dict found = {}
    cdef dict further = {}
    cdef dict mapped = {}
    for vma in vmas:
        inode = at(vma, 5)
        if inode in mapped:
            (<list>mapped[inode]).append(vma)
        else:
            mapped[inode] = [vma]
    for sight in fds:
        inode = at(sight, 0)
        if inode in found:
            if inode not in further:
                further[inode] = [found[inode]]
            (<list>further[inode]).append(sight)
        else:
            found[inode] = sight
    for inode, sight in found.items():
        if inode in further or inode in mapped:
            mine = further.get(inode) or [sight]
            found[inode] = holding(process, comm, mine, mapped.pop(inode, None), shares_fds, shares_maps)
        else:
            found[inode] = only_holding(process, comm, sight, shares_fds)
    for inode, mine in mapped.items():
        found[inode] = holding(process, comm, [], mine, shares_fds, shares_maps)
    return found


cdef object only_holding(object process, object comm, object sight, bint shares_fds):
    """Most have one descriptor of a buffer."""
    ref, info = at(sight, 1), at(sight, 3)
    holder = named(Holder, (process, comm, (ref,), (), None))
    references = int(not shares_fds or at(ref, 1) is not None)
    count = None if info is None else info.file_count
    return named(Holding, (holder, references, at(sight, 2), info, count, at(sight, 4) or None, None))


cdef object holding(object process, object comm, list fds, list vmas, bint shares_fds, bint shares_maps):
    cdef list refs = []
    cdef list maps = []
    cdef Py_ssize_t references = 0
    stat = info = file_count = link_name = map_name = None
    for sight in fds:
        ref, its_info, name = at(sight, 1), at(sight, 3), at(sight, 4)
        refs.append(ref)
        references += not shares_fds or at(ref, 1) is not None
        if stat is None:
            stat = at(sight, 2)
        if its_info is not None:
            if info is None:
                info = its_info
            if file_count is None or its_info.file_count < file_count:
                file_count = its_info.file_count
        if link_name is None and name:
            link_name = name
    if vmas is not None:
        for vma in vmas:
            path = at(vma, 6)
            maps.append(named(MapRef, (at(vma, 0), at(vma, 1) - at(vma, 0), at(vma, 3), at(vma, 2))))
            references += not shares_maps
            if map_name is None and path.startswith(b"/dmabuf:"):
                map_name = path[LINK_BYTES:] or None
    holder = named(Holder, (process, comm, tuple(refs), tuple(maps), None))
    return named(Holding, (holder, references, stat, info, file_count, link_name, map_name))


def others(dict now, dict before, dict put):
    """Put what is another than before, and take out of `before` all that there is now."""
    cdef list all_of_it
    for inode, mine in now.items():
        old = before.pop(inode, None)
        if old is mine or old == mine:
            continue
        all_of_it = put.get(inode)
        if all_of_it is None:
            put[inode] = [mine]
        else:
            all_of_it.append(mine)


def shares(buffers, kind):
    """`ownership.shares`, each made a `kind`."""
    cdef dict accounts = {}
    cdef list account
    for buffer in buffers:
        inode, size, holders = at(buffer, 0), at(buffer, 1) or 0, at(buffer, 8)
        count = len(holders)
        for holder in holders:
            process = at(holder, 0)
            account = accounts.get(process)
            if account is None:
                account = accounts[process] = [0, 0, []]
            account[0] += size
            account[1] += size // count
            (<list>account[2]).append(inode)
    for process, account in accounts.items():
        account[2].sort()
        accounts[process] = named(kind, (account[0], account[1], tuple(account[2])))
    return accounts


def build(inode, parts, twin):
    """The buffer, as `twin` makes it; None where that must do it."""
    cdef unsigned long tellers
    holdings, row, entry, trust_row, heap_names = parts[:5]
    listed, runs, dumped, info, origin = parts[5:]
    if entry is not None or dumped is not None or row is not None and (row.attachments or row.fences):
        return None
    holders, references, stat, newest, file_count, link_name, map_name = joined(holdings, info)
    linked = link_name or map_name
    exporter = first(listed and listed.exp_name, newest and newest.exp_name, row and row.exp_name)
    exporter = None if exporter is None else exporter.decode("utf-8", "surrogateescape")
    heap = None if exporter is None else heap_names.heap_of(exporter)
    by_row = row.file_count if row is not None and row.file_count >= 0 else None
    counts = (by_row, file_count) if trust_row else (file_count, by_row)
    count = first(listed and listed.file_count, counts[0], counts[1])
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
        tellers |= (1 << 10 | (listed.file_count is not None) << 11 | listed.is_pinned << 12
                    | (listed.name is None) << 13)
    if row is not None:
        tellers |= (1 << 14 | (row.file_count >= 0) << 15 | (row.exp_name is not None) << 16
                    | (row.attachments is not None) << 17 | (row.fences is not None) << 18)
    size = first(listed and listed.size, stat and at(stat, 2), first(newest and newest.size, row and row.size, None))
    return named(Buffer, (
        inode, size, exporter, None if name is None else name.decode("utf-8", "surrogateescape"), count, hidden,
        None if row is None else row.attachments, None if row is None else row.fences, holders, heap,
        told(tellers, inode, parts, twin), runs, origin))


cdef inline object first(object one, object two, object three):
    return one if one is not None else two if two is not None else three


cdef tuple joined(tuple holdings, object info):
    """Of all that hold it: the holders, their references, and what the first that tells it says."""
    cdef list holders = []
    stat = file_count = link_name = map_name = None
    references = 0
    newest = info
    for holding in holdings:
        holders.append(at(holding, 0))
        references = None if references is None or at(holding, 1) is None else references + at(holding, 1)
        stat = at(holding, 2) if stat is None else stat
        newest = at(holding, 3) if newest is None else newest
        if at(holding, 4) is not None and (file_count is None or at(holding, 4) < file_count):
            file_count = at(holding, 4)
        link_name = link_name or at(holding, 5) or None
        map_name = map_name or at(holding, 6) or None
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
