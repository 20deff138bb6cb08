"""A tree of calls as an icicle: a row for each depth, in which a place is as wide as what was allocated through it.

Pure: no app needed. Places are told apart by the path of places that leads to them, so that a cursor stays where it is
when the tree is made anew.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from heaptop.analysis.sites import By, Node, Of, abbreviated, is_plumbing, shown
from heaptop.call_stack import Location
from heaptop.tui.renderables.chrome import Piece
from heaptop.tui.renderables.table import fit
from heaptop.units import format_size, printable

Path = tuple[Location, ...]
"""The places from the root to a node; empty for the root."""


class Box(NamedTuple):
    """A node as it is drawn: from cell `left` on, `width` cells. `is_above` is one that the zoom lies in."""

    path: Path
    node: Node
    left: int
    width: int
    is_above: bool = False


def find(root: Node, path: Path) -> tuple[Path, Node]:
    """The node of a path, or the last one on the way there that still is."""
    node, kept = root, []
    for place in path:
        child = next((child for child in node.children if child.place == place), None)
        if child is None:
            break
        node = child
        kept.append(place)
    return tuple(kept), node


def rows(root: Node, zoom: Path, width: int, by: By) -> list[list[Box]]:
    """All rows, from the root on. The zoomed node and all above it take the whole width."""
    zoom, zoomed = find(root, zoom)
    node, result = root, []
    for depth in range(len(zoom)):
        result.append([Box(zoom[:depth], node, 0, width, is_above=True)])
        node = next(child for child in node.children if child.place == zoom[depth])
    row = [Box(zoom, zoomed, 0, width)]
    while row:
        result.append(row)
        row = [box for above in row for box in _below(above, by)]
    return result


def _below(above: Box, by: By) -> Iterable[Box]:
    """The children of a box that are at least one cell wide, by the ends of their shares: no cell is given twice."""
    whole = above.node.weight(by)
    if whole <= 0:
        return
    done = 0
    for child in above.node.children:
        left = above.width * done // whole
        done += child.weight(by)
        width = above.width * done // whole - left
        if width > 0 and child.place is not None:
            yield Box((*above.path, child.place), child, above.left + left, width)


def at(row: Sequence[Box], x: int) -> Box | None:
    """The box that a cell is of."""
    return next((box for box in row if box.left <= x < box.left + box.width), None)


def label(box: Box) -> str:
    """What is written in a box, as wide as it is. Its left edge is drawn: boxes are told apart without colour too."""
    name = "all" if box.node.place is None else printable(abbreviated(box.node.place, box.width - 1))
    return fit(f"│{name}", box.width)


def style(box: Box, number: int) -> str:
    """The style of a box: neighbours differ, and places of system libraries are dim."""
    if box.is_above:
        return "above"
    if box.node.place is not None and is_plumbing(box.node.place):
        return "plumbing"
    return "even" if number % 2 == 0 else "odd"


def title_pieces(of: Of, by: By, root: Node | None, text: str) -> list[Piece]:
    """What is shown."""
    figures = "" if root is None else f" · {buffers(root.count)}, {format_size(root.size_bytes)}"
    name = {Of.LIVE: "live", Of.LEAKED: "suspects", Of.PEAK: "at the peak"}[of]
    found = f" · /{text}" if text else ""
    return [
        Piece(" call sites ", "title"),
        Piece(f" {name}", "strong"),
        Piece(f" by {'bytes' if by is By.BYTES else 'buffers'}{figures}{found}"),
    ]


def cursor_pieces(box_node: Node, root: Node, by: By) -> list[Piece]:
    """What is under the cursor: its share first, as the name may be long."""
    whole = root.weight(by)
    share = 100 * box_node.weight(by) / whole if whole else 0.0
    figures = f" {format_size(box_node.size_bytes)} · {buffers(box_node.count)} · {share:.0f} % "
    name = "all" if box_node.place is None else shown(box_node.place)
    return [Piece(figures, "strong"), Piece(f" {name}")]


def buffers(count: int) -> str:
    """`1 buffer`, `12 buffers`."""
    return f"{count:,} buffer{'' if count == 1 else 's'}"
