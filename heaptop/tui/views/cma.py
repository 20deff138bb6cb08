"""View 4, CMA: the bitmap of an area as a map, what lies under the cursor, and whether a request would fit."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from heaptop.analysis.in_the_way import in_the_way
from heaptop.analysis.occupancy import Fit, fit, fitting_runs
from heaptop.analysis.placement import Placement
from heaptop.model import Buffer, CmaArea
from heaptop.session import Update
from heaptop.tui.renderables import cma_text
from heaptop.tui.renderables.cma_map import Bit
from heaptop.tui.renderables.cma_owners import Lies, Owners, legend_spans, lying_in
from heaptop.tui.view import View
from heaptop.tui.widgets.cma_map import CmaMap
from heaptop.tui.widgets.said import Said
from heaptop.units import printable

LEGEND_COLUMNS = 100
"""From here on there is room to say what the shades mean."""


def content(spans: cma_text.Spans) -> Content:
    """Spans as Textual draws them."""
    return Content.assemble(*spans)


class Question(Horizontal):
    """Size and alignment on one line; Tab goes from one to the other."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next field", show=False),
        Binding("shift+tab", "app.focus_previous", "Previous field", show=False),
    ]


class CmaView(View):
    """All areas in a short list, one of them as a map."""

    title = "CMA"
    number = 4
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket", "area(-1)", "Previous area", show=False, key_display="["),
        Binding("right_square_bracket", "area(1)", "next area", key_display="]"),
        Binding("o", "owner", "buffer"),
        Binding("enter", "ask", "will it fit?"),
        Binding("escape", "to_map", "Back to the map", show=False),
    ]
    DEFAULT_CSS = """
    CmaView {
        & #cma-areas { height: auto; max-height: 4; border: none; padding: 0 1; background: transparent; }
        & #cma-areas { text-wrap: nowrap; text-overflow: ellipsis; }
        & CmaMap { height: 1fr; padding: 0 1; }
        & .cma-line { height: 1; padding: 0 1; }
        & #cma-ask { height: 1; padding: 0 1; }
        & #cma-below { height: auto; max-height: 2; padding: 0 1; }
        & #cma-nearest { width: 1fr; height: auto; min-height: 1; max-height: 2; }
        & #cma-owners { display: none; text-wrap: nowrap; text-overflow: ellipsis; }
        &.owned #cma-owners { display: block; }
        & #cma-scale { width: auto; color: $unknown; padding-left: 1; }
        & #cma-ask Label { color: $unknown; padding-right: 1; }
        & #cma-ask Input { width: 11; margin-right: 1; }
        & #cma-answer { width: 1fr; height: 1; }
        & #cma-said { height: 1fr; padding: 1 2; display: none; overflow-y: auto; }
        &.no-map { & #cma-said { display: block; } }
        &.no-map { & CmaMap, & #cma-cursor, & #cma-scale, & #cma-owners { display: none; } }
        &.no-area { & #cma-areas, & #cma-orders, & #cma-ask, & #cma-below { display: none; } }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._areas: tuple[CmaArea, ...] = ()
        self._page_bytes = 4096
        self._fit: Fit | None = None
        self._placement: tuple[object, CmaArea, Placement] | None = None
        self._owners = Owners()
        self._lies: tuple[tuple[Lies, ...], ...] = ()

    def compose(self) -> ComposeResult:
        """Areas, map, and the lines below it."""
        yield OptionList(id="cma-areas", markup=False, compact=True)
        yield CmaMap(id="cma-map")
        yield Said(id="cma-said")
        yield Said(id="cma-owners", classes="cma-line")
        yield Said(id="cma-cursor", classes="cma-line")
        yield Said(id="cma-orders", classes="cma-line")
        with Question(id="cma-ask"):
            yield Label("Will it fit?", markup=False)
            yield Input("32M", id="cma-size", compact=True, select_on_focus=True)
            yield Label("align", markup=False)
            yield Input("1M", id="cma-align", compact=True, select_on_focus=True)
            yield Said(id="cma-answer")
        with Horizontal(id="cma-below"):
            yield Said(id="cma-nearest")
            yield Said(id="cma-scale")

    @property
    def map(self) -> CmaMap:
        """The map."""
        return self.query_one(CmaMap)

    @property
    def area(self) -> CmaArea | None:
        """The area that is shown."""
        index = self.query_one("#cma-areas", OptionList).highlighted
        return self._areas[index] if index is not None and index < len(self._areas) else None

    def show(self, update: Update) -> None:
        """Draw this update; the area shown stays, found by its name. The first one shown is that with most in use."""
        snapshot = update.snapshot
        shown = self.area
        if snapshot.cma == self._areas and snapshot.cma:
            self._draw_owners()  # it may be other buffers that lie there
            self._answer()
            return
        self._areas, self._page_bytes = snapshot.cma, snapshot.page_bytes
        options = self.query_one("#cma-areas", OptionList)
        with self.prevent(OptionList.OptionHighlighted):
            options.set_options([Option(prompt) for prompt in self._prompts(None)])
            names = [area.name for area in self._areas]
            if names:
                fullest = max(self._areas, key=lambda area: area.used_pages or 0).name
                options.highlighted = names.index(shown.name if shown is not None and shown.name in names else fullest)
        self._draw_area()

    def _prompts(self, shown: CmaArea | None) -> list[Content]:
        """A line for each area; of several, the one shown is marked."""
        name_width = max((len(printable(area.name)) for area in self._areas), default=0)
        several = len(self._areas) > 1
        return [
            content(
                cma_text.area_spans(
                    area,
                    self._page_bytes,
                    name_width,
                    mark="Area " if not several else "▸ " if area is shown else "  ",
                )
            )
            for area in self._areas
        ]

    def status_text(self) -> str:
        """How many areas there are; what has changed since the mark, where that is asked for."""
        areas = "" if len(self._areas) < 2 else f"{len(self._areas)} areas"
        update, mark = self.shell.update, self.shell.mark
        if not self.shell.since_mark_only or update is None or mark is None:
            return areas
        since = cma_text.since_mark_text(mark.snapshot.cma, update.snapshot.cma, update.snapshot.page_bytes)
        return f"{areas} · {since}" if areas else since

    def focus_content(self) -> None:
        """The map has the keys."""
        self.map.focus()

    def on_option_list_option_highlighted(self) -> None:
        """Another area."""
        self._draw_area()

    def _draw_area(self) -> None:
        area, update = self.area, self.shell.update
        options = self.query_one("#cma-areas", OptionList)
        for index, prompt in enumerate(self._prompts(area)):
            options.replace_option_prompt_at_index(index, prompt)
        no_map = area is None or not any(part.bitmap is not None and part.count_pages for part in area.ranges)
        self.set_class(area is None, "no-area")
        self.set_class(no_map, "no-map")
        said = self.query_one("#cma-said", Said)
        if area is None:
            if update is not None:
                said.update(content(cma_text.no_area_spans(update.snapshot)))
            return
        if no_map:
            gaps = update.snapshot.gaps if update is not None else ()
            said.update(content(cma_text.no_bitmap_spans(area, gaps, self._page_bytes)))
        else:
            self.map.set_area(area, self._page_bytes)
            self._draw_owners()
        counts = cma_text.order_counts(area)
        self.query_one("#cma-orders", Said).update(content(cma_text.orders_spans(counts, area, self._page_bytes)))
        self._answer()

    def _draw_owners(self) -> None:
        """Who lies where, in the map, and below it who is who."""
        area, buffers = self.area, self.shell.buffers
        if area is None or not area.ranges:
            return
        self._lies = lying_in(area, self._placed(area), buffers, self._owners)
        legend = legend_spans(self._lies, area, buffers, self._page_bytes)
        self.set_class(bool(legend), "owned")
        self.query_one("#cma-owners", Said).update(content(legend))
        self.on_cma_map_cursor_moved()

    def on_cma_map_cursor_moved(self) -> None:
        """Tell what is under the cursor."""
        area = self.map.area
        if area is None or not area.ranges:
            return
        owner = self._owner(area)
        self.map.set_owners(self._lies, None if owner is None else owner.inode)
        spans = cma_text.cursor_spans(area, self.map.cursor, self._page_bytes, self._owner_spans(area))
        self.query_one("#cma-cursor", Said).update(content(spans))
        legend = cma_text.LEGEND if self.size.width >= LEGEND_COLUMNS else ""
        self.query_one("#cma-scale", Said).update(legend + cma_text.scale_text(self.map.cell_pages))

    def _placed(self, area: CmaArea) -> Placement | None:
        """Whose pages the area's are, by the update that is shown; worked out once for each."""
        update = self.shell.update
        bases = [part.base_pfn for part in area.ranges if part.base_pfn is not None]
        if update is None or not bases:
            return None
        buffers = update.snapshot.buffers
        if self._placement is None or self._placement[0] is not buffers or self._placement[1] is not area:
            end = max(part.base_pfn + part.count_pages for part in area.ranges if part.base_pfn is not None)
            self._placement = buffers, area, Placement(buffers, min(bases), end)
        return self._placement[2]

    def _owner(self, area: CmaArea) -> Buffer | None:
        """The buffer that lies under the cursor."""
        placement, pfn = self._placed(area), cma_text.pfn_of(area, self.map.cursor)
        lying = placement.at(pfn) if placement is not None and pfn is not None else None
        return None if lying is None else self.shell.buffers.get(lying.inode)

    def _owner_spans(self, area: CmaArea) -> cma_text.Spans:
        """Whose the page under the cursor is; where no buffer's place is told, `o` says why."""
        placement, owner = self._placed(area), self._owner(area)
        if owner is not None:
            return ((cma_text.owner_text(owner), cma_text.STRONG),)
        told = placement is not None and placement.is_told
        return (("of no known dma-buf" if told else "whose ~", cma_text.LABEL),)

    def action_owner(self) -> None:
        """To the buffer under the cursor."""
        area = self.map.area
        owner = self._owner(area) if area is not None and area.ranges else None
        if owner is not None:
            self.shell.go_to_buffer(owner.inode)
        elif area is not None:
            placement = self._placed(area)
            told = placement is not None and placement.is_told
            self.shell.say("no known buffer lies here" if told else cma_text.NO_PLACES)

    def on_input_changed(self) -> None:
        """Answer while it is typed."""
        self._answer()

    def on_input_submitted(self) -> None:
        """To the place that was answered."""
        self._answer()
        self.map.focus()
        if self._fit is not None and self._fit.range_index is not None and self._fit.start_bit is not None:
            self.map.go_to(Bit(self._fit.range_index, self._fit.start_bit))

    def _answer(self) -> None:
        area = self.area
        self._fit = None
        if area is None:
            return
        answer, nearest = self.query_one("#cma-answer", Said), self.query_one("#cma-nearest", Said)
        size, align = (self.query_one(selector, Input).value for selector in ("#cma-size", "#cma-align"))
        try:
            request = cma_text.request_of(size, align, self._page_bytes)
        except ValueError as error:
            answer.update(content(((str(error), "$orphan"),)))
            nearest.update("")
            self.map.set_room(())
            return
        self._fit = fit(area, request.size_pages, request.align_order)
        order = area.order_per_bit or 0
        room = [fitting_runs(part, order, request.size_pages, request.align_order) for part in area.ranges]
        self.map.set_room(room)
        answer.update(content(cma_text.answer_spans(self._fit, area, self._page_bytes)))
        update = self.shell.update
        buffers = update.snapshot.buffers if update is not None else ()
        standing = in_the_way(area, self._fit, request.size_pages, buffers)
        below = cma_text.nearest_spans(self._fit, standing, area, self._page_bytes)
        if self._fit.fits:
            count = sum(map(len, room))
            below = ((f"○ marks the {count} free run{'' if count == 1 else 's'} with room for it", cma_text.LABEL),)
        nearest.update(content(below))

    def action_area(self, step: int) -> None:
        """The next or the previous area."""
        options = self.query_one("#cma-areas", OptionList)
        if self._areas:
            options.highlighted = ((options.highlighted or 0) + step) % len(self._areas)

    def action_ask(self) -> None:
        """Ask whether a size fits."""
        self.query_one("#cma-size", Input).focus()

    def action_to_map(self) -> None:
        """Leave the question."""
        self.map.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Esc is the app's own while the map has the keys; nothing is asked without an area."""
        if action == "to_map":
            return not self.map.has_focus and bool(self._areas)
        if action == "area":
            return len(self._areas) > 1
        return bool(self._areas) if action in ("ask", "owner") else True
