"""A line that stays until its cause is gone: a lost source, a bad theme, a wrong filter."""

from heaptop.tui.widgets.said import Said


class Banner(Said):
    """Hidden while there is nothing to say. Text is plain: markup is off."""

    def __init__(self, id: str) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self.display = False

    def say(self, text: str) -> None:
        """Show this, or nothing where it is empty."""
        self.update(text)
        self.display = bool(text)
