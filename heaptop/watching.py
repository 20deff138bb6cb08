"""Live events of a backend, by whatever can tell them: the running kernel is watched, the emulator tells by itself."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from heaptop.assemble import assemble
from heaptop.backend.base import Backend, EventFeed
from heaptop.errors import UsageError

if TYPE_CHECKING:
    from heaptop.trace.base import EventSource
    from heaptop.trace.join import Known

Ask = Callable[[Callable[[Backend], Any]], Any]
"""Runs a job that needs the backend, where that may be done, and gives its result."""


def event_source(backend: Backend, root: str = "/", ask: Ask | None = None) -> "EventSource":
    """The source of this backend's events, not yet started. `ask` is for who must not use the backend himself.

    Raises:
        UsageError: this backend has no events.
    """
    asked: Ask = ask or (lambda job: job(backend))
    if isinstance(backend, EventFeed):
        from heaptop.trace.feed import FeedEvents  # noqa: PLC0415 - one of the two is enough

        return FeedEvents(backend.subscribe, lambda: asked(lambda own: own.capture()))
    if backend.source != "kernel" or root != "/":
        place = backend.source if root == "/" else f"the kernel's files in {root}"
        raise UsageError("events", f"{place} has none", "only the running kernel and the emulator have")
    from heaptop.trace.kernel import KernelEvents  # noqa: PLC0415

    off: frozenset[str] = getattr(backend, "off", frozenset())
    return KernelEvents(lambda: asked(_known), by_bpf="bpf" not in off)


def _known(backend: Backend) -> "Mapping[int, Known]":
    """The buffers alive, for when they are freed."""
    from heaptop.trace.join import Known  # noqa: PLC0415

    return {buffer.inode: Known(buffer.size_bytes, buffer.exporter) for buffer in assemble(backend.capture()).buffers}
