"""A store under load, in a process that somebody kills.

Operation n makes record n; every fourth deletes the record that was made two operations before.
"""

from multiprocessing.connection import Connection
from typing import Any

from tests.crash.cases import CASES


class Outbox:
    """A publisher whose journal never answers, so that every event stays in the outbox."""

    def __call__(self, event: Any, /) -> None: ...

    def durably(self, key: str, event: bytes, kind: str) -> None: ...

    def confirmed(self) -> list[str]:
        return []


def deletes(number: int) -> int | None:
    """Give the record that operation `number` deletes, or None where it makes one."""
    return number - 2 if number % 4 == 3 else None


def main(name: str, folder: str, first: int, said: Connection) -> None:
    """Say -1 when the store is open, then n when operation n has returned, for ever."""
    case = CASES[name]
    store = case.plain(folder, Outbox())
    there = case.found(store)
    said.send(-1)
    number = first
    while True:
        gone = deletes(number) if case.drop else None
        if gone is None:
            case.make(store, number)
            there.add(number)
        elif gone in there:
            assert case.drop is not None
            case.drop(store, gone)
            there.discard(gone)
        said.send(number)
        number += 1
