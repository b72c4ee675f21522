"""Handles of actors on one host that lead to a stand-in while the actor itself can't be started again.

Ray starts an actor again that died, but decides on it at the campus's head. On a host that is cut off a
stand-in takes the dead actor's place; a mark, a file on the host's disk, says so to everybody there.
"""

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import IO, Any, Final

PATIENCE: Final = 10.0
"""Seconds that a stand-in may take to end, before its process is killed."""


class Peer:
    """An actor's handle: `peer.method.remote(...)` goes to the actor, or to who stands in for it.

    Each call looks at the mark (some microseconds): nobody has to be told, and one that restarts knows too.
    """

    def __init__(self, name: str, handle: Any, stand_in: Any, mark: Path) -> None:
        """Take the actor's name (`history`) and handle, who stands in for it, and the mark that says when."""
        self.name, self.handle, self.stand_in, self.mark = name, handle, stand_in, mark
        self._mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.name, self.handle, self.stand_in, self.mark)

    def __getattr__(self, method: str) -> "_Method":
        """Give a method of the actor. Raises AttributeError where it has none of this name."""
        if method.startswith("_"):
            raise AttributeError(method)
        return _Method(self, method, getattr(self.handle, method))

    @property
    def replaced(self) -> bool:
        """Whether calls go to the stand-in now."""
        return os.path.exists(self._mark)


def _arrive(name: str, handle: Any, stand_in: Any, mark: Path) -> Peer:
    """Make a peer that came from another process, and let Ray connect to both who may have to be called.

    Ray asks the head where an actor is with the first call: too late on a host that is cut off.
    """
    for known, each in ((mark, handle), (mark.parent, stand_in)):
        if known not in _met:
            _met.add(known)
            each.health.remote()
    return Peer(name, handle, stand_in, mark)


_met: set[Path] = set()


class _Method:
    """One method of a peer."""

    def __init__(self, peer: Peer, name: str, own: Any) -> None:
        self._peer, self._name, self._own = peer, name, own

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, as Ray's own `remote` does."""
        peer = self._peer
        if peer.replaced:
            return peer.stand_in.call.remote(peer.name, self._name, args, kwargs)
        return self._own.remote(*args, **kwargs)


def bare(handle: Any) -> Any:
    """Give Ray's own handle of an actor."""
    return handle.handle if isinstance(handle, Peer) else handle


def set_mark(mark: Path) -> IO[str]:
    """Say that this process stands in; the file's lock is held until it is closed, or the process ends.

    Raises OSError.
    """
    mark.parent.mkdir(parents=True, exist_ok=True)
    file = mark.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    # Only for killing a process that hangs: a full disk is no reason not to stand in.
    with contextlib.suppress(OSError):
        file.truncate(0)
        os.write(file.fileno(), str(os.getpid()).encode())
    return file


def take_back(mark: Path, wait: float = PATIENCE) -> bool:
    """Take an actor's place back: calls come here from now on, and its stand-in has ended on return.

    A stand-in that doesn't end within `wait` seconds is killed. Gives whether there was a mark.
    """
    try:
        file = mark.open("r+")
    except FileNotFoundError:
        return False
    with file:
        mark.unlink(missing_ok=True)
        deadline = time.monotonic() + wait
        while not _locks(file):
            if time.monotonic() > deadline:
                file.seek(0)
                with contextlib.suppress(ValueError, ProcessLookupError):
                    os.kill(int(file.read()), signal.SIGKILL)
            time.sleep(0.05)
    return True


def _locks(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
