import pickle

import pytest

from actors.core import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.BadInputError("limit", -1, "1 to 1000"),
        errors.NotFoundError("alarm", 7),
        errors.ConflictError("user", "ana", "is there already"),
        errors.NotAllowedError("write_points"),
        errors.NotAuthenticatedError("the token has expired"),
        errors.UnreachableError("bacnet@north", "it is not running"),
        errors.WriteFailedError("1001/analog-output-1", "write-access-denied"),
        errors.BridgeError("1001", "no answer"),
        errors.AlreadyOwnedError("alarms", "in process 5"),
        errors.NewerFileError("alarms", "version 9"),
    ],
)
def test_errors_survive_the_trip_between_processes(error: errors.OpenCrateError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.args == error.args
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
