"""Opens the app. The first look begins here, in its thread, while Textual is still being imported."""

import gc

from heaptop.backend.base import Backend
from heaptop.errors import Exit
from heaptop.tui.poller import Poller


def run_app(
    backend: Backend,
    *,
    note: str,
    interval_s: float,
    readonly: bool,
    filter_text: str | None,
    theme: str | None,
) -> int:
    """Run the app until the user or a signal ends it; returns the exit code.

    However it ends, test buffers are freed and the backend is closed.
    """
    poller = Poller(backend, interval_s)
    poller.start()
    try:
        gc.disable()  # what is made while modules load, stays
        from heaptop.tui.app import HeaptopApp  # noqa: PLC0415 - a fifth of a second, in which the first scan runs

        gc.freeze()
        gc.enable()
        app = HeaptopApp(
            backend,
            note=note,
            interval_s=interval_s,
            readonly=readonly,
            filter_text=filter_text,
            theme=theme,
            poller=poller,
        )
        try:
            code = app.run()
        finally:
            app.live.turn_off()
            app.held.close()
        return int(app.return_code or Exit.OK if code is None else code)
    finally:
        poller.close()
