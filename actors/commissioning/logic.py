"""Rules of commissioning: what must be verified, and which step follows which. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from actors.commissioning.models import ItemKind, ItemState, NewItem, Progress, SessionState, SignOff
from actors.core.errors import BadInputError, ConflictError
from actors.node.models import Node, NodeType

SESSION_STEPS: Final[Mapping[SessionState, frozenset[SessionState]]] = {
    SessionState.NOT_STARTED: frozenset({SessionState.IN_PROGRESS}),
    SessionState.IN_PROGRESS: frozenset({SessionState.COMPLETED}),
    SessionState.COMPLETED: frozenset({SessionState.SIGNED_OFF}),
    SessionState.SIGNED_OFF: frozenset(),
}

_RESULTS: Final = frozenset({ItemState.VERIFIED, ItemState.FAILED, ItemState.DEFERRED})

ITEM_STEPS: Final[Mapping[ItemState, frozenset[ItemState]]] = {
    ItemState.NOT_STARTED: _RESULTS,
    ItemState.FAILED: _RESULTS,
    ItemState.DEFERRED: _RESULTS,
    ItemState.VERIFIED: frozenset(),
}

_POINTS: Final = frozenset({NodeType.POINT, NodeType.VIRTUAL_POINT})


def items_for(
    nodes: Iterable[Node],
    configured: Mapping[ItemKind, Collection[str]] | None = None,
    also: Collection[ItemKind] = (),
) -> list[NewItem]:
    """Give what must be verified of some nodes: for each point one item per capability, in a fixed order.

    That a point could have an alarm or a schedule doesn't mean that it should: such items are for points that
    are among those `configured`, or of which a person wants it `also`.
    """
    items: list[NewItem] = []
    has = configured or {}
    for node in nodes:
        if node.node_type not in _POINTS:
            continue
        able = node.capabilities
        wanted = {
            ItemKind.READ: able.readable,
            ItemKind.WRITE: able.writable,
            ItemKind.ALARM: node.id in has.get(ItemKind.ALARM, ())
            or (able.alarmable and ItemKind.ALARM in also),
            ItemKind.SCHEDULE: node.id in has.get(ItemKind.SCHEDULE, ())
            or (able.schedulable and ItemKind.SCHEDULE in also),
        }
        items += [
            NewItem(node_id=node.id, dis=node.dis, kind=kind) for kind, needed in wanted.items() if needed
        ]
    return items


def check_session_step(session_id: int, old: SessionState, new: SessionState) -> None:
    """Let a session go from `old` to `new`. Raises ConflictError that names both."""
    if new not in SESSION_STEPS[old]:
        raise ConflictError("session", session_id, f"it is {old.value} and can't become {new.value}")


def check_result(item_id: int, session: SessionState, old: ItemState, new: ItemState) -> None:
    """Let an item go from `old` to `new` while its session is in a state.

    Results are taken from the start of the session until its sign-off, so that a completed session whose
    items failed can still be put right. Raises ConflictError that names both states.
    """
    if session in {SessionState.NOT_STARTED, SessionState.SIGNED_OFF}:
        raise ConflictError(
            "item", item_id, f"its session is {session.value}: it is {old.value} and can't become {new.value}"
        )
    if new not in ITEM_STEPS[old]:
        raise ConflictError("item", item_id, f"it is {old.value} and can't become {new.value}")


def check_complete(session_id: int, progress: Progress) -> None:
    """Let a session be completed when all items have a result. Raises ConflictError."""
    if progress.not_started:
        raise ConflictError(
            "session",
            session_id,
            f"it can't become {SessionState.COMPLETED.value}: {progress.not_started} of {progress.total}"
            f" items are {ItemState.NOT_STARTED.value}",
        )


def check_sign_off(session_id: int, progress: Progress, sign_off: SignOff) -> None:
    """Let a session be signed off when no item has failed, or when that is accepted with a note.

    Raises ConflictError, and BadInputError for an acceptance without a note.
    """
    if not progress.failed:
        return
    if not sign_off.accept_failures:
        raise ConflictError(
            "session",
            session_id,
            f"it can't become {SessionState.SIGNED_OFF.value}: {progress.failed} items are"
            f" {ItemState.FAILED.value}; verify or defer them, or accept them with a note",
        )
    if not sign_off.note.strip():
        raise BadInputError("note", sign_off.note, "why the failed items are accepted")


def progress_of(counts: Mapping[ItemState, int]) -> Progress:
    """Sum up items by state."""
    return Progress(
        total=sum(counts.values()),
        not_started=counts.get(ItemState.NOT_STARTED, 0),
        verified=counts.get(ItemState.VERIFIED, 0),
        failed=counts.get(ItemState.FAILED, 0),
        deferred=counts.get(ItemState.DEFERRED, 0),
    )
