"""Legacy entity records: what stood in the place of nodes before the node model."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from actors.core.clock import Timestamp

EntityId = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/ -]*$")
]
EntityType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]

TagValue = Annotated[str, Field(max_length=1000)] | Annotated[float, Field(allow_inf_nan=False)] | bool | None

DEEPEST = 32
"""Levels of lists and objects that a record's data may have."""


def _plain(value: Any, level: int = 0) -> Any:
    """Refuse what can't be given back as JSON in UTF-8. Raises ValueError."""
    if level > DEEPEST:
        raise ValueError(f"lists and objects at most {DEEPEST} levels deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("finite numbers only")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("text that is valid Unicode") from None
    if isinstance(value, dict):
        for key, each in value.items():
            _plain(key, level + 1)
            _plain(each, level + 1)
    elif isinstance(value, list):
        for each in value:
            _plain(each, level + 1)
    return value


PlainJson = Annotated[dict[str, Any], AfterValidator(_plain)]


class NewEntity(BaseModel):
    """A record to be made. `tags` are markers or values by name, as the older systems wrote them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "ahu-1",
                    "entity_type": "equip",
                    "dis": "AHU-1",
                    "tags": {"ahu": None, "area": 1200.0},
                    "data": {"binding": {"Bacnet": {"device_instance": 1001}}},
                }
            ]
        },
    )

    id: EntityId
    entity_type: EntityType
    dis: str = Field(min_length=1, max_length=200)
    parent_id: EntityId | None = None
    tags: dict[Tag, TagValue] = Field(default={}, max_length=200)
    data: PlainJson = {}


class EntityChange(BaseModel):
    """Fields of a record to change; those left out stay."""

    model_config = ConfigDict(extra="forbid")

    entity_type: EntityType | None = None
    dis: str | None = Field(default=None, min_length=1, max_length=200)
    parent_id: EntityId | None = None
    tags: dict[Tag, TagValue] | None = Field(default=None, max_length=200)
    data: PlainJson | None = None


class Entity(NewEntity):
    """A record."""

    created_at: Timestamp
    updated_at: Timestamp
