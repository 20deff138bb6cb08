"""Serves what is seen as OpenMetrics over HTTP: `heaptop export --listen`."""

import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from heaptop.errors import HeaptopError, UsageError, errno_text
from heaptop.report.openmetrics import CONTENT_TYPE

LOOPBACK: Final = "127.0.0.1"
PATH: Final = "/metrics"
CLIENT_TIMEOUT_S: Final = 10.0
CLIENTS_MAX: Final = 8
"""Of a client that keeps its connection, and of so many that there is no end: neither may hold the others up."""


def address_of(text: str) -> tuple[str, int]:
    """`9477`, `0.0.0.0:9477`, `[::1]:9477`, `host:0` (any free port): loopback where no host is named.

    Raises:
        UsageError: it is none.
    """
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen {text}", "no port", "write one like 9477, or HOST:PORT")
    return host.strip("[]") or LOOPBACK, int(port)


class Exposition:
    """The newest text. It is made anew where it is older than `interval_s`: a source is asked no faster than that,
    however many ask for it, and by one at a time.
    """

    def __init__(self, make: Callable[[], str], interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._text = ""
        self._made_at: float | None = None

    def text(self) -> str:
        """The exposition.

        Raises:
            HeaptopError: the source is gone.
        """
        with self._lock:
            if self._made_at is None or self._clock() - self._made_at >= self._interval_s:
                self._text = self._make()
                self._made_at = self._clock()
            return self._text


class Server(ThreadingHTTPServer):
    """An HTTP server that knows one page."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], exposition: Exposition) -> None:
        self.exposition = exposition
        self.failure: HeaptopError | None = None
        self._room = threading.BoundedSemaphore(CLIENTS_MAX)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        """Where all places are taken the newest is sent away at once."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)  # type: ignore[arg-type]
        else:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one client."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away in the middle is none of ours."""

    def fail(self, error: HeaptopError) -> None:
        """The source is gone: stop serving, from any thread."""
        self.failure = error
        threading.Thread(target=self.shutdown, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = CLIENT_TIMEOUT_S
    server_version = "heaptop"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] not in (PATH, "/"):
            self.send_error(404, f"only {PATH} is here")
            return
        try:
            body = self.server.exposition.text().encode()
        except HeaptopError as error:
            self.send_error(503, "the source is gone")
            self.server.fail(error)
            return
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Scrapes are not narrated."""


def serve(address: tuple[str, int], exposition: Exposition, ready: Callable[[str], None]) -> None:
    """Serve until interrupted, or until the source is gone; `ready` is told the URL.

    Raises:
        HeaptopError: the address cannot be had, or the source is gone.
    """
    try:
        server = Server(address, exposition)
    except OSError as error:
        where = f"{address[0]}:{address[1]}"
        raise HeaptopError(f"cannot listen on {where}", errno_text(error.errno or 0), "name another port") from error
    with server:
        host, port = server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        ready(f"http://{shown}:{port}{PATH}")
        server.serve_forever(poll_interval=0.5)
    if server.failure is not None:
        raise server.failure
