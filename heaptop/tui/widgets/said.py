"""A text that is laid out and drawn again only where it says something else."""

from textual.content import Content
from textual.visual import VisualType
from textual.widgets import Static


class Said(Static):
    """Textual's own Static has the whole screen laid out again with every update. Markup is off."""

    def __init__(
        self,
        text: VisualType = "",
        *,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
        classes: str | None = None,
    ) -> None:
        super().__init__(text, id=id, classes=classes, markup=False)
        self._says = _key(text)

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Say this."""
        if (key := _key(content)) != self._says:
            self._says = key
            super().update(content, layout=layout)


def _key(content: VisualType) -> object:
    """What tells texts apart: contents compare by their letters alone."""
    return (content.plain, content.spans) if isinstance(content, Content) else content
