"""Every error that we raise on purpose.

Arguments pass through, so that errors survive the trip between processes.
"""


class OpenCrateError(Exception):
    """Root of all errors of this system."""


class BadInputError(OpenCrateError):
    """Input that can't be taken. `field` and `value` say what, `expected` says what would be right."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(field, value, expected)
        self.field, self.value, self.expected = field, value, expected

    def __str__(self) -> str:
        return f"{self.field}: {self.value!r} is not valid; expected {self.expected}"


class NotFoundError(OpenCrateError):
    """No such record. `kind` and `key` say which."""

    def __init__(self, kind: str, key: object) -> None:
        super().__init__(kind, key)
        self.kind, self.key = kind, key

    def __str__(self) -> str:
        return f"no {self.kind} {self.key!r}"


class ConflictError(OpenCrateError):
    """The request is right in itself but doesn't fit what is there, and `reason` says why."""

    def __init__(self, kind: str, key: object, reason: str) -> None:
        super().__init__(kind, key, reason)
        self.kind, self.key, self.reason = kind, key, reason

    def __str__(self) -> str:
        return f"{self.kind} {self.key!r}: {self.reason}"


class NotAllowedError(OpenCrateError):
    """The user is known but may not do this; `permission` is what it takes."""

    def __init__(self, permission: str) -> None:
        super().__init__(permission)
        self.permission = permission

    def __str__(self) -> str:
        return f"this needs the permission {self.permission}"


class NotAuthenticatedError(OpenCrateError):
    """Nobody has shown who they are, or what they showed is wrong, expired or revoked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class UnreachableError(OpenCrateError):
    """What the request needs can't be reached now; nothing is known to have changed."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what, self.reason = what, reason

    def __str__(self) -> str:
        return f"{self.what} can't be reached: {self.reason}"


class NotStandingInError(UnreachableError):
    """A stand-in was asked for an actor that it doesn't stand in for (any more); the call was not made."""


class WriteFailedError(OpenCrateError):
    """A device did not take a command.

    `reason` is the device's own: an error code, an exception, a time-out.
    """

    def __init__(self, point_id: str, reason: str) -> None:
        super().__init__(point_id, reason)
        self.point_id, self.reason = point_id, reason

    def __str__(self) -> str:
        return f"{self.point_id} was not written: {self.reason}"


class WriteUnsureError(WriteFailedError):
    """It isn't known what a device has after a command: no answer came, or it reads back something else."""

    def __str__(self) -> str:
        return f"it isn't known whether {self.point_id} was written: {self.reason}"


class BridgeError(OpenCrateError):
    """A device did not answer, or answered with an error. `device` says which, `reason` its own words."""

    def __init__(self, device: str, reason: str) -> None:
        super().__init__(device, reason)
        self.device, self.reason = device, reason

    def __str__(self) -> str:
        return f"{self.device}: {self.reason}"


class DeviceRefusedError(BridgeError):
    """A device answered, but not with what it was asked for: an error, a reject or an abort of its own."""


class StorageError(OpenCrateError):
    """A store's file can't be opened, read or written. `store` says whose."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(store, reason)
        self.store, self.reason = store, reason

    def __str__(self) -> str:
        return f"{self.store}: {self.reason}"


class AlreadyOwnedError(StorageError):
    """Another process has this file open for writing."""


class NewerFileError(StorageError):
    """The file was written by a newer version of this program."""
