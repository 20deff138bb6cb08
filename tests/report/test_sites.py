"""Exports of call sites: each is what its readers take, whatever names are in it."""

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

import heaptop.report
from heaptop.analysis.sites import By, Of, Sample, by_stack, grouped, samples, tree
from heaptop.call_stack import Location
from heaptop.report import collapsed, flame, speedscope
from heaptop.report import sites as report
from heaptop.report.json import dumps
from heaptop.report.table import Look
from tests.analysis.builders import snapshot
from tests.analysis.test_sites import WHOLE, held, name, stack

HOSTILE = st.text(max_size=20) | st.sampled_from(
    ("</script><script>alert(1)", '" onclick="x', "a;b c\n9", "]]>", "&lt;", "\x1b[2J", "\ud800", "\0")
)
PLACES = st.builds(
    Location, st.none() | HOSTILE, st.none() | HOSTILE, st.none() | st.integers(0, 10**6), HOSTILE, st.integers(0, 99)
)
SAMPLES = st.lists(
    st.builds(Sample, st.lists(PLACES, max_size=5).map(tuple), st.integers(0, 2**50), st.integers(0, 10**6)),
    max_size=12,
)
# What https://www.speedscope.app/file-format-schema.json says of a sampled profile.
SPEEDSCOPE = {
    "type": "object",
    "required": ["$schema", "shared", "profiles"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "shared": {
            "type": "object",
            "required": ["frames"],
            "properties": {
                "frames": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string"},
                            "file": {"type": "string"},
                            "line": {"type": "number"},
                            "col": {"type": "number"},
                        },
                    },
                }
            },
        },
        "profiles": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "name", "unit", "startValue", "endValue", "samples", "weights"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "sampled"},
                    "name": {"type": "string"},
                    "unit": {"enum": ["none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"]},
                    "startValue": {"type": "number"},
                    "endValue": {"type": "number"},
                    "samples": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                    "weights": {"type": "array", "items": {"type": "number"}},
                },
            },
        },
        "name": {"type": "string"},
        "activeProfileIndex": {"type": "number"},
        "exporter": {"type": "string"},
    },
}


@given(SAMPLES, st.sampled_from(By))
def test_speedscope(given_samples: list[Sample], by: By) -> None:
    document = json.loads(dumps(speedscope.document(given_samples, "emulator, live buffers", by)))
    jsonschema.validate(document, SPEEDSCOPE)
    frames = document["shared"]["frames"]
    assert document["profiles"][0]["name"].endswith(f"by {by.value}")
    for profile in document["profiles"]:
        assert len(profile["samples"]) == len(profile["weights"]) == len(given_samples)
        assert sum(profile["weights"]) == profile["endValue"]
        assert all(0 <= frame < len(frames) for sample in profile["samples"] for frame in sample)


@given(SAMPLES)
def test_collapsed(given_samples: list[Sample]) -> None:
    text = collapsed.text(given_samples)
    lines = text.split("\n")[:-1]
    assert all(re.fullmatch(r"[^\n]* \d+", line) for line in lines)
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == sum(sample.size_bytes for sample in given_samples)
    assert len({line.rpartition(" ")[0] for line in lines}) == len(lines)


def test_collapsed_reads_like_this() -> None:
    text = collapsed.text(samples(by_stack([held(1, WHOLE), held(2, WHOLE), held(3, None)]), name))
    template = "std::function<int ()>::operator()() const (function.h:9)"
    outer, inner = (
        "main (player.cc:40);player::decode(int) (player.cc:22)",
        "heap_alloc (heaplib.cc:9);ioctl (ioctl.c:36)",
    )
    whole = f"{outer};{template};{inner}"
    assert text.splitlines() == ["(not watched by heaptop) 4096", f"{whole} 8192"]


class Elements(HTMLParser):
    """All tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@given(SAMPLES, st.sampled_from(By), HOSTILE)
def test_the_page_holds_nothing_but_what_is_drawn(given_samples: list[Sample], by: By, title: str) -> None:
    page = flame.html(tree(given_samples, by), title, by)
    parser = Elements()
    parser.feed(page)
    tags = [tag for tag, _ in parser.found]
    assert tags.count("script") == 1
    assert set(tags) <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "p",
        "label",
        "input",
        "div",
        "button",
        "script",
    }
    for tag, attributes in parser.found:
        assert not any(name.startswith("on") or name in ("src", "href") for name in attributes)
        if tag == "button":
            assert set(attributes) == {"class", "data-x", "data-w", "title", "style"}
    assert "http:" not in re.sub(r'title="[^"]*"|>[^<]*<', "", page)


@given(SAMPLES, st.sampled_from(By), HOSTILE)
def test_the_picture_is_xml(given_samples: list[Sample], by: By, title: str) -> None:
    root = ET.fromstring(flame.svg(tree(given_samples, by), title, by))
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {"svg", "title", "text", "g", "rect"}
    for rectangle in root.iter("{http://www.w3.org/2000/svg}rect"):
        right = float(rectangle.attrib["x"]) + float(rectangle.attrib["width"])
        assert 0 <= right <= flame.WIDTH_PIXELS + 1


def test_text() -> None:
    buffers = [held(1, WHOLE), held(2, WHOLE), held(3, stack(1, 2, 5, cut="the copy of the stack ends")), held(4, None)]
    groups = grouped(by_stack(buffers), name)
    text = report.text(snapshot(*buffers), groups, name, Of.LIVE, Look(), limit=1)
    assert text.splitlines()[2:9] == [
        "  8.00 KiB     2 buffers  heap_alloc (heaplib.cc:9)  by player",
        "                     for  player::decode(int) (player.cc:22)",
        "    ioctl (ioctl.c:36)",
        "    heap_alloc (heaplib.cc:9)",
        "    std::function<int ()>::operator()() const (function.h:9)",
        "    player::decode(int) (player.cc:22)",
        "    main (player.cc:40)",
    ]
    assert text.endswith("1 call site more\n1 buffer, 4.00 KiB: heaptop did not watch their allocation\n")
    assert "cut: the copy" in report.text(snapshot(*buffers), groups, name, Of.LIVE, Look(), limit=9)
    narrow = report.text(snapshot(*buffers), groups, name, Of.LIVE, Look(width=48), limit=9)
    assert all(len(line) <= 48 for line in narrow.splitlines())
    assert "player.cc:22" in narrow


def test_document() -> None:
    buffers = [held(1, WHOLE), held(2, None)]
    document = report.document(snapshot(*buffers), grouped(by_stack(buffers), name), name, Of.LIVE)
    schema = json.loads((Path(heaptop.report.__file__).parent / "heaptop-1.schema.json").read_text())
    jsonschema.validate(json.loads(dumps(document)), schema)
    sites = json.loads(dumps(document))["sites"]
    assert [site["site"] and site["site"]["function"] for site in sites] == ["heap_alloc", None]
    assert sites[0]["caller"]["line"] == 22
    assert sites[0]["inodes"] == [1]
    assert [len(frame["places"]) for frame in sites[0]["stacks"][0]["frames"]] == [1, 1, 2, 1]
    assert sites[1]["stacks"] == []
