import pytest
from pydantic import TypeAdapter, ValidationError

from actors.core.fields import ZoneName

ZONE: TypeAdapter[str] = TypeAdapter(ZoneName)


@pytest.mark.parametrize("name", ["UTC", "Europe/Vienna", "America/Argentina/Buenos_Aires"])
def test_zones_of_places_are_taken(name: str) -> None:
    assert ZONE.validate_python(name) == name


@pytest.mark.parametrize(
    "name", ["localtime", "posixrules", "Factory", "Mars/Base", "../../etc/passwd", "/etc"]
)
def test_what_names_no_place_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="IANA"):
        ZONE.validate_python(name)
