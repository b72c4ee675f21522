"""Legacy entity records: what stood in the place of nodes before the node model."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from actors.core.clock import Timestamp
from actors.core.values import PlainJson
from actors.node.models import Tag

EntityId = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/ -]*$")
]
EntityType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]

TagValue = Annotated[str, Field(max_length=1000)] | Annotated[float, Field(allow_inf_nan=False)] | bool | None


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
