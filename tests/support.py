"""What tests of more than one feature use."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

from argon2 import PasswordHasher

QUICK_HASHER: Final = functools.partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
"""For tests that log in but aren't about passwords: the real parameters take 0.2 s of CPU for each."""


class _Done:
    """An answer that is already there, awaitable like an ObjectRef."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._error: BaseException | None = None
        self._value: Any = None
        try:
            self._value = call()
        except Exception as error:
            self._error = error
        if inspect.iscoroutine(self._value):
            # Ray runs a call whether or not its answer is awaited.
            self._value = asyncio.ensure_future(self._value)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._result().__await__()

    async def _result(self) -> Any:
        await asyncio.sleep(0)
        if self._error is not None:
            raise self._error
        if inspect.isawaitable(self._value):
            return await self._value
        return self._value


class _Method:
    def __init__(self, bound: Callable[..., Any]) -> None:
        self._bound = bound

    def remote(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        return _Done(lambda: self._bound(*args, **kwargs))


class InProcess:
    """Stand in for an actor handle: `.method.remote(...)` calls the plain object in this process."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __getattr__(self, name: str) -> _Method:
        return _Method(getattr(self.target, name))
