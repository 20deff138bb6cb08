"""Live events as documents: valid, whatever is known of them."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import heaptop.report
from heaptop.model import CmaReason, Event, EventKind, Snapshot
from heaptop.report import events
from heaptop.report import json as report
from tests.report.samples import EMPTY, SNAPSHOT

SCHEMA = json.loads((Path(heaptop.report.__file__).parent / "heaptop-1.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)

counts = st.none() | st.integers(0, 2**64 - 1)
texts = st.none() | st.text()
EVENTS = st.builds(
    Event,
    kind=st.sampled_from(EventKind),
    time=st.floats(0, 4e9),
    pid=counts,
    tid=counts,
    comm=texts,
    size_bytes=counts,
    inode=counts,
    exporter=texts,
    latency_s=st.none() | st.floats(0, 1e6),
    pfn=counts,
    area=texts,
    align_order=counts,
    reason=st.none() | st.sampled_from(CmaReason),
    errno=st.none() | st.integers(1, 4095),
)


@given(EVENTS, st.sampled_from((None, EMPTY, SNAPSHOT)), st.floats(0, 100))
def test_documents_and_lines(event: Event, seen: Snapshot | None, after_s: float) -> None:
    if seen is not None:
        seen = seen._replace(cma=seen.cma[:1])
    line = report.dumps_line(events.document("kernel", event, seen, after_s))
    VALIDATOR.validate(json.loads(line))
    text = events.line(event, seen)
    assert text.endswith("\n")
    assert text[:-1].isprintable()
