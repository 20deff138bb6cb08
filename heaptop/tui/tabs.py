"""The tabs: number, title and class of each view; a view's module is imported when it is first shown."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heaptop.session import Update

Tab = tuple[int, str, str]

VIEWS: tuple[Tab, ...] = (
    (1, "Heaps", "heaptop.tui.views.heaps:HeapsView"),
    (2, "Buffers", "heaptop.tui.views.buffers:BuffersView"),
    (3, "Processes", "heaptop.tui.views.processes:ProcessesView"),
    (4, "CMA", "heaptop.tui.views.cma:CmaView"),
    (5, "Leaks", "heaptop.tui.views.leaks:LeaksView"),
    (6, "Lab", "heaptop.tui.views.lab:LabView"),
)

BUFFERS, PROCESSES, LEAKS, LAB = 2, 3, 5, 6


def tab_titles(tabs: Sequence[Tab], update: "Update | None") -> list[tuple[int, str]]:
    """Number and title of each; that of the suspects says how many there are."""
    suspects = 0 if update is None else len(update.growth.suspects)
    return [(number, f"{title} !{suspects}" if number == LEAKS and suspects else title) for number, title, _ in tabs]
