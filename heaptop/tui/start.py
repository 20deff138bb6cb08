"""Opens the app. What the source needs is loaded after the first frame, unless it may be refused: no screen comes
before that is known.
"""

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

from heaptop.errors import Exit
from heaptop.scan import floor
from heaptop.tui.poller import Poller

if TYPE_CHECKING:
    from heaptop.backend.select import Opened


def run_app(
    source: "Callable[[], Opened]",
    *,
    source_name: str,
    interval_s: float,
    readonly: bool,
    filter_text: str | None,
    theme: str | None,
    may_be_refused: bool = True,
) -> int:
    """Run the app until the user or a signal ends it; returns the exit code.

    `source` opens it, in the thread that looks; `source_name` is shown until that is done. One that `may_be_refused` is
    opened while Textual is being imported, so that it is refused without a screen. However the app ends, test buffers
    are freed and the backend is closed.

    Raises:
        UsageError, SourceError, RecordingError: the source cannot be opened.
    """
    floor.take()
    poller = Poller(source, interval_s)
    if may_be_refused:
        poller.start()
    try:
        gc.disable()  # what is made while modules load, stays: see `HostApp`
        from heaptop.tui.app import HeaptopApp

        if poller.refused is not None:
            raise poller.refused
        app = HeaptopApp(
            source_name=source_name,
            readonly=readonly,
            filter_text=filter_text,
            theme=theme,
            poller=poller,
        )
        try:
            code = app.run()
        finally:
            app.held.close()
        if poller.refused is not None:
            raise poller.refused
        return int(app.return_code or Exit.OK if code is None else code)
    finally:
        gc.enable()
        floor.give()
        poller.close()
