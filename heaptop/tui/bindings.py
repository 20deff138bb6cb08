"""The keys that work everywhere. What works only in one view is in that view's BINDINGS; footer and help read both."""

from textual.binding import Binding, BindingType

INTERVALS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, None)
"""Steps of `+` and `-`; None is by hand."""

KEY_NAMES = {
    "home": "Home",
    "end": "End",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
    "ctrl+q": "ctrl+q",
    "enter": "Enter",
    "escape": "Esc",
}
"""How help and footer spell keys."""

APP: list[BindingType] = [
    Binding("1", "go(1)", "Heaps", show=False),
    Binding("2", "go(2)", "Buffers", show=False),
    Binding("3", "go(3)", "Processes", show=False),
    Binding("4", "go(4)", "CMA", show=False),
    Binding("5", "go(5)", "Leaks", show=False),
    Binding("6", "go(6)", "Lab", show=False),
    Binding("slash", "filter", "filter", key_display="/"),
    Binding("escape", "back", "Back: close details, the filter, a banner", show=False, key_display="Esc"),
    Binding("space", "pause", "pause", key_display="Space"),
    Binding("plus", "interval(1)", "Look less often", show=False, key_display="+"),
    Binding("minus", "interval(-1)", "Look more often", show=False, key_display="-"),
    Binding("m", "mark", "mark"),
    Binding("d", "since_mark", "since mark"),
    Binding("w", "write_capture", "Write a capture", show=False),
    Binding("r", "record", "Record on and off", show=False),
    Binding("a", "go(6)", "allocate"),
    Binding("e", "events", "Live events on and off", show=False),
    Binding("E", "event_list", "All live events, with the map of a CMA area that failed", show=False),
    Binding("c", "sites", "Call sites: where buffers were allocated", show=False),
    Binding("f5", "refresh_now", "Look now", show=False, key_display="F5"),
    Binding("f12", "screenshot_file", "Save a picture of the screen (SVG)", show=False, key_display="F12"),
    Binding("ctrl+p", "command_palette", "Palette: all commands", show=False, key_display="ctrl+p"),
    Binding("q", "quit", "quit"),
    Binding("ctrl+c", "quit", "quit", show=False, key_display="ctrl+c"),
    Binding("question_mark", "help", "help", key_display="?"),
]

REPLAY: list[BindingType] = [
    Binding("comma", "step(-1)", "One moment back", show=False, key_display=","),
    Binding("full_stop", "step(1)", "One moment on", show=False, key_display="."),
    Binding("left_curly_bracket", "next_change(-1)", "The change before", show=False, key_display="{"),
    Binding("right_curly_bracket", "next_change(1)", "next change", key_display="}"),
    Binding("left_parenthesis", "next_stop(-1)", "The mark or break before", show=False, key_display="("),
    Binding("right_parenthesis", "next_stop(1)", "The next mark or break", show=False, key_display=")"),
    Binding("less_than_sign", "speed(-1)", "Slower", show=False, key_display="<"),
    Binding("greater_than_sign", "speed(1)", "Faster", show=False, key_display=">"),
    Binding("t", "go_to_time", "go to time"),
]
"""Where a recording of many moments is shown. Space plays and stands there, `+` and `-` are its speed."""

SCREEN: list[BindingType] = [
    Binding("tab", "app.next_view(1)", "Next screen", show=False),
    Binding("shift+tab", "app.next_view(-1)", "Previous screen", show=False),
]
"""Of the main screen, where they stand before Textual's own meaning of Tab."""
