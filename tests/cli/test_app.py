"""`heaptop` without a verb: what reaches the app, and when there is none."""

import os
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.cli.conftest import FakeBackend, Opened, Run

Calls = list[dict[str, Any]]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    """A source, and a terminal on stdin and stdout."""
    made = FakeBackend()
    monkeypatch.setattr("heaptop.backend.select.open_backend", lambda *_, **__: Opened(made, "the kernel has heaps"))
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr("heaptop.cli.app.sys", SimpleNamespace(stdin=terminal, stdout=terminal))
    return made


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What the app was started with; it is not started."""
    made: Calls = []
    module = ModuleType("heaptop.tui.start")

    def run_app(source: Callable[[], Opened], **options: object) -> int:
        opened = source()
        made.append({"backend": opened.backend, "note": opened.note, **options})
        return 0

    module.run_app = run_app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "heaptop.tui.start", module)
    return made


def test_options_reach_the_app(backend: FakeBackend, calls: Calls, run: Run) -> None:
    assert run("--filter", "size>1M", "--interval", "500ms", "--readonly").code == 0
    assert calls == [
        {
            "backend": backend,
            "note": "the kernel has heaps",
            "source_name": "auto",
            "interval_s": 0.5,
            "readonly": True,
            "filter_text": "size>1M",
            "theme": None,
            "may_be_refused": False,
        }
    ]


@pytest.mark.parametrize("words", [("-b", "replay:x"), ("-b", "emulator"), ("--at", "1"), ("--root", "/x")])
def test_a_source_that_may_be_refused_is_opened_before_there_is_a_screen(
    backend: FakeBackend, calls: Calls, monkeypatch: pytest.MonkeyPatch, run: Run, words: tuple[str, str]
) -> None:
    monkeypatch.setattr("heaptop.cli.source.stand_at", lambda *_: None)
    assert run(*words).code == 0
    assert calls[0]["may_be_refused"]


def test_defaults(backend: FakeBackend, calls: Calls, run: Run) -> None:
    assert run().code == 0
    assert (calls[0]["interval_s"], calls[0]["readonly"], calls[0]["filter_text"]) == (1.0, False, None)


def test_no_color_is_the_environment_s(
    backend: FakeBackend, calls: Calls, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert run("--no-color").code == 0
    assert os.environ["NO_COLOR"] == "1"


def test_a_wrong_filter_is_told_before_the_app_opens(backend: FakeBackend, calls: Calls, run: Run) -> None:
    ran = run("--filter", "size>")
    assert (ran.code, calls) == (2, [])
    assert ran.err.splitlines()[1:] == ["  size>", "  ^"]


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_has_no_app(
    term: str, backend: FakeBackend, calls: Calls, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    ran = run()
    assert (ran.code, calls) == (2, [])
    assert "use a verb: heaps" in ran.err
