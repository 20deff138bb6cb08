"""`report.growth` and `analysis.verdict_words`."""

import pytest

from heaptop.analysis.sites import shares
from heaptop.analysis.verdict_words import as_buffer, dots, format_rate, verdict_text
from heaptop.report.growth import document, evidence_lines, site_lines, text
from heaptop.report.table import Look
from tests.analysis.builders import snapshot
from tests.analysis.test_sites import WHOLE, held, name, stack
from tests.analysis.worlds import APP, CAMERA, World


def test_rates_have_the_digits_that_matter() -> None:
    assert [format_rate(value) for value in (120, 99.96, 2.5, 2, 0.041, -3)] == [
        "+120",
        "+100",
        "+2.5",
        "+2",
        "+0.04",
        "-3",
    ]


@pytest.mark.parametrize(("share", "shown"), [(0, "○○○○○"), (0.5, "●●●○○"), (0.93, "●●●●●"), (2, "●●●●●")])
def test_dots(share: float, shown: str) -> None:
    assert dots(share) == shown
    assert dots(share, unicode=False) == shown.replace("●", "*").replace("○", ".")


def test_what_is_said_of_classes() -> None:
    world = World()
    for now in world.pass_(100):
        if now < 3:
            world.new(name="pool", holders=[APP])
        if now == 60:
            world.buffers.clear()
            world.new(name="pool", holders=[APP])
        if now > 95:
            world.new(name="new", holders=[CAMERA])
    texts = {verdict.name: verdict_text(verdict, world.growth) for verdict in world.growth.verdicts}
    assert texts == {"pool": "comes and goes: 0 to 2", "new": "comes and goes: 0 to 5"}


def test_evidence_of_several_sizes_and_as_a_buffer() -> None:
    world = World()
    for now in world.pass_(30):
        world.new(4096 * int(now), f"log {now:.0f}", [APP])
    (suspect,) = world.suspects
    lines = evidence_lines(suspect)
    assert lines[0] == "! +60 a minute of various system log #, held by app"
    assert lines[-1].startswith("  sizes: 4.00 KiB, 8.00 KiB")
    buffer = as_buffer(suspect)
    assert (buffer.size_bytes, buffer.name, [holder.comm for holder in buffer.holders]) == (None, "log #", ["app"])


def test_where_the_buffers_of_a_suspect_were_allocated() -> None:
    world = World()
    for _ in world.pass_(30):
        world.new(4096, "log", [APP])
    (suspect,) = world.suspects
    found = shares([held(1, WHOLE), held(2, WHOLE), held(3, stack(5)), held(4, None)], name)
    assert [(share.buffers, share.size_bytes) for share in found] == [(2, 8192), (1, 4096)]
    assert site_lines(found) == [
        "  allocated at: heap_alloc (heaplib.cc:9) for player::decode(int) (player.cc:22): 2 buffers",
        "  allocated at: main (player.cc:40): 1 buffer",
    ]
    seen = snapshot()
    assert "  allocated at: heap_alloc" in text(seen, world.growth, [suspect], Look(), {0: found})
    sites = document(seen, world.growth, [suspect], (), None, sites={0: found})["suspects"]
    assert isinstance(sites, list)
    assert [share["buffers"] for share in sites[0]["call_sites"]] == [2, 1]
