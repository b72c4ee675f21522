"""How others hand readings to history."""

from typing import Any

import ray


class AppendTo:
    """Append frames to a site's history and wait for the commit. Travels to the actor that uses it."""

    def __init__(self, history: Any, timeout: float = 30.0) -> None:
        """Take the history store's handle."""
        self._history, self._timeout = history, timeout

    def __call__(self, frame: bytes) -> int:
        """Append one frame; gives the rows that were new. Raises what Ray or the store raises."""
        answer: int = ray.get(self._history.append.remote(frame), timeout=self._timeout)
        return answer
