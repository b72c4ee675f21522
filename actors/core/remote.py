"""Calls to other actors, with errors that say who didn't answer."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError

from actors.core.errors import BadInputError, OpenCrateError, UnreachableError


async def answered(name: str, reference: Awaitable[Any], timeout: float) -> Any:
    """Wait for the answer of `name`. Raises the error that it raised, as it raised it.

    Raises UnreachableError when there is no answer within `timeout` seconds, also while the actor restarts;
    then it isn't known whether the call was carried out.
    """

    try:
        async with asyncio.timeout(timeout):
            return await reference
    except TimeoutError as error:
        raise UnreachableError(name, f"no answer within {timeout:g} s") from error
    except RayTaskError as error:
        # Ray's own text is a traceback of the other process: nothing for users.
        cause = error.cause
        if isinstance(cause, OpenCrateError):
            raise cause from None
        if isinstance(cause, OverflowError | UnicodeError):
            raise BadInputError(
                "request", str(cause)[:100], "numbers and texts that can be stored"
            ) from error
        raise UnreachableError(name, f"{type(cause).__name__}: {cause}"[:300]) from error
    except RayActorError as error:
        raise UnreachableError(name, "it is restarting") from error
    except RayError as error:
        raise UnreachableError(name, type(error).__name__) from error
