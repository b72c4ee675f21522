"""A long piece of work that a person has begun at the page: how far it is, and a way to end it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nicegui import ui

from api.web.parts import box, set_text, words


class Work:
    """Do something to many things, one after the other, with a bar and a button that stops it."""

    def __init__(self, name: str) -> None:
        """Show nothing until something is done; `name` is what people who can't see it are told."""
        self._going = False
        self._stopped = False
        with box("oc-scan") as self._line:
            self._told = words("")
            self._bar = ui.linear_progress(0, show_value=False).classes("bar")
            self._bar.props["aria-label"] = name
            ui.button("Stop", color=None, on_click=self.stop).classes("oc-act")
        self._line.set_visibility(False)

    @property
    def going(self) -> bool:
        """Whether it is under way."""
        return self._going

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    async def run(self, what: str, things: Sequence[Any], step: Callable[[Any], Awaitable[bool]]) -> int:
        """Take a step for each thing until it is stopped or a step says that no other makes sense.

        Gives how many steps were taken.
        """
        if self._going:
            ui.notify("Something is under way already", type="warning")
            return 0
        self._going, self._stopped, taken = True, False, 0
        self._line.set_visibility(True)
        try:
            for thing in things:
                set_text(self._told, f"{what}: {taken} of {len(things)}")
                self._bar.set_value(taken / len(things))
                if self._stopped or not await step(thing):
                    break
                taken += 1
        finally:
            self._going = False
            self._line.set_visibility(False)
        return taken
