"""The HTML page: whole, self-contained, and safe whatever the names are."""

from html.parser import HTMLParser

from heaptop.report.html import Seen, page
from heaptop.units import printable
from tests.report.samples import EMPTY, SNAPSHOT

VOID = {"meta"}


class Checker(HTMLParser):
    """Tags that are open, all that were seen, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker


def test_it_tells_all_and_loads_nothing() -> None:
    found = checked(page(Seen(SNAPSHOT, began_at=0.0, trend_bytes=(1, 2, 3))))
    for buffer in SNAPSHOT.buffers:
        assert str(buffer.inode) in found.text
    for process in SNAPSHOT.processes:
        assert printable(process.comm) in found.text
    for gap in SNAPSHOT.gaps:
        assert gap.why in found.text
    assert found.tags & {"script", "link", "img", "iframe", "object"} == set()
    assert found.attributes & {"src", "href", "onload", "onclick"} == set()


def test_nothing_at_all() -> None:
    checked(page(Seen(EMPTY)))


def test_names_are_hostile() -> None:
    evil = '</td><script>alert(1)</script>"\x1b[31m\udcff'
    buffers = tuple(buffer._replace(name=evil, exporter=evil) for buffer in SNAPSHOT.buffers)
    areas = tuple(area._replace(name=evil) for area in SNAPSHOT.cma)
    found = checked(page(Seen(SNAPSHOT._replace(source=evil, buffers=buffers, cma=areas))))
    assert "script" not in found.tags
    assert "<script>alert(1)</script>" in found.text
    assert "\x1b" not in found.text
