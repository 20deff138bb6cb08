"""The processes that hold buffers, kept up to date."""

from collections import Counter
from collections.abc import Mapping

from heaptop.assemble.gaps import Gaps
from heaptop.assemble.processes import View
from heaptop.assemble.shares import Share
from heaptop.changes import Rows, changed_items, changed_keys
from heaptop.model import Process, ProcessId

_Key = tuple[int, bool, int]


class HolderLister:
    """Lists them, one snapshot after the other; one of which nothing new is told stays the very same object."""

    def __init__(self) -> None:
        self._views: tuple[View, ...] = ()
        self._shares: Mapping[ProcessId, Share] = {}
        self._view_of: dict[ProcessId, View] = {}
        self._lacking: Counter[tuple[str, ...]] = Counter()
        self._lacking_of: dict[ProcessId, tuple[str, ...]] = {}
        self._listed: Rows[_Key, Process] = Rows()

    def list(self, views: tuple[View, ...], shares: Mapping[ProcessId, Share], gaps: Gaps) -> tuple[Process, ...]:
        """Those that have a share, by pid. `views` are in the order that `by_id` gives them."""
        touched = set(changed_keys(self._shares, shares))
        for _, before, now in changed_items(self._views, views, _key_of):
            if before is not None:
                touched.add(before.id)
                del self._view_of[before.id]
            if now is not None:
                touched.add(now.id)
                self._view_of[now.id] = now
        self._views, self._shares = views, shares
        for process in touched:
            self._note(process)
        for names, count in self._lacking.items():
            gaps.tally(f"{', '.join(names)} of {{}}", "holder", "could not be read", count=count)
        return self._listed.all()

    def _note(self, process: ProcessId) -> None:
        view, share = self._view_of.get(process), self._shares.get(process)
        listed = None if view is None or share is None else _listed(view, share)
        key = _key(process)
        before = self._listed.get(key)
        self._listed.put(key, before if before == listed else listed)
        lacking = () if view is None or share is None else view.lacking
        if names := self._lacking_of.pop(process, ()):
            self._lacking[names] -= 1
            if not self._lacking[names]:
                del self._lacking[names]
        if lacking:
            self._lacking_of[process] = lacking
            self._lacking[lacking] += 1


def by_id(views: tuple[View, ...]) -> tuple[View, ...]:
    """The last view of each process, in the order in which they are listed."""
    last = {_key(view.id): view for view in views}
    return tuple([last[key] for key in sorted(last)])


def _key(process: ProcessId) -> _Key:
    """By pid; what is without a start time comes last."""
    return process.pid, process.start_time is None, process.start_time or 0


def _key_of(view: View) -> _Key:
    return _key(view.id)


def _listed(view: View, share: Share) -> Process:
    return Process(
        id=view.id,
        comm=view.comm,
        uid=view.uid,
        cmdline=view.cmdline,
        cgroup=view.cgroup,
        oom_score_adj=view.oom_score_adj,
        rss_bytes=share.rss_bytes,
        pss_bytes=share.pss_bytes,
        inodes=share.inodes,
        threads_with_own_table=view.own_tables,
        libraries=view.libraries,
    )
