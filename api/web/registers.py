"""Registers of a Modbus unit as they are now, for whoever looks for the right address and byte order."""

from typing import Any, Final

from fastapi import Request
from nicegui import ui

from api.web.frame import Frame
from api.web.parts import box, empty, heading, words
from api.web.session import ApiError

KINDS: Final = {
    "holding": "Holding registers",
    "input": "Input registers",
    "coil": "Coils",
    "discrete": "Discrete inputs",
}
TYPES: Final = (
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
    "bcd16",
    "bcd32",
)
ORDERS: Final = {
    "big-endian": "ABCD",
    "big-endian-word-swap": "CDAB",
    "little-endian-word-swap": "BADC",
    "little-endian": "DCBA",
}
MOST: Final = 125
"""Registers that the page shows at once."""


async def registers(frame: Frame, request: Request) -> None:
    """Ask for a range of registers, and show it in every way."""
    with box("oc-head"):
        heading("Modbus registers")
    if not frame.session.may("manage_discovery"):
        empty("lock", "Your role may not look at registers", "It takes the permission manage_discovery.")
        return
    try:
        networks = await frame.session.all("/api/discovery/modbus/networks")
    except ApiError as error:
        empty("cloud_off", str(error))
        return
    if not networks:
        empty("cable", "There is no Modbus network", "Name one in campus.yaml.")
        return
    with box("oc-panel"):
        asks = _Asks(networks)
        said = words("", "oc-pad oc-muted")
        said.props["role"] = "status"
        table = box("oc-scroll")
    last: dict[str, Any] = {}

    def show() -> None:
        table.clear()
        if last:
            with table:
                _table(last["registers"], str(asks.shown_as.value))

    async def ask() -> None:
        wanted = asks.wanted()
        if wanted is None:
            said.set_text("Enter unit, address and count first.")
            return
        asks.read.disable()
        said.set_text("Reading …")
        last.clear()
        path, params = wanted
        try:
            last.update(await frame.session.get(path, **params))
        except ApiError as error:
            # The unit didn't answer; the server did.
            frame.session.away = None
            said.set_text(str(error))
        else:
            missing = sum(each["error"] is not None for each in last["registers"])
            said.set_text(summary(len(last["registers"]), missing, last["requests"]))
        asks.read.enable()
        show()

    asks.read.on_click(ask)
    asks.shown_as.on_value_change(show)


class _Asks:
    """The fields that say what to read."""

    def __init__(self, networks: list[dict[str, Any]]) -> None:
        self._networks = networks
        options = {number: network_label(each) for number, each in enumerate(networks)}
        first = next(iter(networks[0]["units"].values()), 1)
        with box("oc-pad oc-asks"):
            self.network = ui.select(options, value=0, label="Network")
            self.unit = ui.number("Unit", value=first, min=0, max=255, precision=0)
            self.kind = ui.select(KINDS, value="holding", label="Table")
            self.address = ui.number("Address, from 0", value=0, min=0, max=65535, precision=0)
            self.count = ui.number("Count", value=20, min=1, max=MOST, precision=0)
            self.shown_as = ui.select(list(TYPES), value="float32", label="Shown as")
            self.read = ui.button("Read", color=None).classes("oc-main-act")
        for each in (self.network, self.unit, self.kind, self.address, self.count, self.shown_as):
            each.props("outlined dense")

    def wanted(self) -> tuple[str, dict[str, Any]] | None:
        """Give the route and its parameters; None while a number is missing."""
        numbers = [self.unit.value, self.address.value, self.count.value]
        if any(value is None for value in numbers):
            return None
        unit, address, count = (int(value) for value in numbers)
        chosen = self._networks[int(self.network.value)]
        path = f"/api/discovery/modbus/networks/{chosen['id']}/units/{unit}/registers"
        params = {"site": chosen["site"], "register_type": self.kind.value}
        return path, params | {"address": address, "count": count}


def network_label(network: dict[str, Any]) -> str:
    """Name a network as people know it."""
    return f"{network['id']} at {network['site']} ({network['transport']}, {network['address']})"


def summary(asked: int, missing: int, requests: int) -> str:
    """Say what came of a look."""
    told = f"{asked - missing} of {asked} read, in {requests} request{'s' if requests != 1 else ''}."
    return told if not missing else f"{told} The device doesn't give the others."


def cells(register: dict[str, Any], data_type: str) -> list[str]:
    """Give a row: address, hex, raw, characters, then the value in each byte order."""
    row = [str(register["address"]), register["hex"] or "", _said(register["raw"]), register["text"] or ""]
    if register["error"] is not None:
        return [*row[:2], register["error"], "", *[""] * len(ORDERS)]
    values = register["values"].get(data_type, {})
    return row + [_said(values.get(order)) for order in ORDERS]


def _said(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _table(registers: list[dict[str, Any]], data_type: str) -> None:
    head = ["Address", "Hex", "Raw", "Text", *(f"{data_type} {order}" for order in ORDERS.values())]
    with box("oc-table", "table"):
        with box("", "thead"), box("", "tr"):
            for name in head:
                with box("", "th"):
                    words(name)
        with box("", "tbody"):
            for register in registers:
                with box("", "tr"):
                    for text in cells(register, data_type):
                        with box("r", "td"):
                            words(text)
