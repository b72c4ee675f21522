"""For every route that takes a body, one that is right, in an order in which each finds what it needs.

All ids are those of a new campus: the first record of each kind has the id 1.
"""

from typing import Any, Final

PASSWORD: Final = "correct horse battery"
POINT: Final = "1001/analog-value-1"
METERED: Final = "1001/analog-value-2"
START, END = "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"

ALARM_CONFIG = {
    "node_id": POINT,
    "condition": {"kind": "limit", "high": 10.0, "low": 1.0, "deadband": 0.5, "delay": 1.0},
    "severity": "high",
    "message": "too warm",
    "enabled": True,
}
BASELINE = {
    "meter_id": 1,
    "name": "2025",
    "base_temperature": 15.5,
    "start": START,
    "end": END,
    "observations": [{"degree_days": x, "consumption": 100 + 2 * x} for x in (10, 20, 30)],
}
BROKER = {
    "name": "Plant",
    "host": "mqtt.example.org",
    "port": 8883,
    "client_id": "campus",
    "username": "opencrate",
    "password": "a password",
    "sites": ["north"],
    "tags": ["temp"],
    "keepalive": 30,
}
CALENDAR = {
    "name": "Holidays",
    "description": "of the city",
    "entries": [{"period": {"kind": "date", "month": 12, "day": 25}, "label": "Christmas"}],
}
DEVICE_DAYS = [{"kind": "date", "month": 12, "day": 25}]
DEVICE_SCHEDULE = {
    "kind": "analog",
    "default_value": 18.0,
    "week": [{"weekday": 1, "time": "07:00", "value": 21.0}],
    "exceptions": [
        {
            "priority": 10,
            "period": DEVICE_DAYS[0],
            "entries": [{"time": "00:00", "value": None}],
        }
    ],
}
ENDPOINT = {
    "name": "CMMS",
    "url": "https://cmms.example.org/hook",
    "secret": "shared",
    "events": ["alarm_raised"],
    "severities": ["high"],
    "tags": ["temp"],
    "sites": ["north"],
}
ENTITY = {
    "id": "ahu-1",
    "entity_type": "equip",
    "dis": "AHU-1",
    "tags": {"ahu": None, "area": 1200.0, "floor": "2"},
    "data": {"binding": {"Bacnet": {"device_instance": 1001}}},
}
EXCEPTION = {
    "name": "Christmas",
    "priority": 3,
    "period": {"kind": "date", "month": 12, "day": 25},
    "entries": [{"time": "00:00", "value": 5.0}],
}
FDD_RULE = {
    "name": "Zone too warm",
    "description": "comfort",
    "condition": {"kind": "threshold", "high": 27.0, "deadband": 0.5},
    "severity": "medium",
    "message": "warm",
    "confirm": 60,
    "tags": ["zone", "-sp"],
}
FDD_BINDING = {"node_id": METERED, "points": {"value": METERED}}
METER = {
    "name": "Main",
    "node_id": METERED,
    "kind": "electric",
    "unit": "kWh",
    "reading": "counter",
    "rollover": 100000,
    "multiplier": 1.0,
}
NODE = {
    "id": "room-1",
    "node_type": "Space",
    "dis": "Room 1",
    "parent_id": "north",
    "tags": ["room"],
    "refs": {"ahuRef": "1001"},
    "properties": {"area": 20.5},
    "capabilities": {"readable": False, "writable": False},
    "protocol_binding": {"protocol": "virtual", "config": {"x": 1}},
}
PATTERN = {"event": "value_changed", "template": "a/{site}/{point_id}", "qos": 1, "retain": True}
PROGRAM = {
    "name": "Copy",
    "description": "copies",
    "blocks": [
        {"kind": "point_read", "id": "zone", "point": METERED},
        {"kind": "point_write", "id": "out", "point": POINT, "value": "zone"},
    ],
    "trigger": {"on": "period", "seconds": 5.0},
    "priority": 12,
    "enabled": True,
    "shadow": False,
}
RATE = {
    "name": "City",
    "currency": "EUR",
    "unit": "kWh",
    "tariff": {
        "kind": "time_of_use",
        "zone": "Europe/Vienna",
        "periods": [{"name": "peak", "start": "08:00", "end": "20:00", "weekdays": [1, 2], "price": "0.30"}],
        "otherwise": "0.20",
    },
}
RECIPIENT = {
    "name": "Ana",
    "kind": "email",
    "address": "ana@example.org",
    "zone": "Europe/Vienna",
    "quiet": {"start": "22:00", "end": "06:00"},
    "quiet_severities": ["critical"],
}
REPORT = {"name": "Weekly", "description": "for the board", "template": "weekly_alarms"}
REPORT_SCHEDULE = {
    "timing": {"every": "week", "weekday": 1, "at": "06:00", "zone": "Europe/Vienna"},
    "recipients": ["ops@example.org"],
}
ROUTING_RULE = {
    "name": "To Ana",
    "position": 10,
    "severities": ["critical"],
    "sites": ["north"],
    "tags": ["temp"],
    "hours": {"start": "06:00", "end": "18:00"},
    "tiers": [{"after_seconds": 0, "recipients": [1]}],
}
SCHEDULE = {
    "name": "Office",
    "description": "hours",
    "kind": "analog",
    "default_value": 16.0,
    "zone": "Europe/Vienna",
    "starts_on": "2025-01-01",
    "ends_on": "2035-01-01",
    "priority": 15,
    "week": [{"weekday": 1, "time": "07:00", "value": 21.0}, {"weekday": 1, "time": "18:00", "value": 16.0}],
}
TARGET = {
    "name": "Historian",
    "connection": {"kind": "influxdb", "url": "https://i.example.org", "org": "campus", "bucket": "b"},
    "password": "a token",
    "selection": {"sites": ["north"], "ids": [POINT], "tags": ["temp"]},
    "batch_size": 500,
}

BODIES: Final[dict[tuple[str, str], Any]] = {
    ("POST", "/api/auth/setup"): {"username": "eva", "password": PASSWORD, "full_name": "Eva"},
    ("POST", "/api/auth/login"): {"username": "nobody", "password": "wrong password"},
    ("POST", "/api/auth/password"): {"old_password": "wrong password", "new_password": PASSWORD},
    ("POST", "/api/users"): {"username": "otto", "password": PASSWORD, "role": "operator", "full_name": "O"},
    ("PUT", "/api/users/{user_id}"): {"full_name": "Otto", "enabled": True, "role": "operator"},
    ("PATCH", "/api/users/{user_id}"): {"full_name": "Otto"},
    ("POST", "/api/nodes"): NODE,
    ("PUT", "/api/nodes/{node_id}"): {"dis": "Room", "tags": ["room"], "properties": {"area": 21}},
    ("PATCH", "/api/nodes/{node_id}"): {"dis": "Room", "refs": {"ahuRef": "1001"}, "parent_id": "north"},
    ("POST", "/api/points/{point_id}/write"): {"value": 21.5, "priority": 8, "duration": 60.0, "note": "n"},
    ("POST", "/api/points/{point_id}/relinquish"): {"priority": 8},
    ("POST", "/api/history/query"): {
        "ids": [POINT, METERED],
        "start": START,
        "end": "2025-01-02T00:00:00Z",
        "limit": 10,
        "interval": "hour",
        "zone": "Europe/Vienna",
    },
    ("PUT", "/api/history/retention"): {"days": 3653},
    ("PUT", "/api/history/{point_id}/config"): {
        "mode": "cov",
        "increment": 0.5,
        "interval": 3600,
        "retention": 730,
    },
    ("POST", "/api/alarms/configs"): ALARM_CONFIG,
    ("PUT", "/api/alarms/configs/{config_id}"): ALARM_CONFIG,
    ("POST", "/api/alarms/{alarm_id}/acknowledge"): {"note": "seen"},
    ("POST", "/api/alarms/acknowledge"): {"alarms": [{"site": "north", "id": 1}], "ids": [1], "note": "seen"},
    ("POST", "/api/alarms/{alarm_id}/shelve"): {"duration": 600.0, "note": "quiet"},
    ("POST", "/api/entities"): ENTITY,
    ("PATCH", "/api/entities/{entity_id}"): {"dis": "AHU", "tags": {"ahu": True}, "data": {"x": [1, None]}},
    ("POST", "/api/events/subscriptions"): {"name": "cmms", "types": ["alarm_raised"], "after": 0},
    ("POST", "/api/events/subscriptions/{name}/acknowledge"): {"seq": 0},
    ("POST", "/api/discovery/modbus/networks/{network_id}/units/{unit}/exchange"): {
        "address": 0,
        "values": [1],
        "read_address": 0,
        "read_count": 1,
    },
    ("POST", "/api/discovery/scan"): {"protocol": "bacnet", "networks": ["ip"], "low": 1, "high": 1000},
    ("POST", "/api/discovery/ignore"): {"ids": [1]},
    ("POST", "/api/discovery/restore"): {"ids": [1]},
    ("POST", "/api/discovery/{device_id}/proposal"): {"name": "AHU-1", "points": ["analog-input-1"]},
    ("POST", "/api/discovery/accept"): {"devices": [{"id": 1, "name": "AHU-1"}]},
    ("POST", "/api/discovery/{device_id}/accept"): {
        "name": "AHU-1",
        "points": ["analog-input-1"],
        "changes": [{"point_key": "analog-input-1", "name": "Zone", "group": "", "tags": ["zone"]}],
        "grouping": True,
    },
    ("PUT", "/api/schedules/bacnet/{device_key}/schedules/{instance}"): DEVICE_SCHEDULE,
    ("PUT", "/api/schedules/bacnet/{device_key}/calendars/{instance}"): {"days": DEVICE_DAYS},
    ("POST", "/api/discovery/bacnet/devices/{device_key}/restart"): {"how": "warmstart", "password": "x"},
    ("POST", "/api/discovery/bacnet/devices/{device_key}/communication"): {
        "speech": "disable-initiation",
        "minutes": 5,
        "password": "x",
    },
    ("POST", "/api/discovery/bacnet/devices/{device_key}/objects"): {
        "object_type": "analog-value",
        "instance": 7,
        "name": "Setpoint",
        "description": "of the room",
    },
    ("POST", "/api/commissioning/sessions"): {"name": "AHU-1", "node_id": "1001", "note": "first"},
    ("POST", "/api/commissioning/sessions/{session_id}/items"): {"also": ["alarm"]},
    ("PUT", "/api/commissioning/sessions/{session_id}"): {"name": "AHU-1", "note": "second"},
    ("PUT", "/api/commissioning/items/{item_id}"): {"state": "verified", "note": "21 °C"},
    ("POST", "/api/commissioning/items/{item_id}/verify"): {"low": 0.0, "high": 50.0, "priority": 8},
    ("POST", "/api/commissioning/sessions/{session_id}/sign-off"): {"note": "ok", "accept_failures": False},
    ("POST", "/api/export/targets"): TARGET,
    ("PUT", "/api/export/targets/{target_id}"): TARGET,
    ("POST", "/api/export/targets/{target_id}/reset"): {"to": START},
    ("POST", "/api/export/targets/{target_id}/backfill"): {"start": START, "end": END},
    ("POST", "/api/mqtt/brokers"): BROKER,
    ("PUT", "/api/mqtt/brokers/{broker_id}"): BROKER,
    ("POST", "/api/mqtt/brokers/{broker_id}/patterns"): PATTERN,
    ("PUT", "/api/mqtt/patterns/{pattern_id}"): PATTERN,
    ("POST", "/api/notifications/recipients"): RECIPIENT,
    ("PUT", "/api/notifications/recipients/{recipient_id}"): RECIPIENT,
    ("POST", "/api/notifications/rules"): ROUTING_RULE,
    ("PUT", "/api/notifications/rules/{rule_id}"): ROUTING_RULE,
    ("POST", "/api/notifications/shelvings"): {
        "site": "north",
        "node_id": "1001",
        "tag": "temp",
        "reason": "filter change",
        "duration": 7200,
    },
    ("POST", "/api/programs"): PROGRAM,
    ("POST", "/api/programs/check"): PROGRAM,
    ("PUT", "/api/programs/{program_id}"): PROGRAM,
    ("POST", "/api/programs/{program_id}/shadow"): {"shadow": True},
    ("POST", "/api/schedules"): SCHEDULE,
    ("PUT", "/api/schedules/{schedule_id}"): SCHEDULE,
    ("POST", "/api/schedules/calendars"): CALENDAR,
    ("PUT", "/api/schedules/calendars/{calendar_id}"): CALENDAR,
    ("POST", "/api/schedules/{schedule_id}/exceptions"): EXCEPTION,
    ("PUT", "/api/schedules/exceptions/{exception_id}"): EXCEPTION,
    ("POST", "/api/schedules/{schedule_id}/assignments"): {"node_id": POINT},
    ("POST", "/api/reports"): REPORT,
    ("PUT", "/api/reports/{report_id}"): REPORT,
    ("POST", "/api/reports/{report_id}/schedules"): REPORT_SCHEDULE,
    ("PUT", "/api/reports/schedules/{schedule_id}"): REPORT_SCHEDULE,
    ("POST", "/api/reports/{report_id}/run"): {"start": START, "end": END},
    ("POST", "/api/fdd/rules"): FDD_RULE,
    ("PUT", "/api/fdd/rules/{rule_id}"): FDD_RULE,
    ("POST", "/api/fdd/rules/{rule_id}/bindings"): FDD_BINDING,
    ("PUT", "/api/fdd/rules/{rule_id}/bindings/{binding_id}"): FDD_BINDING,
    ("POST", "/api/fdd/faults/{fault_id}/acknowledge"): {"note": "seen"},
    ("POST", "/api/webhooks"): ENDPOINT,
    ("PUT", "/api/webhooks/config"): {
        "paused": False,
        "timeout_seconds": 5.0,
        "allowed_networks": ["10.0.0.0/8"],
        "keep_days": 30,
    },
    ("PUT", "/api/webhooks/{endpoint_id}"): ENDPOINT,
    ("POST", "/api/energy/meters"): METER,
    ("PUT", "/api/energy/meters/{meter_id}"): METER,
    ("POST", "/api/energy/rates"): RATE,
    ("PUT", "/api/energy/rates/{rate_id}"): RATE,
    ("POST", "/api/energy/baselines"): BASELINE,
    ("PUT", "/api/energy/baselines/{baseline_id}"): BASELINE,
}

PARTS: Final = {
    "point_id": POINT,
    "node_id": "room-1",
    "device_key": "1001",
    "network_id": "ip",
    "object_name": "analog-value,7",
    "entity_id": "ahu-1",
    "site_id": "north",
    "tag": "room",
    "name": "cmms",
    "seq": "0",
    "user_id": "2",
}
"""What stands in a path in the place of each parameter that isn't a number."""


def filled(path: str, parts: dict[str, str] | None = None) -> str:
    """Give a route's path with its parameters filled in."""
    known = PARTS | (parts or {})
    while "{" in path:
        before, _, rest = path.partition("{")
        name, _, after = rest.partition("}")
        path = before + known.get(name.removesuffix(":path"), "1") + after
    return path
