"""The filter language, one for the app's `/` and the command line's `--filter`.

    expression = term { ["and"] term } { "or" … }      `not` binds closest, then `and` (may be left out), then `or`
    term       = word | field op value | "orphan" | "new" | "since:mark" | "not" term | "(" expression ")"
    field      = size age hidden fds maps count inode pid uid          with : = != < <= > >=
               | name exporter heap holder                             with : (contains) = !=

A bare word is looked for in name, exporter and the holders' comms. Letter case never matters. Words with blanks or
operators stand in double or single quotes. A value that is not known matches no comparison.
"""

import re
from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt, ne
from typing import Final, NamedTuple

from heaptop.capture import NOTHING
from heaptop.errors import FilterError
from heaptop.model import Buffer, Holder, Process, ProcessId
from heaptop.pattern import pattern
from heaptop.units import parse_duration, parse_size

DEPTH_MAX: Final = 50
"""How deep parentheses and `not` may nest."""


class FilterContext(NamedTuple):
    """What a filter needs beside the buffer. `now` and `first_seen` are seconds since the epoch (for `age`), `new` and
    `since_mark` inodes (None: no mark is set), `uids` the users of processes (for `uid`).
    """

    now: float | None = None
    first_seen: Mapping[int, float] = NOTHING
    new: frozenset[int] = frozenset()
    since_mark: frozenset[int] | None = None
    uids: Mapping[ProcessId, int] = NOTHING


class Subject(NamedTuple):
    """What one test looks at: a buffer, those of its holders that count, and the context."""

    buffer: Buffer
    holders: tuple[Holder, ...]
    context: FilterContext


Test = Callable[[Subject], bool]
NO_CONTEXT: Final = FilterContext()


class Filter(NamedTuple):
    """A compiled expression. `text` is what it was compiled from; an empty one matches all."""

    text: str
    test: Test

    def matches(self, buffer: Buffer, context: FilterContext = NO_CONTEXT) -> bool:
        """Whether the buffer, with all its holders, matches."""
        return self.test(Subject(buffer, buffer.holders, context))

    def matches_process(
        self, process: Process, buffers: Mapping[int, Buffer], context: FilterContext = NO_CONTEXT
    ) -> bool:
        """Whether one of the process's buffers (`buffers` by inode) matches, with this process as its only holder: so
        `pid:812` is process 812 alone, and `camera size>1M` the cameras that hold a buffer above 1 MiB.
        """
        if process.uid is not None:
            context = context._replace(uids={process.id: process.uid})
        me = (Holder(process.id, process.comm),)
        held = (buffers[inode] for inode in process.inodes if inode in buffers)
        return any(self.test(Subject(buffer, me, context)) for buffer in held)


def compile_filter(text: str) -> Filter:
    """Compile an expression.

    Raises:
        FilterError: it cannot be taken; `position` is where the trouble begins.
    """
    return Filter(text, _Parser(text).parse())


Number = Callable[[Subject], tuple[int | float, ...]]
"""The values of a numeric field: none where not known, several for a field of the holders."""


def _one(value: float | None) -> tuple[int | float, ...]:
    return () if value is None else (value,)


def _ages(subject: Subject) -> tuple[int | float, ...]:
    seen = subject.context.first_seen.get(subject.buffer.inode)
    now = subject.context.now
    return () if seen is None or now is None else (max(0.0, now - seen),)


def _uids(subject: Subject) -> tuple[int | float, ...]:
    uids = subject.context.uids
    return tuple(uids[holder.process] for holder in subject.holders if holder.process in uids)


_NUMBERS: Final[Mapping[str, Number]] = {
    "size": lambda subject: _one(subject.buffer.size_bytes),
    "age": _ages,
    "hidden": lambda subject: _one(subject.buffer.hidden_refs),
    "fds": lambda subject: _one(subject.buffer.fd_count),
    "maps": lambda subject: _one(subject.buffer.map_count),
    "count": lambda subject: _one(subject.buffer.file_count),
    "inode": lambda subject: (subject.buffer.inode,),
    "pid": lambda subject: tuple(holder.process.pid for holder in subject.holders),
    "uid": _uids,
}


def _names(subject: Subject) -> tuple[str, ...]:
    """An unnamed buffer has an empty name; one whose name no source tells has none."""
    buffer = subject.buffer
    return (buffer.name,) if buffer.name is not None else ("",) if buffer.told("name") else ()


def _comms(subject: Subject) -> tuple[str, ...]:
    return tuple(holder.comm for holder in subject.holders)


Text = Callable[[Subject], tuple[str, ...]]
_TEXTS: Final[Mapping[str, Text]] = {
    "name": _names,
    "exporter": lambda subject: () if subject.buffer.exporter is None else (subject.buffer.exporter,),
    "heap": lambda subject: () if subject.buffer.heap is None else (subject.buffer.heap,),
    "holder": _comms,
}

_FLAGS: Final[Mapping[str, Test]] = {
    "orphan": lambda subject: subject.buffer.is_orphan,
    "new": lambda subject: subject.buffer.inode in subject.context.new,
    "since:mark": lambda subject: subject.buffer.inode in (subject.context.since_mark or ()),
}

_COMPARE: Final[Mapping[str, Callable[[int | float, int | float], bool]]] = {
    ":": eq,
    "=": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


_READ: Final[Mapping[str, Callable[[str], int | float]]] = {"size": parse_size, "age": parse_duration}


def _number_test(name: str, operator: str, text: str) -> Test:
    wanted = _READ.get(name, _whole)(text)
    values, compare = _NUMBERS[name], _COMPARE[operator]
    if operator == "!=":  # of several values: none of them is it
        many = name in {"pid", "uid"}
        return lambda subject: (many or bool(values(subject))) and wanted not in values(subject)
    return lambda subject: any(compare(value, wanted) for value in values(subject))


def _text_test(name: str, operator: str, text: str) -> Test:
    wanted, values = text.casefold(), _TEXTS[name]
    if operator == ":":
        return lambda subject: any(wanted in value.casefold() for value in values(subject))
    if operator == "=":
        return lambda subject: any(wanted == value.casefold() for value in values(subject))
    many = name == "holder"
    return lambda subject: (
        (many or bool(values(subject))) and all(wanted != value.casefold() for value in values(subject))
    )


def _word_test(word: str) -> Test:
    wanted = word.casefold()

    def test(subject: Subject) -> bool:
        buffer = subject.buffer
        return (
            (buffer.name is not None and wanted in buffer.name.casefold())
            or (buffer.exporter is not None and wanted in buffer.exporter.casefold())
            or any(wanted in holder.comm.casefold() for holder in subject.holders)
        )

    return test


def _all(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda subject: all(test(subject) for test in tests)


def _any(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda subject: any(test(subject) for test in tests)


class _Token(NamedTuple):
    kind: str
    position: int
    text: str
    field: str = ""
    operator: str = ""


_TOKEN: Final = pattern(
    r"""\s*(?:
        (?P<paren>[()])
      | (?P<since>since:mark)(?=[\s()]|$)
      | (?P<field>[A-Za-z_]+)(?P<operator>:|\s*(?:<=|>=|!=|<|>|=)\s*)(?P<value>"[^"]*"|'[^']*'|(?:[^\s()"'][^\s()]*)?)
      | (?P<quoted>"[^"]*"|'[^']*')
      | (?P<word>[^\s()"'<>=!][^\s()"'<>=]*)
    )""",
    re.VERBOSE,
)


class _Parser:
    """Recursive descent over the tokens, with bounded depth."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._tokenize())
        self._next = 0

    def parse(self) -> Test:
        if not self._tokens:
            return lambda _: True
        test = self._either(0)
        token = self._peek()
        if token is not None:
            raise FilterError("nothing opens this parenthesis", token.position, "take the ) away")
        return test

    def _tokenize(self) -> list[_Token]:
        tokens: list[_Token] = []
        at, end = 0, len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                raise self._unreadable(at)
            kind = str(match.lastgroup)
            at = match.end()
            tokens.append(_token(kind, match))
        return tokens

    def _unreadable(self, at: int) -> FilterError:
        if self._text[at] in "\"'":
            return FilterError("the quote is never closed", at, f"add a closing {self._text[at]}")
        return FilterError(f"nothing to compare before {self._text[at]!r}", at, "write a field first, like size>1M")

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _is(self, kind: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == kind

    def _either(self, depth: int) -> Test:
        tests = [self._both(depth)]
        while self._is("or"):
            self._next += 1
            tests.append(self._both(depth))
        return _any(tests)

    def _both(self, depth: int) -> Test:
        tests = [self._term(depth)]
        while (token := self._peek()) is not None and token.kind not in {"or", ")"}:
            if token.kind == "and":
                self._next += 1
            tests.append(self._term(depth))
        return _all(tests)

    def _term(self, depth: int) -> Test:
        token = self._peek()
        if token is None:
            raise FilterError("the expression ends too soon", len(self._text), "add a word or a comparison")
        if depth > DEPTH_MAX:
            raise FilterError("nested too deep", token.position, f"at most {DEPTH_MAX} levels")
        if token.kind in {"and", "or", ")"}:
            raise FilterError(f"a word or a comparison is missing before {token.text!r}", token.position)
        self._next += 1
        if token.kind == "not":
            inner = self._term(depth + 1)
            return lambda subject: not inner(subject)
        if token.kind == "(":
            inner = self._either(depth + 1)
            if not self._is(")"):
                raise FilterError("this parenthesis is never closed", token.position, "add a )")
            self._next += 1
            return inner
        return _leaf(token)


def _token(kind: str, match: re.Match[str]) -> _Token:
    """A token; `and`, `or`, `not`, `(` and `)` are kinds of their own."""
    if kind == "value":
        operator = match["operator"].strip()
        return _Token("compare", match.start("field"), match["value"], match["field"].lower(), operator)
    text, position = match[kind], match.start(kind)
    if kind == "quoted":
        return _Token("word", position, text[1:-1])
    if kind == "paren" or (kind == "word" and text.lower() in {"and", "or", "not"}):
        return _Token(text.lower(), position, text)
    return _Token("flag" if text.lower() in _FLAGS else kind, position, text)


def _leaf(token: _Token) -> Test:
    if token.kind == "word":
        return _word_test(token.text)
    if token.kind != "compare":
        return _FLAGS[token.text.lower()]
    name, operator, at = token.field, token.operator, token.position
    quoted = token.text[:1] in {'"', "'"}
    value = token.text[1:-1] if quoted else token.text
    if name not in _NUMBERS and name not in _TEXTS:
        fields = " ".join([*_NUMBERS, *_TEXTS])
        raise FilterError(f"there is no field {name!r}", at, f"fields: {fields}; quote a word that holds {operator}")
    if not value and not quoted:
        raise FilterError(f"{name}{operator} needs a value", at, f"like {name}{operator}{_EXAMPLES.get(name, '1')}")
    if name in _TEXTS:
        if operator not in {":", "=", "!="}:
            raise FilterError(f"{name} is text and has no {operator}", at, "use : (contains), = or !=")
        return _text_test(name, operator, value)
    try:
        return _number_test(name, operator, value)
    except (ValueError, OverflowError) as error:
        raise FilterError(f"{name}{operator}{value[:40]}: {error}", at) from None


_EXAMPLES: Final = {
    "size": "1M",
    "age": "10s",
    "name": "cam",
    "exporter": "system",
    "heap": "system",
    "holder": "camera",
}
