"""Rules of MQTT topics (MQTT 5.0, 4.7): templates, their fields and what may stand in a level."""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Final

from actors.core.errors import BadInputError
from actors.mqtt.models import EventName

FIELDS: Final[dict[EventName, frozenset[str]]] = {
    "value_changed": frozenset({"site", "node_id", "device_id", "point_id"}),
    "alarm_raised": frozenset({"site", "node_id", "device_id", "point_id", "severity", "alarm_id"}),
    "alarm_cleared": frozenset({"site", "node_id", "device_id", "point_id", "alarm_id"}),
    "device_down": frozenset({"site", "device_key", "protocol"}),
    "device_discovered": frozenset({"site", "device_key", "protocol", "network_id"}),
}
"""The fields that a template of each event may name."""

DEFAULTS: Final[tuple[tuple[EventName, str, int, bool], ...]] = (
    ("value_changed", "opencrate/{site}/{device_id}/{point_id}/value", 0, True),
    ("alarm_raised", "opencrate/alarms/{severity}/{node_id}", 1, False),
    ("alarm_cleared", "opencrate/alarms/cleared/{node_id}", 1, False),
    ("device_down", "opencrate/status/{device_key}", 1, True),
    ("device_discovered", "opencrate/discovered/{device_key}", 0, False),
)
"""Event, template, quality of service and retain of the patterns that a new broker gets."""

LONGEST: Final = 65_535
"""Bytes of a topic name (MQTT 5.0, 1.5.4)."""

_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff+#/]")


def check_template(template: str, event: EventName | None = None) -> str:
    """Check a topic template; without an event, of the status topic, which names nothing.

    Raises BadInputError.
    """

    def wrong(expected: str) -> BadInputError:
        return BadInputError("template" if event else "status_topic", template, expected)

    known = FIELDS[event] if event else frozenset()
    plain = ""
    try:
        for text, field, spec, conversion in Formatter().parse(template):
            plain += text
            if field is None:
                continue
            if spec or conversion or field not in known:
                choices = ", ".join(f"{{{each}}}" for each in sorted(known)) or "none"
                raise wrong(f"only these fields: {choices}")
            plain += "x"
    except ValueError:
        raise wrong("braces in pairs: {site}") from None
    if "+" in plain or "#" in plain:
        raise wrong("a topic without the wildcards + and #")
    if re.search(r"[\x00-\x1f\x7f]", plain):
        raise wrong("a topic without control characters")
    if plain.startswith("$"):
        raise wrong("a topic that doesn't begin with $, which belongs to the broker")
    if "" in plain.split("/"):
        raise wrong("a topic without empty levels")
    return template


def level(value: object) -> str:
    """Give a value as one level of a topic: what would divide it or match others becomes `_`."""
    return _UNFIT.sub("_", str(value)) or "_"


def fields_of(node_id: str) -> dict[str, str]:
    """Give a node's id as the fields of a template: `1001/analog-input-1` is of device 1001."""
    device, slash, point = node_id.partition("/")
    return {"node_id": node_id, "device_id": device, "point_id": point if slash else node_id}


def topic(template: str, fields: Mapping[str, object]) -> str:
    """Give the topic of an event; every field is one level or part of one, whatever it holds.

    Raises BadInputError for a topic that is too long and KeyError for a field that isn't there.
    """
    name = template.format_map({key: level(value) for key, value in fields.items()})
    if len(name.encode()) > LONGEST:
        raise BadInputError("topic", name[:100], f"at most {LONGEST} bytes")
    return f"_{name[1:]}" if name.startswith("$") else name
