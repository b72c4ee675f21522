"""Lists that change while people click in them."""

from collections.abc import Callable, Sequence
from typing import Any

from nicegui import ui

from api.web.parts import box

Item = dict[str, Any]


class Rows:
    """A list in which only what has changed is drawn again.

    A row that stays the same keeps its element: a click that is on its way meets what it was meant for.
    """

    def __init__(
        self,
        within: ui.element,
        key: Callable[[Item], Any],
        draw: Callable[[Item], None],
        classes: str = "oc-found",
    ) -> None:
        """Show rows in `within`, which holds nothing else; `draw` fills one."""
        self._within, self._key, self._draw, self._classes = within, key, draw, classes
        self._rows: dict[Any, tuple[ui.element, Any]] = {}

    def show(self, items: Sequence[Item], more: Callable[[Item], Any] = lambda item: None) -> None:
        """Show these items in this order; `more` is what a row shows besides its item."""
        wanted = [self._key(item) for item in items]
        for key in self._rows.keys() - set(wanted):
            self._rows.pop(key)[0].delete()
        kept = [key for key in wanted if key in self._rows]
        ordered = kept == [key for key in self._rows if key in set(kept)]
        with self._within:
            for at, (key, item) in enumerate(zip(wanted, items, strict=True)):
                shown = (item, more(item))
                row, before = self._rows.get(key, (None, None))
                if row is None:
                    row = box(self._classes)
                    if at < len(self._rows):
                        row.move(self._within, at)
                elif not ordered or self._within.default_slot.children[at] is not row:
                    row.move(self._within, at)
                if before != shown:
                    row.clear()
                    with row:
                        self._draw(item)
                self._rows[key] = (row, shown)
        self._rows = {key: self._rows[key] for key in wanted}

    def clear(self) -> None:
        """Show nothing."""
        self.show([])
