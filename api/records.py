"""Records of a kind that a store of each site keeps: listed over sites, found by id, audited when changed."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from actors.user.models import User
from api.deps import Campus, Page, SiteActors, listed, site_with


@dataclass(frozen=True)
class Records:
    """What a store keeps as `rate`, `rates`, `create_rate`, `update_rate` and `delete_rate`.

    Every method raises what the store raises, NotFoundError for an id that no site has, BadInputError with
    the choices for one that several sites have, and UnreachableError for a site that is away. A change that
    fails leaves no entry in the audit log.
    """

    store: str
    """Name of the actor, such as `energy`."""
    kind: str
    """Name of the store's methods, such as `rate`."""
    audited: str = ""
    """Name in the audit log; left out: `kind`."""

    @property
    def _name(self) -> str:
        return self.audited or self.kind

    async def site(self, campus: Campus, key: int, site: str | None) -> SiteActors:
        """Find the site that has a record."""
        return await site_with(campus, self.store, self.kind, key, site)

    async def listed(
        self, campus: Campus, site: str | None, limit: int, cursor: str | None, *filters: object
    ) -> Page:
        """List the records of all sites, or of one."""
        return await listed(campus.chosen(site), limit, cursor, self.store, f"{self.kind}s", *filters)

    async def one(self, campus: Campus, key: int, site: str | None) -> Any:
        """Give a record."""
        of = await self.site(campus, key, site)
        return placed(await of.call(self.store, self.kind, key), of)

    async def create(self, campus: Campus, user: User, of: SiteActors, body: BaseModel) -> Any:
        """Add a record at a site."""
        made = await of.call(self.store, f"create_{self.kind}", body)
        await self._log(campus, user, "create", of, made.id, **{self.kind: _told(made)})
        return placed(made, of)

    async def update(self, campus: Campus, user: User, of: SiteActors, key: int, body: BaseModel) -> Any:
        """Replace a record of a site."""
        before = await of.call(self.store, self.kind, key)
        after = await of.call(self.store, f"update_{self.kind}", key, body)
        await self._log(campus, user, "update", of, key, before=_told(before), after=_told(after))
        return placed(after, of)

    async def delete(self, campus: Campus, user: User, of: SiteActors, key: int) -> None:
        """Delete a record of a site."""
        before = await of.call(self.store, self.kind, key)
        await of.call(self.store, f"delete_{self.kind}", key)
        await self._log(campus, user, "delete", of, key, **{self.kind: _told(before)})

    async def _log(
        self, campus: Campus, user: User, verb: str, of: SiteActors, key: int, **details: Any
    ) -> None:
        target = f"{self._name}:{key}"
        await campus.log(user.username, f"{verb}_{self._name}", target, site=of.id, **details)


def placed(record: BaseModel, of: SiteActors) -> BaseModel:
    """Give a record with the site that it is from, where its kind says that."""
    return record.model_copy(update={"site": of.id}) if "site" in type(record).model_fields else record


def _told(record: BaseModel) -> dict[str, Any]:
    return record.model_dump(mode="json")
