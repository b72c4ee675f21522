"""Turning plain classes into actors: logging, start after every (re)start, the right options."""

import asyncio
import inspect
import json
import logging
import logging.handlers
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray

from actors.core.metrics import EVERY, Meters, measured
from actors.core.names import NAMESPACE, actor_name
from actors.core.peer import take_back
from actors.core.store import Store

LOG_FORMAT = "%(asctime)s %(levelname)s %(site_actor)s %(name)s: %(message)s"
LOG_KIND = "OPENCRATE_LOG"
"""The environment variable that makes each line of the logs a JSON object, when it is `json`."""
OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "site_actor"}


class JsonFormatter(logging.Formatter):
    """Give a record as one line of JSON, with site and actor, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record; what JSON doesn't know is written as text."""
        actor, _, site = getattr(record, "site_actor", "").partition("@")
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname,
            "site": site,
            "actor": actor,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in OWN_FIELDS}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(folder: Path, name: str) -> None:
    """Log to `<folder>/<name>.log`, 3 files of 5 MB; warnings go to standard error too (Ray's own files)."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(folder / f"{name}.log", maxBytes=5_000_000, backupCount=2)
    handler.addFilter(_named(name))
    as_json = os.environ.get(LOG_KIND) == "json"
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(LOG_FORMAT))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, logging.handlers.RotatingFileHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # The page asks the API every two seconds.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _named(name: str) -> logging.Filter:
    class Named(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            record.site_actor = name
            return True

    return Named()


class Started:
    """Mixed into an actor: sets logging up and calls `start` whenever Ray (re)creates it."""

    def __init__(
        self,
        log_folder: str | None,
        full_name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        mark: Path | None = None,
    ) -> None:
        """Build the plain class below, then let it start.

        `log_folder` is None in a process that logs already; `mark` says where one that stands in for this
        actor says so: it gives its place up first.
        """
        if log_folder is not None:
            configure_logging(Path(log_folder), full_name)
        log = logging.getLogger(__name__)
        log.info("%s is starting", full_name)
        try:
            if mark is not None and take_back(mark):
                log.warning("%s takes its place back from its stand-in", full_name)
            super().__init__(*args, **kwargs)
        except Exception:
            log.exception("%s can't start", full_name)
            raise
        self._meters = Meters(full_name)
        if hasattr(self, "measures"):
            self._tell_measures(log)
        start = getattr(self, "start", None)
        if inspect.iscoroutinefunction(start):
            self._starting = asyncio.get_running_loop().create_task(self._begin(start, log, full_name))

    def _tell_measures(self, log: logging.Logger) -> None:
        """Send the measures again and again: from the event loop, or a thread where there is none."""

        def send() -> None:
            try:
                self._meters.send(self.measures())  # type: ignore[attr-defined]
            except Exception:
                log.exception("measures could not be told")

        async def tell() -> None:
            while True:
                send()
                await asyncio.sleep(EVERY)

        def tell_beside() -> None:
            while True:
                send()
                time.sleep(EVERY)

        try:
            self._telling = asyncio.get_running_loop().create_task(tell())
        except RuntimeError:
            threading.Thread(target=tell_beside, name="measures", daemon=True).start()

    async def _begin(self, start: Any, log: logging.Logger, full_name: str) -> None:
        try:
            await start()
        except Exception:
            log.exception("%s failed to start", full_name)
            raise


def create(
    plain: type,
    name: str,
    site: str,
    log_folder: Path,
    *args: Any,
    pin_to: str | None = None,
    mark: Path | None = None,
    **kwargs: Any,
) -> Any:
    """Raise one detached actor of a plain class and give its handle.

    It is restarted for ever, holds no CPU of Ray's, and is pinned to the Ray node `pin_to`. Sync classes get
    one call at a time; classes with async methods run on an event loop.
    """
    full_name = actor_name(name, site)
    options: dict[str, Any] = {
        "name": full_name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "num_cpus": 0,
        "max_restarts": -1,
        "get_if_exists": False,
    }
    if not is_async(plain):
        options["max_concurrency"] = 1
    if pin_to:
        options["label_selector"] = {"ray.io/node-id": pin_to}
    made: Any = ray.remote(actor_class(plain)).options(**options)
    return made.remote(str(log_folder), full_name, args, kwargs, mark)


def actor_class(plain: type) -> type:
    """Give the class of the actor that a plain class becomes. Raises TypeError where names clash."""
    clash = {each for each in vars(Started) if not each.startswith("__") and hasattr(plain, each)}
    if clash:
        raise TypeError(f"{plain.__name__} has {', '.join(clash)} too, which the actor's start would hide")
    members: dict[str, Any] = {"__doc__": plain.__doc__, "__module__": plain.__module__}
    if issubclass(plain, Store):
        members |= measured(plain, _meters_of)
    return type(plain.__name__, (Started, plain), members)


def _meters_of(actor: Any) -> Meters | None:
    """Give an actor's meters; there are none before it has started."""
    return getattr(actor, "_meters", None)


def is_async(plain: type) -> bool:
    """Tell whether a plain class has async methods, and so runs on an event loop."""
    return any(inspect.iscoroutinefunction(getattr(plain, each, None)) for each in dir(plain))
