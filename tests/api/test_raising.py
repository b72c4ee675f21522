"""The order in which a campus ends."""

from api.raising import stop_groups

NAMES = [
    "users@campus",
    "bus@campus",
    "nodes@campus",
    "history@north",
    "history_reader@north",
    "points@north",
    "bus@north",
    "bacnet@north",
    "modbus@north",
    "alarm_engine@north",
]


def test_bridges_end_before_engines_and_those_before_what_they_write_to() -> None:
    groups = stop_groups(NAMES)
    assert groups == [
        ["bacnet@north"],
        ["modbus@north"],
        ["alarm_engine@north"],
        ["points@north"],
        ["history_reader@north"],
        ["users@campus", "nodes@campus", "history@north"],
        ["bus@campus", "bus@north"],
    ]


def test_the_reader_lets_go_of_the_file_before_the_store_does() -> None:
    """SQLite keeps the WAL of a file which another connection still has open."""
    order = [name for group in stop_groups(reversed(NAMES)) for name in group]
    assert order.index("history_reader@north") < order.index("history@north")


def test_every_actor_is_stopped_once() -> None:
    assert sorted(name for group in stop_groups(NAMES) for name in group) == sorted(NAMES)
