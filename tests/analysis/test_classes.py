"""`analysis.classes`."""

from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.classes import NOBODY, class_deltas, class_of, family, holder_text, untold_by
from heaptop.model import Gap
from tests.analysis.builders import buffer, holder, snapshot


def test_numbers_in_names() -> None:
    assert family("frag-07") == family("frag-12") == "frag-#"
    assert family("1920x1080 0x7f12ab cam0") == "#x# # cam#"
    assert family("id deadbeef01 of fade") == "id # of fade"
    assert family("") is family(None) is None


@given(st.text())
def test_a_family_is_its_own(name: str) -> None:
    once = family(name)
    assert once == family(once)


def test_holders_once_each_in_order() -> None:
    assert class_of(buffer(1, holders=[holder(3, "b"), holder(1, "a"), holder(2, "b")])).holders == ("a", "b")
    assert class_of(buffer(1)).holder == NOBODY
    assert holder_text(("a", "b", "c", "d", "e")) == "a+b+c+2 more"


def test_deltas_by_class_need_no_inodes() -> None:
    app = [holder(1)]
    before = [buffer(1, 10, name="a", holders=app), buffer(2, 20, name="b-1", holders=app)]
    now = [buffer(7, 20, name="b-1", holders=app), buffer(8, 20, name="b-2", holders=app), buffer(9, None)]
    grown, unknown, gone = class_deltas(before, now)
    assert (grown.name, grown.before, grown.now, grown.size_bytes) == ("b-#", 1, 2, 20)
    assert (unknown.count, unknown.size_bytes) == (1, 0)
    assert (gone.name, gone.count, gone.size_bytes) == ("a", -1, -10)


def test_what_one_side_does_not_tell_makes_no_classes() -> None:
    told = snapshot(buffer(1, 10, name="a", holders=[holder(1)]), buffer(2, 20, name="b", holders=[holder(1)]))
    rows = [
        buffer(inode, 20 if inode > 7 else 10, exporter=None, name="a" if inode == 7 else "b") for inode in (7, 8, 9)
    ]
    dump = snapshot(*rows)._replace(gaps=(Gap("who holds 3 buffers", "this dump does not tell", ""),))
    untold = untold_by(told, dump)
    assert untold == ("exporter", "holder")
    (delta,) = class_deltas(told.buffers, dump.buffers, untold)
    assert (delta.key, delta.count, delta.name) == ((None, 20, "b", ()), 1, "b")
    assert untold_by(told, told) == untold_by(snapshot(), told) == ()
    orphaned = snapshot(buffer(1, 10, name="a"))
    assert untold_by(orphaned) == ()
    assert untold_by(snapshot(buffer(1, provenance={}))) == ("name",)
