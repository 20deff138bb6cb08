"""Call sites as a flame graph: one HTML page, or one SVG picture, that needs nothing else.

Widths are shares of the whole. The page has a few lines of script, to zoom and to search; without it, it is the same
picture with a text for each rectangle.
"""

import hashlib
from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

from heaptop.analysis.sites import By, Node, shown
from heaptop.units import format_size, printable

MIN_SHARE: Final = 1 / 2000
"""Less than half a pixel of a wide screen: not drawn."""
ROW_PIXELS: Final = 18
WIDTH_PIXELS: Final = 1200
_CHARACTER_PIXELS: Final = 6.6

_STYLE: Final = """
body{font:13px/1.4 system-ui,sans-serif;margin:1rem;background:#fff;color:#222}
#graph{position:relative;overflow:hidden}
.f{position:absolute;height:17px;overflow:hidden;white-space:nowrap;text-overflow:ellipsis;box-sizing:border-box;
padding:0 3px;font:11px/17px ui-monospace,monospace;border:0;border-right:1px solid #fff;text-align:left;color:#222;
cursor:pointer}
.f:focus,.f:hover{outline:2px solid #222;outline-offset:-2px}
.dim{opacity:.25}
"""
_SCRIPT: Final = """
"use strict";
const frames=[...document.querySelectorAll(".f")],box=document.getElementById("search");
function zoom(to){const a=+to.dataset.x,w=+to.dataset.w;for(const f of frames){const x=+f.dataset.x,v=+f.dataset.w;
const seen=x<a+w-1e-9&&x+v>a+1e-9;f.style.display=seen?"":"none";const l=Math.max(0,(x-a)/w),r=Math.min(1,(x+v-a)/w);
f.style.left=100*l+"%";f.style.width=100*(r-l)+"%";}}
for(const f of frames)f.addEventListener("click",()=>zoom(f));
document.addEventListener("keydown",e=>{if(e.key==="Escape")zoom(frames[0]);});
box.addEventListener("input",()=>{const t=box.value.toLowerCase();
for(const f of frames)f.classList.toggle("dim",t!==""&&!f.title.toLowerCase().includes(t));});
"""


class _Box(NamedTuple):
    depth: int
    left: float
    width: float
    label: str
    tip: str
    colour: str


def _boxes(root: Node, by: By) -> Iterator[_Box]:
    whole = root.weight(by) or 1
    pending: list[tuple[int, float, Node]] = [(0, 0.0, root)]
    while pending:
        depth, left, node = pending.pop()
        share = node.weight(by) / whole
        if share < MIN_SHARE:
            continue
        name = "all" if node.place is None else printable(shown(node.place))
        buffers = f"{node.count} buffer{'' if node.count == 1 else 's'}"
        tip = f"{name}\n{format_size(node.size_bytes)} in {buffers}, {100 * share:.1f} %"
        yield _Box(depth, left, share, name, tip, _colour(name))
        for child in node.children:
            pending.append((depth + 1, left, child))
            left += child.weight(by) / whole


def _colour(name: str) -> str:
    """A warm colour, the same for the same name."""
    value = hashlib.blake2b(name.partition(" (")[0].encode("utf-8", "replace"), digest_size=2).digest()
    return f"hsl({20 + value[0] % 35},{65 + value[1] % 25}%,{66 + value[1] % 14}%)"


def html(root: Node, title: str, by: By = By.BYTES) -> str:
    """The page."""
    boxes = list(_boxes(root, by))
    height = ROW_PIXELS * (1 + max((box.depth for box in boxes), default=0))
    rows = "\n".join(
        f'<button class="f" data-x="{box.left:.6f}" data-w="{box.width:.6f}" title="{_text(box.tip)}" '
        f'style="left:{100 * box.left:.4f}%;width:{100 * box.width:.4f}%;top:{ROW_PIXELS * box.depth}px;'
        f'background:{box.colour}">{_text(box.label)}</button>'
        for box in boxes
    )
    about = f"{format_size(root.size_bytes)} in {root.count} buffers, by {by.value}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'\">\n"
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{_text(title)}</h1>\n<p>{_text(about)}. Click to zoom, Escape to zoom out. "
        '<label>Search <input id="search" type="search"></label></p>\n'
        f'<div id="graph" style="height:{height}px">\n{rows}\n</div>\n<script>{_SCRIPT}</script></body></html>\n'
    )


def svg(root: Node, title: str, by: By = By.BYTES) -> str:
    """The picture."""
    boxes = list(_boxes(root, by))
    height = ROW_PIXELS * (2 + max((box.depth for box in boxes), default=0))
    rows = []
    for box in boxes:
        x, width = box.left * WIDTH_PIXELS, box.width * WIDTH_PIXELS
        y = ROW_PIXELS * (1 + box.depth)
        room = int((width - 4) / _CHARACTER_PIXELS)
        label = box.label if len(box.label) <= room else box.label[: room - 1] + "…" if room > 3 else ""
        text = f'<text x="{x + 3:.1f}" y="{y + 13}">{_text(label)}</text>' if label else ""
        rows.append(
            f'<g><title>{_text(box.tip)}</title><rect x="{x:.2f}" y="{y}" width="{max(0.3, width - 0.5):.2f}" '
            f'height="{ROW_PIXELS - 1}" fill="{box.colour}"/>{text}</g>'
        )
    body = "\n".join(rows)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PIXELS} {height}" width="{WIDTH_PIXELS}" '
        f'height="{height}" font-family="monospace" font-size="11">\n'
        f'<title>{_text(title)}</title>\n<text x="3" y="13">{_text(title)}</text>\n{body}\n</svg>\n'
    )


def _text(text: str) -> str:
    """Escaped for HTML and XML, in which control characters may not be at all."""
    return escape("".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)).replace(
        "\n", "&#10;"
    )
