"""`analysis.filter`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.filter import DEPTH_MAX, FilterContext, compile_filter
from heaptop.errors import FilterError, UsageError
from heaptop.model import Buffer, FdRef, Holder, MapRef, ProcessId
from tests.analysis.builders import buffer, holder, process

CAMERA = Holder(ProcessId(812, 5), "cameraserver", (FdRef(3), FdRef(4)), (MapRef(0, 4096, 0, "rw-s"),))
GALLERY = holder(900, "app-gallery:kid")
PREVIEW = buffer(39, 8 << 20, name="Cam Preview", holders=[CAMERA, GALLERY], file_count=5, hidden_refs=1, heap="system")
ORPHAN = buffer(11, None, name="", exporter=None)
UNTOLD = buffer(12, 4096, exporter="linux,cma", holders=[GALLERY], provenance={})
ALL = {each.inode: each for each in (PREVIEW, ORPHAN, UNTOLD)}
CONTEXT = FilterContext(
    now=100.0,
    first_seen={39: 95.0, 11: 10.0},
    new=frozenset({11}),
    since_mark=frozenset({39}),
    uids={CAMERA.process: 1047},
)


def matching(text: str, context: FilterContext = CONTEXT) -> set[int]:
    found = compile_filter(text)
    return {inode for inode, each in ALL.items() if found.matches(each, context)}


@pytest.mark.parametrize(
    ("text", "inodes"),
    [
        ("", {39, 11, 12}),
        ("   ", {39, 11, 12}),
        ("cam", {39}),
        ("CAMERA", {39}),
        ("app-gallery:kid", {39, 12}),
        ("linux,cma", {12}),
        ("system", {39}),
        ('"cam preview"', {39}),
        ("'cam preview'", {39}),
        ('name:"cam p"', {39}),
        ("nothing-like-it", set()),
        ("size>1M", {39}),
        ("size >= 8MiB", {39}),
        ("size=8M", {39}),
        ("size:4096", {12}),
        ("size!=8M", {12}),
        ("size<1", set()),
        ("size<=4K", {12}),
        ("age<10s", {39}),
        ("age>1m", {11}),
        ("age!=1", {39, 11}),
        ("exporter:sys", {39}),
        ("exporter=sys", set()),
        ("exporter=SYSTEM", {39}),
        ("exporter!=system", {12}),
        ("exporter:linux,cma", {12}),
        ("heap:system", {39}),
        ("holder:camera", {39}),
        ("holder=cameraserver", {39}),
        ("holder!=cameraserver", {11, 12}),
        ("name:preview", {39}),
        ('name=""', {11}),
        ('name!=""', {39}),
        ("pid:812", {39}),
        ("pid=812", {39}),
        ("pid!=812", {11, 12}),
        ("pid>850", {39, 12}),
        ("uid:1047", {39}),
        ("inode:11", {11}),
        ("INODE>=12", {39, 12}),
        ("hidden>0", {39}),
        ("hidden=0", set()),
        ("fds>1", {39}),
        ("fds=0", {11}),
        ("maps>0", {39}),
        ("count>4", {39}),
        ("orphan", {11}),
        ('"orphan"', set()),
        ("new", {11}),
        ("since:mark", {39}),
        ("not orphan", {39, 12}),
        ("NOT orphan", {39, 12}),
        ("not not orphan", {11}),
        ("orphan or size=4096", {11, 12}),
        ("kid size>1M", {39}),
        ("kid and size>1M", {39}),
        ("kid AND not size>1M", {12}),
        ("orphan or kid size>1M", {11, 39}),
        ("(orphan or kid) size>1M", {39}),
        ("(orphan or kid)(size>1M)", {39}),
        ("not (orphan or size>1M)", {12}),
        ("not orphan and kid", {39, 12}),
    ],
)
def test_what_matches(text: str, inodes: set[int]) -> None:
    assert matching(text) == inodes


def test_without_a_context_nothing_is_new() -> None:
    assert matching("new or since:mark or age>0 or uid>0", FilterContext()) == set()


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("size>12Q", 0, "is not a size"),
        ("cam size>", 4, "size> needs a value"),
        ("cam name:", 4, "needs a value"),
        ("age<soon", 0, "is not a duration"),
        ("pid:x", 0, "not a whole number"),
        ("pid:-1", 0, "not a whole number"),
        ("hidden>1.5", 0, "not a whole number"),
        ("inode:" + "9" * 30, 0, "not a whole number"),
        ("size>" + "9" * 400 + ".0", 0, ""),
        ("cam colour:red", 4, "no field 'colour'"),
        ("exporter>system", 0, "exporter is text"),
        ("(cam", 0, "never closed"),
        ("a (b or (c)", 2, "never closed"),
        ("cam)", 3, "nothing opens"),
        ("cam or", 6, "ends too soon"),
        ("cam and", 7, "ends too soon"),
        ("not", 3, "ends too soon"),
        ("or cam", 0, "missing before 'or'"),
        ("cam and or x", 8, "missing before 'or'"),
        ("()", 1, "missing before ')'"),
        ('cam "open', 4, "quote is never closed"),
        ("name:'open", 5, "quote is never closed"),
        ("cam >5", 0, "no field 'cam'"),
        (">5", 0, "nothing to compare"),
        ("a-b>5", 3, "nothing to compare"),
        ("  !x", 2, "nothing to compare"),
        ("(" * 99 + "a" + ")" * 99, DEPTH_MAX + 1, "nested too deep"),
        ("not " * 99 + "a", 4 * (DEPTH_MAX + 1), "nested too deep"),
        ("since:yesterday", 0, "no field 'since'"),
    ],
)
def test_what_is_wrong_and_where(text: str, position: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter(text)
    assert caught.value.position == position
    assert words in caught.value.what
    assert f"at column {position + 1}" in str(caught.value)
    assert isinstance(caught.value, UsageError)


def test_a_process_matches_by_itself_and_by_its_buffers() -> None:
    camera = process(812, [39], comm="cameraserver", uid=1047)
    gallery = process(900, [39, 12], comm="app-gallery:kid")

    def both(text: str) -> tuple[bool, bool]:
        found = compile_filter(text)
        return found.matches_process(camera, ALL, CONTEXT), found.matches_process(gallery, ALL, CONTEXT)

    assert both("pid:812") == (True, False)
    assert both("camera") == (True, False)
    assert both("holder:kid") == (False, True)
    assert both("not pid:812") == (False, True)
    assert both("uid:1047") == (True, False)
    assert both("size>1M") == (True, True)
    assert both("size=4096") == (False, True)
    assert both("gallery size>1M") == (False, True)
    assert both("orphan") == (False, False)
    assert both("fds>1") == (True, True)
    assert both("") == (True, True)


WORDS = (
    "cam size>1M size<= age<10s exporter:system name: pid:812 orphan new since:mark and or not NOT ( ) \" ' ! > = : "
    "hidden>0 x:y \0 \udcff \u00e9 0 -1"
)
texts = (
    st.lists(st.sampled_from(WORDS.split(" ")), max_size=12).map(" ".join)
    | st.text(max_size=40)
    | st.text(alphabet="()\"' not:<>=!asize", max_size=30)
)


@given(texts)
def test_any_text_is_taken_or_refused_with_a_position(text: str) -> None:
    position: int | None = None
    try:
        found = compile_filter(text)
    except FilterError as error:
        position = error.position
    if position is not None:
        assert 0 <= position <= len(text)
        return
    assert found.text == text
    for each in ALL.values():
        assert found.matches(each, CONTEXT) in (True, False)


exprs = st.recursive(
    st.sampled_from(["cam", "size>1M", "orphan", "hidden>0", "holder:kid", "name:preview", "fds>0", "nothing"]),
    lambda inner: st.one_of(
        inner.map("not {}".format),
        inner.map("({})".format),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) and ({pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) or ({pair[1]})"),
    ),
    max_leaves=8,
)


@given(exprs, exprs)
def test_logic(left: str, right: str) -> None:
    one, other = matching(left), matching(right)
    assert matching(f"({left}) ({right})") == matching(f"({left}) and ({right})") == one & other
    assert matching(f"({left}) or ({right})") == one | other
    assert matching(f"not ({left})") == set(ALL) - one


def test_hostile_names_can_be_searched_for() -> None:
    odd = buffer(1, name="[/x]\x1b[31m\udcff")
    assert compile_filter("[/x]").matches(odd)
    assert compile_filter('"\x1b[31m"').matches(odd)


def plain(inode: int) -> Buffer:
    return buffer(inode, inode)


def test_a_filter_of_many_terms_is_not_deep() -> None:
    text = " or ".join(f"inode:{n}" for n in range(5000))
    assert compile_filter(text).matches(plain(4999))
