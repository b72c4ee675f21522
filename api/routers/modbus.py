"""Modbus for engineers: networks, any registers of any unit as they are now, profiles of devices."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from actors.core.errors import BadInputError, BridgeError, NotFoundError, UnreachableError
from api.deps import (
    Actors,
    Campus,
    CurrentUser,
    Cursor,
    Discoverer,
    Limit,
    Page,
    Part,
    SiteActors,
    SiteId,
    Writer,
    over_sites,
    paged,
)
from bridges.config import Profile
from bridges.modbus.blocks import MAX_REGISTERS
from bridges.modbus.browse import Look
from bridges.modbus.registers import RegisterType
from bridges.modbus.tools import MOST_EXCHANGED
from bridges.profiles import shipped_profiles

router = APIRouter(prefix="/api/discovery/modbus", tags=["modbus"])

BRIDGE: Final = "modbus"
LOOK_TIMEOUT: Final = 60.0
"""Seconds for a look at many registers of a slow unit."""

Network = Annotated[str, Path(max_length=64)]
Unit = Annotated[int, Path(ge=0, le=255)]
Address = Annotated[int, Query(ge=0, le=65535, description="From 0, as it travels: 40001 is holding 0.")]


class FoundIdentity(BaseModel):
    """What a unit says of itself (function 43); empty where it says nothing."""

    vendor: str
    product_code: str
    revision: str
    url: str
    product: str
    model: str
    application: str


class Diagnostics(BaseModel):
    """A unit's counters (function 8); of one that it doesn't give, its reason."""

    counters: dict[str, int | str]


class Queue(BaseModel):
    """Registers from an address on: of a unit's queue (function 24), or of an exchange (23)."""

    address: int
    values: list[int]


class Exchange(BaseModel):
    """What an exchange writes and what it reads then (function 23)."""

    model_config = ConfigDict(extra="forbid")

    address: int = Field(ge=0, le=65535)
    values: list[Annotated[int, Field(ge=0, le=65535)]] = Field(min_length=1, max_length=MOST_EXCHANGED)
    read_address: int = Field(ge=0, le=65535)
    read_count: int = Field(ge=1, le=MAX_REGISTERS)


@router.get("/networks")
async def networks(
    user: CurrentUser, campus: Actors, site: SiteId = None, limit: Limit = 100, cursor: Cursor = None
) -> Page:
    """List Modbus networks with their address and their devices."""

    async def read(of: SiteActors, most: int, after: str | None) -> Part:
        found = await _networks(of)
        rest = [each for each in found if after is None or each["id"] > after]
        return rest[:most], rest[most - 1]["id"] if len(rest) > most else None

    return await over_sites(campus.chosen(site), limit, cursor, read)


@router.get("/networks/{network_id}/units/{unit}/registers")
async def registers(
    network_id: Network,
    unit: Unit,
    user: Discoverer,
    campus: Actors,
    address: Address,
    register_type: RegisterType = "holding",
    count: Annotated[int, Query(ge=1, le=2000)] = 20,
    site: SiteId = None,
) -> Look:
    """Read registers or bits of a unit now, raw and as every data type; the unit need not be configured."""
    of = await _site(campus, network_id, site)
    found: Look = await of.call(
        BRIDGE, "browse", network_id, unit, register_type, address, count, timeout=LOOK_TIMEOUT
    )
    return found


@router.get("/networks/{network_id}/units/{unit}/identification")
async def identification(
    network_id: Network, unit: Unit, user: Discoverer, campus: Actors, site: SiteId = None
) -> FoundIdentity:
    """Ask a unit who made it and what it is."""
    of = await _site(campus, network_id, site)
    found = await of.call(BRIDGE, "ask_identity", network_id, unit, timeout=LOOK_TIMEOUT)
    return FoundIdentity.model_validate(found, from_attributes=True)


@router.get("/networks/{network_id}/units/{unit}/diagnostics")
async def diagnostics(
    network_id: Network, unit: Unit, user: Discoverer, campus: Actors, site: SiteId = None
) -> Diagnostics:
    """Read a unit's counters of messages and errors."""
    of = await _site(campus, network_id, site)
    return Diagnostics(counters=await of.call(BRIDGE, "diagnose", network_id, unit, timeout=LOOK_TIMEOUT))


@router.get("/networks/{network_id}/units/{unit}/fifo")
async def fifo(
    network_id: Network,
    unit: Unit,
    address: Address,
    user: Discoverer,
    campus: Actors,
    site: SiteId = None,
) -> Queue:
    """Read a queue of a unit."""
    of = await _site(campus, network_id, site)
    found = await of.call(BRIDGE, "read_fifo", network_id, unit, address, timeout=LOOK_TIMEOUT)
    return Queue(address=address, values=found)


@router.post("/networks/{network_id}/units/{unit}/diagnostics/clear", status_code=204)
async def clear_diagnostics(
    network_id: Network, unit: Unit, user: Discoverer, campus: Actors, site: SiteId = None
) -> None:
    """Set a unit's counters to 0; they count anew from now on."""
    of = await _site(campus, network_id, site)
    await of.call(BRIDGE, "clear_counters", network_id, unit, timeout=LOOK_TIMEOUT)
    await campus.log(user.username, "clear_modbus_counters", f"{network_id}/{unit}", site=of.id)


@router.post("/networks/{network_id}/units/{unit}/exchange")
async def exchange(
    network_id: Network,
    unit: Unit,
    body: Exchange,
    user: Writer,
    discoverer: Discoverer,
    campus: Actors,
    site: SiteId = None,
) -> Queue:
    """Write registers and read others in one step, past all priorities: for registers that are no points.

    Needs write_points and manage_discovery. Logged whether or not the unit said that it took the values.
    """
    of = await _site(campus, network_id, site)
    detail: dict[str, Any] = {"site": of.id, "address": body.address, "values": body.values}
    arguments = (body.address, body.values, body.read_address, body.read_count)
    try:
        found = await of.call(BRIDGE, "exchange", network_id, unit, *arguments, timeout=LOOK_TIMEOUT)
    except (BridgeError, UnreachableError) as error:
        await campus.log(
            user.username, "exchange_modbus_registers", f"{network_id}/{unit}", **detail, error=str(error)
        )
        raise
    await campus.log(user.username, "exchange_modbus_registers", f"{network_id}/{unit}", **detail)
    return Queue(address=body.read_address, values=found)


@router.get("/profiles")
async def profiles(user: CurrentUser, limit: Limit = 100, cursor: Cursor = None) -> Page:
    """List the Modbus profiles that come with the program, with the source of each."""
    found = await asyncio.to_thread(shipped_profiles, BRIDGE)
    shown = [
        {
            "profile": each.profile,
            "dis": each.dis,
            "description": each.description,
            "vendor": each.vendor,
            "model": each.model,
            "source": each.source,
            "points": len(each.points),
        }
        for each in found
    ]
    return paged(shown, limit, cursor, lambda each: str(each["profile"]))


@router.get("/profiles/{name}")
async def profile(name: Annotated[str, Path(max_length=64)], user: CurrentUser) -> Profile:
    """Give one profile with its points."""
    found = await asyncio.to_thread(shipped_profiles, BRIDGE)
    for each in found:
        if each.profile == name:
            return each
    raise NotFoundError("profile", name)


async def _networks(of: SiteActors) -> list[dict[str, Any]]:
    if BRIDGE not in of.bridges:
        return []
    found = await of.call(BRIDGE, "networks")
    return [each.model_dump(mode="json") | {"site": of.id} for each in found]


async def _site(campus: Campus, network_id: str, site_id: str | None) -> SiteActors:
    """Find a network's site.

    Raises NotFoundError, BadInputError with the choices where several sites have a network of this id, and
    UnreachableError when it is found nowhere and a site can't be asked.
    """
    found: list[SiteActors] = []
    away: UnreachableError | None = None
    for of in campus.chosen(site_id):
        try:
            mine = await _networks(of)
        except UnreachableError as error:
            away = error
            continue
        if any(each["id"] == network_id for each in mine):
            found.append(of)
    if len(found) > 1:
        raise BadInputError("site", site_id, "one of " + ", ".join(of.id for of in found))
    if found:
        return found[0]
    raise away or NotFoundError("modbus network", network_id)
