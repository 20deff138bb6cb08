"""`heaptop export`: files, stdout, and the server for Prometheus."""

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop.cli.serve import Exposition, address_of
from heaptop.errors import Exit, SourceError, UsageError
from tests.cli.conftest import Run

CAPTURE = str(Path(__file__).parent.parent / "captures" / "6.12.117-x86_64.tar.gz")
SOURCE = ("-b", f"replay:{CAPTURE}")


def test_a_page_and_a_file(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run(*SOURCE, "export", "--html", str(page)).code == Exit.OK
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert page.stat().st_mode & 0o777 == 0o600
    again = run(*SOURCE, "export", "--html", str(page))
    assert (again.code, "it exists" in again.err) == (Exit.USAGE, True)
    assert run(*SOURCE, "export", "--html", str(page), "--force").code == Exit.OK


def test_to_stdout(run: Run) -> None:
    assert run(*SOURCE, "export", "--openmetrics", "-").out.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "nothing to make"),
        (("--html", "x", "--openmetrics", "y"), "one format at a time"),
        (("--listen", "9477", "--for", "1s"), "--for says nothing to --listen"),
        (("--listen", "x"), "no port"),
        (("--listen", "70000"), "no port"),
    ],
)
def test_bad_words(run: Run, arguments: tuple[str, ...], why: str) -> None:
    ran = run(*SOURCE, "export", *arguments)
    assert (ran.code, why in ran.err) == (Exit.USAGE, True)


def test_loopback_unless_told_otherwise() -> None:
    assert address_of("9477") == ("127.0.0.1", 9477)
    assert address_of("0.0.0.0:1") == ("0.0.0.0", 1)
    assert address_of("[::1]:1") == ("::1", 1)
    with pytest.raises(UsageError):
        address_of("host")


def test_a_source_is_asked_no_faster_than_told() -> None:
    now = [0.0]
    made: list[float] = []

    def make() -> str:
        made.append(now[0])
        return str(len(made))

    exposition = Exposition(make, 5.0, lambda: now[0])
    assert [exposition.text(), exposition.text()] == ["1", "1"]
    now[0] = 5.0
    assert exposition.text() == "2"


def test_a_source_that_is_gone_is_told_each_time() -> None:
    def make() -> str:
        raise SourceError("the emulator has ended")

    exposition = Exposition(make, 5.0)
    for _ in range(2):
        with pytest.raises(SourceError):
            exposition.text()


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "heaptop", *SOURCE, "export", "--listen", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "serving" in line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", line)
            assert found is not None
            yield process, int(found[1])
        finally:
            process.kill()


def test_the_server(server: tuple[subprocess.Popen[str], int]) -> None:
    process, port = server

    def get(path: str, method: str = "GET") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.getheader("Content-Type", ""), body

    status, kind, body = get("/metrics")
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    assert body.endswith("# EOF\n")
    assert get("/metrics", "HEAD")[2] == ""
    assert get("/other")[0] == 404
    assert get("/metrics", "POST")[0] == 501
    stuck = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    stuck.connect()  # says nothing, and holds nobody up
    assert get("/metrics")[0] == 200
    stuck.close()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) == Exit.INTERRUPTED


def test_a_port_that_is_taken(server: tuple[subprocess.Popen[str], int], run: Run) -> None:
    ran = run(*SOURCE, "export", "--listen", str(server[1]))
    assert (ran.code, "EADDRINUSE" in ran.err) == (Exit.UNAVAILABLE, True)
