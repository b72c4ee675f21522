"""Pieces that every view is made of. All text goes in as text, never as HTML: names come from devices."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

from nicegui import ui

from api.web.words import FLAGS, SEVERITIES

Handler = Callable[[], Awaitable[None] | None]

NODE_ICONS: Final = {
    "Site": "apartment",
    "Space": "layers",
    "Equip": "developer_board",
    "Point": "sensors",
    "VirtualPoint": "functions",
}

_BADGES: Final[dict[str, tuple[str, str]]] = {
    **{flag: (word, icon) for flag, (word, icon, _) in FLAGS.items()},
    **SEVERITIES,
    "ok": ("OK", "check_circle"),
    "healthy": ("Healthy", "check_circle"),
    "online": ("Online", "check_circle"),
    "discovered": ("Discovered", "travel_explore"),
    "bound": ("Bound", "link"),
    "accepted": ("Accepted", "check_circle"),
    "ignored": ("Ignored", "visibility_off"),
    "conflict": ("Same key twice", "warning"),
    "not_started": ("Not started", "radio_button_unchecked"),
    "in_progress": ("In progress", "pending"),
    "verified": ("Verified", "check_circle"),
    "failed": ("Failed", "error"),
    "deferred": ("Deferred", "schedule"),
    "completed": ("Completed", "done_all"),
    "signed_off": ("Signed off", "verified"),
    "degraded": ("Degraded", "warning"),
    "unknown": ("Unknown", "help"),
}


def box(classes: str = "", tag: str = "div") -> ui.element:
    """Make a plain element."""
    return ui.element(tag).classes(classes)


def words(text: str, classes: str = "") -> ui.label:
    """Show text."""
    return ui.label(text).classes(classes)


def heading(text: str) -> ui.element:
    """Show the view's title, as a heading that screen readers find."""
    title = box("oc-clip", "h1")
    with title:
        ui.label(text).classes("oc-clip")
    return title


def section(text: str) -> ui.element:
    """Show a panel's title."""
    title = box("", "h2")
    with title:
        ui.label(text)
    return title


def anchor(href: str, classes: str = "") -> ui.element:
    """Make a link; `href` is a path of this server."""
    link = box(classes, "a")
    link.props["href"] = href
    return link


def badge(kind: str, text: str | None = None, icon: str | None = None, tip: str | None = None) -> ui.element:
    """Show a state by colour, icon and word."""
    word, symbol = _BADGES.get(kind, (kind.capitalize(), "help"))
    shown = box(f"oc-badge {kind}", "span")
    with shown:
        ui.icon(icon or symbol)
        ui.label(text or word)
        if tip:
            ui.tooltip(tip)
    return shown


def icon_button(icon: str, tip: str, on_click: Handler, classes: str = "") -> ui.button:
    """Make a button that shows an icon; `tip` is its name for everybody who can't see it."""
    button = ui.button(icon=icon, on_click=on_click, color=None).props("flat").classes(f"oc-icon {classes}")
    button.props["aria-label"] = tip
    with button:
        ui.tooltip(tip).props("delay=400")
    return button


def empty(icon: str, title: str, advice: str = "", *, good: bool = False) -> ui.element:
    """Say that there is nothing, and what to do about it."""
    shown = box("oc-empty good" if good else "oc-empty")
    with shown:
        ui.icon(icon)
        words(title, "title")
        if advice:
            words(advice)
    return shown


def set_text(label: ui.label, text: str) -> None:
    """Change a label only when its text differs: what stays the same isn't sent."""
    if label.text != text:
        label.set_text(text)


def set_state(element: ui.element, states: Sequence[str], now: str | None) -> None:
    """Give an element one class of `states`, or none."""
    wanted = {now} if now else set()
    have = {each for each in states if each in element.classes}
    if have != wanted:
        element.classes(add=" ".join(wanted - have), remove=" ".join(have - wanted))


class Choice:
    """Buttons of which one is pressed."""

    def __init__(
        self,
        options: Sequence[tuple[Any, str]],
        value: Any,
        on_change: Callable[[Any], Awaitable[None] | None],
        *,
        label: str,
        classes: str = "",
    ) -> None:
        """Show one button per (value, word); `label` names the group."""
        self.value = value
        self._on_change = on_change
        self._buttons: list[tuple[Any, ui.element]] = []
        with box(f"oc-choice {classes}") as self.element:
            self.element.props["role"] = "group"
            self.element.props["aria-label"] = label
            for option, word in options:
                button = box("", "button")
                button.props["type"] = "button"
                with button:
                    ui.label(word)
                button.on("click", lambda _, option=option: self.choose(option))
                self._buttons.append((option, button))
        self._mark()

    def choose(self, value: Any) -> Awaitable[None] | None:
        """Press a button, and tell."""
        self.value = value
        self._mark()
        return self._on_change(value)

    def set(self, value: Any) -> None:
        """Show another button as pressed, without telling."""
        self.value = value
        self._mark()

    def _mark(self) -> None:
        for option, button in self._buttons:
            # Without the type, True and 1 would be the same state.
            pressed = type(option) is type(self.value) and option == self.value
            button.props["aria-pressed"] = "true" if pressed else "false"
            button.update()


def spark(values: Sequence[float | None]) -> str:
    """Draw a small line over evenly spaced values as SVG; gaps stay gaps. Made of numbers only."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return ""
    low, high = min(known), max(known)
    width, height, edge = 92.0, 26.0, 3.0
    scale = (height - 2 * edge) / (high - low) if high > low else 0.0
    step = width / max(1, len(values) - 1)
    parts, pen_up = [], True
    for index, value in enumerate(values):
        if value is None or not math.isfinite(value):
            pen_up = True
            continue
        y = height - edge - (value - low) * scale if scale else height / 2
        parts.append(f"{'M' if pen_up else 'L'}{index * step:.1f} {y:.1f}")
        pen_up = False
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" aria-hidden="true"><path d="{"".join(parts)}"/></svg>'
    )


def equipment_link(node_id: str) -> str:
    """Give the path of an equipment's view."""
    return f"/equipment?id={quote(node_id, safe='')}"


def trend_link(point_ids: Sequence[str]) -> str:
    """Give the path of a trend of these points."""
    return "/trends?" + "&".join(f"p={quote(point_id, safe='')}" for point_id in point_ids)
