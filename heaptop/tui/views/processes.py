"""The Processes view."""

from heaptop.session import Update
from heaptop.tui.view import View


class ProcessesView(View):
    """Processes."""

    title = "Processes"
    number = 3

    def show(self, update: Update) -> None:
        """Draw."""
