"""Call sites as a file for another program, by the end of its name."""

from collections.abc import Sequence
from typing import Final

from heaptop.analysis.sites import By, Sample, tree
from heaptop.report import collapsed, flame, json, speedscope

FORMATS: Final = {".json": "speedscope", ".txt": "collapsed", ".collapsed": "collapsed", ".html": "html", ".svg": "svg"}
"""What a file is, by the end of its name."""


def format_of(path: str) -> str | None:
    """What a file of this name is to be; None where the name does not say."""
    return next((kind for end, kind in FORMATS.items() if path.endswith(end)), None)


def content(kind: str, samples: Sequence[Sample], title: str, by: By) -> bytes:
    """The file."""
    match kind:
        case "speedscope":
            text = json.dumps(speedscope.document(samples, title, by))
        case "collapsed":
            text = collapsed.text(samples, by)
        case "html":
            text = flame.html(tree(samples, by), title, by)
        case _:
            text = flame.svg(tree(samples, by), title, by)
    return text.encode("utf-8", "surrogateescape")
