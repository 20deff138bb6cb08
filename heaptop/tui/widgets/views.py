"""The room for the views, of which one is seen."""

from textual.widget import Widget


class Views(Widget):
    """Shows one of its children."""

    async def show(self, view: Widget) -> None:
        """This one; it is mounted when it is first shown."""
        if view.parent is None:
            view.display = False
            await self.mount(view)
        with self.app.batch_update():
            for child in self.children:
                child.display = child is view
