"""The Buffers view."""

from heaptop.session import Update
from heaptop.tui.view import View


class BuffersView(View):
    """Buffers."""

    title = "Buffers"
    number = 2

    def show(self, update: Update) -> None:
        """Draw."""
