"""The JSON documents: their schema, their stability, and nothing lost of hostile names."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import heaptop.report
from heaptop import recording
from heaptop.assemble import assemble
from heaptop.model import CmaRange, PageRun, Snapshot
from heaptop.report import doctor, doctor_text
from heaptop.report import json as report
from heaptop.report.moment import timestamp
from tests.report.samples import EMPTY, EVIL, SNAPSHOT, buffer
from tests.support import archive

SCHEMA = json.loads((Path(heaptop.report.__file__).parent / "heaptop-1.schema.json").read_text())


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(SCHEMA)
    return Draft202012Validator(SCHEMA)


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_the_schema_is_strict() -> None:
    assert all("additionalProperties" in found for found in objects(SCHEMA))


@pytest.mark.parametrize("lists", [(), *((name,) for name in report.LISTS), report.LISTS], ids="+".join)
@pytest.mark.parametrize("snapshot", [SNAPSHOT, EMPTY], ids=["sample", "empty"])
def test_documents_are_valid(lists: tuple[str, ...], snapshot: Snapshot, validator: Draft202012Validator) -> None:
    document = report.document(snapshot, lists, {62: 1_750_000_000.0})
    validator.validate(json.loads(report.dumps(document)))
    validator.validate(json.loads(report.dumps_line(document)))


def test_where_a_buffer_lies(validator: Draft202012Validator) -> None:
    placed = buffer(1, runs=(PageRun(0x5BE00, 1024), PageRun(7, 1)))
    document = report.document(SNAPSHOT._replace(buffers=(placed, buffer(2))), ["buffers"])
    validator.validate(document)
    first, second = json.loads(report.dumps(document))["buffers"]
    assert first["runs"] == [{"pfn": 0x5BE00, "count_pages": 1024}, {"pfn": 7, "count_pages": 1}]
    assert second["runs"] is None


def test_captures_are_valid(capture_name: str, validator: Draft202012Validator) -> None:
    capture = recording.read(str(archive(capture_name)))
    snapshot = assemble(capture)
    validator.validate(json.loads(report.dumps(report.document(snapshot, report.LISTS))))
    validator.validate(json.loads(report.dumps(doctor_text.document(doctor.examine(capture, (), None), snapshot))))


@pytest.mark.parametrize("broken", [{"frob": 1}, {"buffers": [{"inode": 1}]}, {"schema": "heaptop/2"}, {"gaps": None}])
def test_the_schema_refuses(broken: dict[str, object], validator: Draft202012Validator) -> None:
    document = json.loads(report.dumps(report.document(SNAPSHOT, ())))
    assert validator.is_valid(document)
    assert not validator.is_valid({**document, **broken})


def test_the_common_core_has_exactly_its_keys() -> None:
    document = json.loads(report.dumps(report.document(SNAPSHOT, report.LISTS)))
    core = {
        "heaps": {"name", "exporter", "buffers", "size_bytes", "cma_area"},
        "buffers": {
            *("inode", "size_bytes", "exporter", "name", "file_count", "hidden_refs", "attachments", "first_seen"),
            "holders",
        },
        "processes": {"pid", "comm", "uid", "rss_bytes", "pss_bytes", "buffers"},
        "cma": {
            *("name", "base_pfn", "count_pages", "order_per_bit", "used_pages", "max_free_run_pages", "ranges"),
        },
    }
    assert {"schema", "source", "boot_id", "captured_at", "gaps"} <= document.keys()
    for name, keys in core.items():
        assert all(keys <= item.keys() for item in document[name])
    holder = document["buffers"][1]["holders"][0]
    assert holder["fds"] == [14, 21]
    assert holder["fd_refs"][1] == {"fd": 21, "tid": 830, "flags": 2}
    assert set(document["gaps"][0]) == {"what", "why", "remedy"}


def test_a_range_tells_what_it_can() -> None:
    def ranges(part: CmaRange, order_per_bit: int | None) -> list[dict[str, object]]:
        area = SNAPSHOT.cma[0]._replace(ranges=(part,), order_per_bit=order_per_bit)
        document = report.dumps(report.document(SNAPSHOT._replace(cma=(area,)), ("cma",)))
        found: list[dict[str, object]] = json.loads(document)["cma"][0]["ranges"]
        return found

    assert ranges(CmaRange(16, 8, None), 0)[0]["used_pages"] is None
    assert ranges(CmaRange(16, 8, b"\x01"), None)[0]["used_pages"] is None
    assert ranges(CmaRange(None, 8, b"\x01"), 0)[0] == {
        "base_pfn": None,
        "count_pages": 8,
        "used_pages": 1,
        "free_runs": None,
    }
    assert ranges(CmaRange(16, 16, b"\x01"), 2)[0]["free_runs"] == [{"pfn": 20, "count_pages": 12}]


def test_a_document_has_a_line_per_item() -> None:
    lines = report.dumps(report.document(SNAPSHOT, ("buffers",))).splitlines()
    items = [json.loads(line.rstrip(",")) for line in lines if line.startswith('{"inode"')]
    assert [item["inode"] for item in items] == [buffer.inode for buffer in SNAPSHOT.buffers]
    assert report.dumps_line(report.document(SNAPSHOT, report.LISTS)).count("\n") == 1


def test_nothing_of_the_model_is_forgotten() -> None:
    document = json.loads(report.dumps(report.document(SNAPSHOT, report.LISTS)))
    told = {"id", "process", "fds", "holders", "bitmap"}  # under other names
    for item, keys in (
        (SNAPSHOT.memory, document["memory"]),
        (SNAPSHOT.heaps[0], document["heaps"][0]),
        (SNAPSHOT.exporters[0], document["exporters"][0]),
        (SNAPSHOT.buffers[1], document["buffers"][1]),
        (SNAPSHOT.buffers[1].holders[0], document["buffers"][1]["holders"][0]),
        (SNAPSHOT.buffers[1].holders[0].fds[0], document["buffers"][1]["holders"][0]["fd_refs"][0]),
        (SNAPSHOT.buffers[1].holders[1].maps[0], document["buffers"][1]["holders"][1]["maps"][0]),
        (SNAPSHOT.processes[0], document["processes"][0]),
        (SNAPSHOT.cma[0], document["cma"][0]),
        (SNAPSHOT.cma[0].ranges[0], document["cma"][0]["ranges"][0]),
    ):
        assert set(item._fields) - told - {"counted"} <= keys.keys()


def test_free_runs() -> None:
    reserved, dark = json.loads(report.dumps(report.document(SNAPSHOT, ("cma",))))["cma"]
    assert reserved["ranges"] == [
        {
            "base_pfn": 0x5BE00,
            "count_pages": 64,
            "used_pages": 40,
            "free_runs": [{"pfn": 0x5BE00 + 28, "count_pages": 20}, {"pfn": 0x5BE00 + 60, "count_pages": 4}],
        }
    ]
    assert (dark["ranges"], dark["used_pages"]) == ([], None)


@given(st.text(st.characters(exclude_categories=())).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_name_survives(raw: bytes) -> None:
    name = raw.decode("utf-8", "surrogateescape")
    snapshot = Snapshot("kernel", None, None, None, 4096, (), (), (), (buffer(1, name=name),), (), ())
    text = report.dumps(report.document(snapshot, ("buffers",)))
    assert text.isascii()
    assert json.loads(text)["buffers"][0]["name"].encode("utf-8", "surrogateescape") == raw


def test_an_invalid_byte_is_a_lone_surrogate() -> None:
    assert "\\udcff" in report.dumps(report.document(SNAPSHOT, ("buffers",)))
    assert "\x1b" not in report.dumps(report.document(SNAPSHOT, report.LISTS))
    assert EVIL in [
        item["name"] for item in json.loads(report.dumps(report.document(SNAPSHOT, ("buffers",))))["buffers"]
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, "1970-01-01T00:00:00.000Z"), (None, None), (1e300, None), (float("nan"), None), (-1e12, None)],
)
def test_timestamps(seconds: float | None, expected: str | None) -> None:
    assert timestamp(seconds) == expected
