"""The store of legacy entity records."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import ray

from actors.bus.events import EntityCreated, EntityDeleted, EntityUpdated
from actors.core.errors import BadInputError, ConflictError, NotFoundError
from actors.core.sqlite import Durability, Row
from actors.core.store import MAX_PAGE, Store, conditions, unique
from actors.entity.models import Entity, EntityChange, NewEntity
from actors.entity.schema import MIGRATIONS

ABOVE = """
    WITH RECURSIVE above (id, parent_id) AS (
        SELECT id, parent_id FROM entity WHERE id = ?
        UNION
        SELECT entity.id, entity.parent_id FROM entity JOIN above ON entity.id = above.parent_id
    )
    SELECT id FROM above
"""


class EntityStore(Store):
    """Keep records of the older model, with their tags and data as they were."""

    name: ClassVar[str] = "entities"
    migrations: ClassVar[Sequence[str]] = MIGRATIONS
    durability: ClassVar[Durability] = Durability.FULL

    @ray.method
    def create(self, new: NewEntity) -> Entity:
        """Add a record. Raises ConflictError for an id that is taken, BadInputError for its parent."""
        with self.transaction(), unique("entity", new.id):
            self._check_parent(new.id, new.parent_id)
            row = self.one(
                "INSERT INTO entity (id, entity_type, dis, parent_id, tags, data, created_at, updated_at)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) RETURNING *",
                new.id,
                new.entity_type,
                new.dis,
                new.parent_id,
                json.dumps(new.tags),
                json.dumps(new.data),
                self.clock(),
            )
            self.publish(EntityCreated(entity_id=new.id, entity_type=new.entity_type))
        return _entity(row or {})

    @ray.method
    def update(self, entity_id: str, change: EntityChange) -> Entity:
        """Change what `change` names; nothing different is no event.

        Raises NotFoundError, and BadInputError for its parent.
        """
        with self.transaction():
            before = self._get(entity_id)
            wanted = {name: getattr(change, name) for name in change.model_fields_set}
            for name in ("entity_type", "dis", "tags", "data"):
                if name in wanted and wanted[name] is None:
                    raise BadInputError(name, None, "a value, or the field left out")
            changed = {name: value for name, value in wanted.items() if getattr(before, name) != value}
            if not changed:
                return before
            if "parent_id" in changed:
                self._check_parent(entity_id, changed["parent_id"])
            after = before.model_copy(update=changed | {"updated_at": self.clock()})
            self.run(
                "UPDATE entity SET entity_type = ?, dis = ?, parent_id = ?, tags = ?, data = ?,"
                " updated_at = ? WHERE id = ?",
                after.entity_type,
                after.dis,
                after.parent_id,
                json.dumps(after.tags),
                json.dumps(after.data),
                after.updated_at,
                entity_id,
            )
            self.publish(EntityUpdated(entity_id=entity_id, changed_fields=sorted(changed)))
        return after

    @ray.method
    def delete(self, entity_id: str) -> Entity:
        """Delete a record. Raises NotFoundError, and ConflictError while others stand below it."""
        with self.transaction():
            gone = self._get(entity_id)
            below = self.one("SELECT count(*) AS n FROM entity WHERE parent_id = ?", entity_id)
            if below and below["n"]:
                raise ConflictError("entity", entity_id, f"{below['n']} records stand below it")
            self.run("DELETE FROM entity WHERE id = ?", entity_id)
            self.publish(EntityDeleted(entity_id=entity_id))
        return gone

    @ray.method
    def get(self, entity_id: str) -> Entity:
        """Give one record. Raises NotFoundError."""
        return self._get(entity_id)

    @ray.method
    def find(
        self,
        entity_type: str | None = None,
        tag: str | None = None,
        parent_id: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Entity], str | None]:
        """Give records in order of id: of a type, with a tag, below a parent, with a text in id or name.

        Raises BadInputError.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise BadInputError("limit", limit, f"1 to {MAX_PAGE}")
        clause, values = conditions(
            {
                "entity_type = ?": entity_type,
                "EXISTS (SELECT 1 FROM json_each(tags) WHERE key = ?)": tag,
                "parent_id = ?": parent_id,
                "instr(lower(id || ' ' || dis), lower(?))": text,
            }
        )
        rows = self.all(
            f"SELECT * FROM entity WHERE id > ?{clause} ORDER BY id LIMIT ?",  # noqa: S608 - constants
            cursor or "",
            *values,
            limit + 1,
        )
        more = len(rows) > limit
        del rows[limit:]
        return [_entity(row) for row in rows], rows[-1]["id"] if more else None

    def _get(self, entity_id: str) -> Entity:
        row = self.one("SELECT * FROM entity WHERE id = ?", entity_id)
        if row is None:
            raise NotFoundError("entity", entity_id)
        return _entity(row)

    def _check_parent(self, entity_id: str, parent_id: str | None) -> None:
        if parent_id is None:
            return
        above: list[Any] = [row["id"] for row in self.all(ABOVE, parent_id)]
        if not above:
            raise BadInputError("parent_id", parent_id, "the id of a record that is there")
        if entity_id in above:
            raise BadInputError("parent_id", parent_id, "a record that doesn't stand below this one")


def _entity(row: Row) -> Entity:
    return Entity.model_validate(row | {"tags": json.loads(row["tags"]), "data": json.loads(row["data"])})
