"""What bacpypes3 0.0.110 makes of frames that are wrong, made harmless."""

import asyncio
import contextvars
import logging
from typing import Any, Final

from bacpypes3.appservice import IDLE

from bridges.outbox import FaultLog

log = logging.getLogger(__name__)
faults: Final = FaultLog(log)

_answered: contextvars.ContextVar[int | None] = contextvars.ContextVar("answered", default=None)


class OncePerMinute(logging.Handler):
    """Write one line per kind of fault and minute, in the place of a traceback for every wrong frame."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of the library."""
        if record.levelno >= logging.WARNING:
            text = record.getMessage().replace("\n", " ")[:200]
            faults.tell(record.name, str(record.msg)[:60], text)


def quieten() -> None:
    """Keep the library from writing to our log as it likes. A second call changes nothing."""
    library = logging.getLogger("bacpypes3")
    if not any(isinstance(each, OncePerMinute) for each in library.handlers):
        library.addHandler(OncePerMinute())
    library.propagate = False


def catch_lost_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log errors of the library's own tasks, which nobody waits for, once per kind and minute.

    What isn't the library's goes to who handled it before.
    """
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and _is_librarys(error):
            faults.tell("bacpypes3", type(error).__name__, f"{error}"[:200])
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    if not getattr(before, "_of_bacnet", False):
        handle._of_bacnet = True  # type: ignore[attr-defined]
        loop.set_exception_handler(handle)


def _is_librarys(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if "bacpypes3" in trace.tb_frame.f_code.co_filename:
            return True
        trace = trace.tb_next
    return type(error).__module__.startswith("bacpypes3")


def answer_what_can_not_be_read(app: Any) -> None:
    """Let a request whose answer can't be decoded end with an error; the library forgets it."""
    respond, confirm = app.asap.sap_response, app.confirmation

    async def sap_response(apdu: Any) -> None:
        token = _answered.set(getattr(apdu, "apduInvokeID", None))
        try:
            await respond(apdu)
        finally:
            _answered.reset(token)

    async def confirmation(apdu: Any) -> None:
        if getattr(apdu, "apduInvokeID", None) is None:
            apdu.apduInvokeID = _answered.get()
        await confirm(apdu)

    app.asap.sap_response, app.confirmation = sap_response, confirmation


def keep_network_number(app: Any) -> None:
    """Let nobody tell us what number our network has: with that of another one, its devices are out of reach.

    A host that is no router needn't know it.
    """
    app.nse.NetworkNumberIs = lambda adapter, npdu: None


def forget_what_never_began(app: Any) -> None:
    """Drop the transactions of requests whose header can't be read; the library keeps them for ever."""
    asap = app.asap
    take = asap.confirmation

    async def confirmation(pdu: Any) -> None:
        try:
            await take(pdu)
        finally:
            for each in [each for each in asap.serverTransactions if each.state == IDLE]:
                asap.serverTransactions.remove(each)

    asap.confirmation = confirmation


def harden(app: Any) -> None:
    """Do all of this for an application that was just opened."""
    quieten()
    catch_lost_errors(asyncio.get_running_loop())
    answer_what_can_not_be_read(app)
    keep_network_number(app)
    forget_what_never_began(app)
