"""Subscribers are told, or what they missed is counted."""

import json
import os

import pytest

from heaptop_emulator import events
from heaptop_emulator.events import Events


def lines(read_end: int) -> list[dict[str, object]]:
    return [json.loads(line) for line in os.read(read_end, 1 << 20).splitlines()]


def test_an_event_reaches_every_subscriber() -> None:
    told = Events()
    ends = [told.subscribe(), told.subscribe()]
    told.tell("alloc", os.getpid(), inode=62)
    for end in ends:
        (event,) = lines(end)
        assert (event["kind"], event["pid"], event["inode"], event["lost"]) == ("alloc", os.getpid(), 62, 0)
        assert event["comm"]
        os.close(end)
    told.tell("free", None, inode=62)
    told.close()


def test_who_is_not_known_has_no_name() -> None:
    told = Events()
    end = told.subscribe()
    told.tell("free", None, inode=62)
    (event,) = lines(end)
    assert (event["pid"], event["tid"], event["comm"]) == (None, None, None)
    os.close(end)
    told.close()


def test_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PIPE_BYTES", 4096)
    told = Events()
    end = told.subscribe()
    for number in range(200):
        told.tell("free", None, inode=number)
    taken = lines(end)
    assert 0 < len(taken) < 200
    assert [event["inode"] for event in taken] == list(range(len(taken)))
    told.tell("free", None, inode=200)
    (last,) = lines(end)
    assert last["lost"] == 200 - len(taken)
    os.close(end)
    told.close()


def test_there_are_not_too_many() -> None:
    told = Events()
    ends = [told.subscribe() for _ in range(events.SUBSCRIBERS_MAX)]
    with pytest.raises(OSError, match="Too many"):
        told.subscribe()
    for end in ends:
        os.close(end)
    told.tell("free", None)
    os.close(told.subscribe())
    told.close()
