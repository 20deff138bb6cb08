"""The list verbs over a hand-made snapshot: order, filter, formats, streams."""

import csv
import io
import json

import pytest

from heaptop.model import Heap, Snapshot
from tests.cli.conftest import FakeBackend, Run, Use
from tests.report.samples import EMPTY, SNAPSHOT

LISTS = ("heaps", "buffers", "processes", "cma")


@pytest.fixture
def backend(use: Use) -> FakeBackend:
    return use(FakeBackend())


def inodes(out: str) -> list[int]:
    return [buffer["inode"] for buffer in json.loads(out)["buffers"]]


@pytest.mark.parametrize("verb", LISTS)
def test_json_has_the_head_and_its_list(verb: str, backend: FakeBackend, run: Run) -> None:
    ran = run(verb, "--json")
    document = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert {"schema", "source", "boot_id", "captured_at", "gaps", verb} <= document.keys()
    assert not document.keys() & (set(LISTS) - {verb})
    assert (document["schema"], document["captured_at"]) == ("heaptop/1", "2025-06-15T15:06:40.250Z")
    assert backend.closed == 1


@pytest.mark.parametrize("verb", LISTS)
def test_text_has_its_gaps_on_stderr(verb: str, backend: FakeBackend, run: Run) -> None:
    ran = run(verb)
    assert ran.code == 0
    assert ran.out.startswith("replay:sample (6.12.117): ")
    assert ran.err.splitlines() == [
        "note: bufinfo: EACCES (Permission denied); run as root",
        r"note: evil\nsize:\t999\x1b[31m[/x]\xff: unreadable",
    ]


@pytest.mark.parametrize("verb", LISTS)
@pytest.mark.parametrize("snapshot", [SNAPSHOT, EMPTY], ids=["sample", "empty"])
def test_csv_has_one_row_per_item(verb: str, snapshot: Snapshot, use: Use, run: Run) -> None:
    use(FakeBackend(), snapshot)
    ran = run(verb, "--csv")
    header, *rows = csv.reader(io.StringIO(ran.out, newline=""))
    assert len(rows) == len(getattr(snapshot, verb))
    assert all(len(row) == len(header) for row in rows)


@pytest.mark.parametrize("verb", LISTS)
def test_nothing_to_see_is_explained(verb: str, use: Use, run: Run) -> None:
    use(FakeBackend(), EMPTY)
    ran = run(verb)
    assert ran.code == 0
    assert "seen" in ran.out.splitlines()[1]


def test_order(backend: FakeBackend, run: Run) -> None:
    assert inodes(run("buffers", "--json").out) == [11, 62, 78, 90, 91]
    assert inodes(run("buffers", "--json", "--sort", "-size").out) == [78, 62, 11, 91, 90]
    assert inodes(run("buffers", "--json", "--sort", "size").out) == [91, 11, 62, 78, 90]
    text = run("buffers").out.splitlines()
    assert [line.split()[0] for line in text[2:]] == ["78", "62", "?", "91", "?"]


@pytest.mark.parametrize(
    ("verb", "key", "expected"),
    [
        ("heaps", "size", ["system", "reserved"]),
        ("processes", "rss", ["evil\nsize:\t999\x1b[31m[/x]\udcff", "cameraserver"]),
        ("cma", "-name", ["video@60000000", "reserved"]),
    ],
)
def test_each_list_sorts(verb: str, key: str, expected: list[str], backend: FakeBackend, run: Run) -> None:
    items = json.loads(run(verb, "--json", "--sort", key).out)[verb]
    assert [item["comm" if verb == "processes" else "name"] for item in items] == expected


def test_a_heap_whose_buffers_cannot_be_told_stays_so(use: Use, run: Run) -> None:
    use(FakeBackend(), SNAPSHOT._replace(heaps=(Heap("system", "heap_helpers", None, None, None),)))
    (heap,) = json.loads(run("heaps", "--json", "--filter", "system").out)["heaps"]
    assert (heap["buffers"], heap["size_bytes"]) == (None, None)


def test_filter(backend: FakeBackend, run: Run) -> None:
    assert inodes(run("buffers", "--json", "--filter", "orphan").out) == [11, 90]
    assert inodes(run("buffers", "--json", "--filter", "uid:1047 size>10M").out) == [78]
    processes = json.loads(run("processes", "--json", "--filter", "cameraserver").out)
    assert [process["pid"] for process in processes["processes"]] == [812]
    assert processes["totals"] == {
        "total_bytes": 66 << 20,
        "kernel_rss_bytes": 0,
        "userspace_rss_bytes": 66 << 20,
        "userspace_pss_bytes": 65 << 20,
    }


def test_a_filter_counts_heaps_anew(backend: FakeBackend, run: Run) -> None:
    document = json.loads(run("heaps", "--json", "--filter", "hidden>0").out)
    heaps = {heap["name"]: (heap["buffers"], heap["size_bytes"]) for heap in document["heaps"]}
    assert heaps == {"reserved": (0, 0), "system": (1, 512 << 10)}
    assert [exporter["name"] for exporter in document["exporters"]] == ["system"]


def test_a_wrong_filter_shows_where(run: Run) -> None:
    ran = run("buffers", "--filter", "size>1M frob>2")
    assert ran.code == 2
    first, expression, caret = ran.err.splitlines()
    assert first.startswith("heaptop: ")
    assert expression[caret.index("^") :].startswith("frob")


def test_options_reach_the_backend(backend: FakeBackend, run: Run) -> None:
    run("-b", "replay:x", "heaps", "--root", "/r", "--readonly")
    assert backend.asked == ("replay:x", "/r", True)


def test_what_auto_took_is_told_beside_the_data(use: Use, run: Run) -> None:
    use(FakeBackend(), EMPTY, note="source: emulator (no heaps\x1b here)")
    ran = run("heaps", "--json")
    assert ran.err == "heaptop: source: emulator (no heaps\\x1b here)\n"
    json.loads(ran.out)


def test_a_stream_is_json_lines_until_the_source_is_gone(use: Use, run: Run) -> None:
    backend = use(FakeBackend(looks=2))
    ran = run("buffers", "--json", "--interval", "100ms")
    documents = [json.loads(line) for line in ran.out.splitlines()]
    assert [document["schema"] for document in documents] == ["heaptop/1", "heaptop/1"]
    assert (ran.code, ran.err) == (3, "heaptop: the device: gone; plug it in\n")
    assert backend.closed == 1


def test_a_csv_stream_has_one_header(use: Use, run: Run) -> None:
    use(FakeBackend(looks=2))
    ran = run("buffers", "--csv", "--interval", "100ms")
    assert ran.out.splitlines() == [
        next(line for line in ran.out.splitlines() if line.startswith("captured_at,inode,"))
    ]


def test_a_text_stream_is_blocks(use: Use, run: Run) -> None:
    use(FakeBackend(looks=2))
    blocks = run("buffers", "--interval", "100ms").out.split("\n\n")
    assert len(blocks) == 2
    assert all("0 buffers" in block for block in blocks)
