"""What engines do to the stores of a running campus, over Ray, while its processes are killed.

Run as `python -m tests.crash.inside ADDRESS`. It says `ready`, works until it is told `stop`, and compares
when it is told `check`; then it prints what it did as JSON. Like an engine it does again what was not
answered, under the same key, so that everything must be there once; and it follows the journal and every
watch cell meanwhile.
"""

import asyncio
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import ray

from actors.alarm.models import Severity
from actors.bus.client import follow_config, follow_durably
from actors.core.errors import UnreachableError
from actors.core.names import NAMESPACE, actor_name
from actors.core.remote import answered
from actors.discovery.models import FoundDevice, FoundPoint
from actors.energy.models import NewMeter, NewRollup, Period
from actors.export.models import NewTarget
from actors.notification.models import NewNotice, NewRecipient
from actors.point.models import empty_frame
from actors.program.models import Cause, NewExecution, NewProgram, RunState
from actors.report.models import NewReport, TemplateName
from actors.schedule.models import NewSchedule
from actors.webhook.models import NewEndpoint
from api.stores import CAMPUS_STORES, SITE_STORES

SITE = "north"
START = 1_700_000_000_000
DAY = 86_400_000


class Engines:
    """Random work of engines on every store, and what must have come of it."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.again: Counter[str] = Counter()
        self.stop = asyncio.Event()
        self.begun = asyncio.Semaphore(0)
        """Released by each that has made what it works on."""
        self.chance = random.Random(5)
        self.seqs: list[int] = []
        self.versions: dict[tuple[str, str], int] = {}

    def handle(self, name: str, scope: str) -> Any:
        return ray.get_actor(actor_name(name, scope), namespace=NAMESPACE)

    async def sure(self, name: str, scope: str, method: str, *args: Any) -> Any:
        """Call until there is an answer."""
        handle = self.handle(name, scope)
        while True:
            try:
                found = await answered(name, getattr(handle, method).remote(*args), 15)
            except UnreachableError:
                self.again[f"{name}.{method}"] += 1
                await asyncio.sleep(0.2)
            else:
                self.calls[f"{name}.{method}"] += 1
                return found

    async def rounds(self) -> AsyncIterator[int]:
        """Give 1, 2, 3 ... until it is time to stop."""
        self.begun.release()
        for number in itertools.count(1):
            if self.stop.is_set():
                return
            yield number
            await asyncio.sleep(self.chance.uniform(0, 0.3))

    async def everything(self, name: str, scope: str, method: str, *filters: Any) -> list[Any]:
        found: list[Any] = []
        cursor = None
        while True:
            part, cursor = await self.sure(name, scope, method, *filters, 1000, cursor)
            found += part
            if cursor is None:
                return found

    # What engines do

    async def energy(self) -> None:
        meter = await self.sure("energy", SITE, "create_meter", NewMeter(name="inside", node_id="x"))
        expected: dict[int, tuple[float, bool]] = {}
        async for number in self.rounds():
            start = START // DAY * DAY + self.chance.randrange(30) * DAY
            final = self.chance.random() < 0.3
            rollup = NewRollup(meter_id=meter.id, period=Period.DAY, start=start, end=start + DAY,
                               consumption=float(number), final=final)  # fmt: skip
            await self.sure("energy", SITE, "put_rollups", [rollup])
            if final or not expected.get(start, (0, False))[1]:
                expected[start] = (float(number), final)
        found = await self.everything("energy", SITE, "rollups", meter.id, None, None, None, None)
        assert {each.start: (each.consumption, each.final) for each in found} == expected

    async def programs(self) -> None:
        block = {"kind": "constant", "id": "c", "value": 1.0}
        new = NewProgram.model_validate({"name": "inside", "blocks": [block], "enabled": False})
        program = await self.sure("programs", SITE, "create", new, "inside")
        last = 0
        async for number in self.rounds():
            run = NewExecution(
                version=1, cause=Cause.PERIOD, started_at=number, duration_us=1, state=RunState.DONE
            )
            await self.sure("programs", SITE, "log", program.id, [run] * 5)
            await self.sure("programs", SITE, "save_state", program.id, 1, {"c": number})
            last = number
        state = await self.sure("programs", SITE, "state", program.id)
        assert state.state == {"c": last}
        runs = await self.everything("programs", SITE, "executions", program.id, None)
        assert len(runs) <= 100
        assert runs[0].started_at == last

    async def faults(self) -> None:
        """Faults of the rule that the file came with: at most one is open per node."""
        open_: set[str] = set()
        async for _ in self.rounds():
            node = f"crash-{self.chance.randrange(10)}/p"
            fault = await self.sure("fdd", SITE, "raise_fault", 1, node, {"value": 1.0})
            open_.add(node)
            if self.chance.random() < 0.5:
                await self.sure("fdd", SITE, "clear_fault", fault.id)
                open_.discard(node)
        found = await self.everything("fdd", SITE, "faults", None, None, None, 1, None, None)
        there = Counter(each.node_id for each in found)
        assert max(there.values()) == 1
        assert open_ <= set(there)

    async def alarms(self) -> None:
        open_: dict[str, int] = {}
        async for number in self.rounds():
            node = f"inside-{number % 7}"
            alarm = await self.sure("alarms", SITE, "raise_alarm", node, Severity.LOW, "inside", 1.0)
            open_[node] = alarm.id
            if self.chance.random() < 0.4:
                await self.sure("alarms", SITE, "acknowledge", alarm.id, "inside")
                await self.sure("alarms", SITE, "clear", alarm.id)
                del open_[node]
        for node in (f"inside-{number}" for number in range(7)):
            found = await self.everything("alarms", SITE, "find", None, None, node, None)
            assert [each.id for each in found] == ([open_[node]] if node in open_ else [])

    async def discovery(self) -> None:
        keys: set[str] = set()
        async for number in self.rounds():
            key = f"inside-{number}"
            points = [FoundPoint(point_key=f"p{each}", kind="analog-input") for each in range(number % 4)]
            device = FoundDevice(
                network_id="ip", protocol="bacnet", device_key=key, address="a", points=points
            )
            await self.sure("discovery", SITE, "found", device)
            keys.add(key)
        found = await self.everything("discovery", SITE, "find", None, None, None, "inside-", None)
        assert {each.device_key for each in found} == keys
        assert len(found) == len(keys)
        for each in found:
            assert each.point_count == int(each.device_key.removeprefix("inside-")) % 4, (
                "a device is there in part"
            )

    async def schedules(self) -> None:
        new = NewSchedule.model_validate({"name": "inside", "kind": "analog", "enabled": False})
        schedule = await self.sure("schedules", SITE, "create", new)
        await self.sure("schedules", SITE, "assign", schedule.id, "x")
        last = 0.0
        async for number in self.rounds():
            await self.sure("schedules", SITE, "record_written", schedule.id, "x", float(number))
            last = float(number)
        [found] = await self.sure("schedules", SITE, "assignments", schedule.id)
        assert found.written_value == last

    async def history(self) -> None:
        count = 0
        async for number in self.rounds():
            frame = empty_frame()
            for point in range(20):
                frame.add(f"inside/{point}", float(number), START + number * 1000)
            await self.sure("history", SITE, "append", frame.encode())
            count = number
        for point in range(20):
            series = await self.sure("history", SITE, "read", f"inside/{point}", START, None, 100_000)
            assert [each.value for each in series.samples] == [float(each) for each in range(1, count + 1)]

    async def overrides(self) -> None:
        expected: dict[int, int] = {}
        async for number in self.rounds():
            slot = self.chance.randint(1, 16)
            if self.chance.random() < 0.3:
                await self.sure("overrides", SITE, "remove", "inside", slot)
                expected.pop(slot, None)
            else:
                await self.sure("overrides", SITE, "put", "inside", slot, number, "inside")
                expected[slot] = number
        found = await self.sure("overrides", SITE, "of", "inside")
        assert {each.priority: each.value for each in found} == expected

    async def notifications(self) -> None:
        new = NewRecipient.model_validate({"name": "inside", "kind": "email", "address": "i@example.org"})
        recipient = await self.sure("notifications", "campus", "create_recipient", new)
        count = 0
        async for number in self.rounds():
            notice = NewNotice(key=f"inside-{number}", site=SITE, alarm_id=number, rule_id=1, tier=1,
                               recipient_id=recipient.id, subject="s", due_at=START)  # fmt: skip
            await self.sure("notifications", "campus", "queue", [notice])
            count = number
        found = await self.everything("notifications", "campus", "log", None, None, recipient.id, None)
        assert sorted(each.alarm_id for each in found) == list(range(1, count + 1)), "each once"

    async def webhooks(self) -> None:
        new = NewEndpoint.model_validate({"name": "inside", "url": "https://w.example.org", "enabled": False})
        endpoint = await self.sure("webhooks", "campus", "create", new)
        count = 0
        async for number in self.rounds():
            await self.sure(
                "webhooks", "campus", "queue", endpoint.id, f"{SITE}/{number}", "alarm_raised", "{}"
            )
            count = number
        found = await self.everything("webhooks", "campus", "deliveries", endpoint.id, None, None)
        assert len(found) == count, "each once"

    async def export(self) -> None:
        connection = {"kind": "influxdb", "url": "https://i.example.org", "database": "d"}
        new = NewTarget.model_validate({"name": "inside", "connection": connection, "enabled": False})
        target = await self.sure("export", "campus", "create", new)
        expected: dict[tuple[str, str], int] = {}
        async for number in self.rounds():
            point = f"p{self.chance.randrange(5)}"
            await self.sure("export", "campus", "sent", target.id, [(SITE, point, START + number, 10)])
            expected[SITE, point] = START + number
        assert await self.sure("export", "campus", "cursors", target.id, None) == expected

    async def reports(self) -> None:
        new = NewReport(name="inside", template=TemplateName.COMFORT)
        report = await self.sure("reports", "campus", "create", new, "inside")
        done: list[int] = []
        async for number in self.rounds():
            run = await self.sure("reports", "campus", "queue", report.id, "inside", number, number + 1)
            await self._until(run.id, "running", "start_execution", run.id)
            await self._until(run.id, "done", "finish", run.id, f"<p>{run.id}</p>")
            done.append(run.id)
        for each in done[-20:]:
            assert await self.sure("reports", "campus", "document", each) == f"<p>{each}</p>"

    async def _until(self, run: int, state: str, method: str, *args: Any) -> None:
        """Move an execution on; one that was moved without an answer is not moved again."""
        handle = self.handle("reports", "campus")
        while (await self.sure("reports", "campus", "execution", run)).state.value != state:
            try:
                await answered("reports", getattr(handle, method).remote(*args), 15)
            except UnreachableError:
                self.again[f"reports.{method}"] += 1
            else:
                self.calls[f"reports.{method}"] += 1

    # What engines follow

    async def journal(self) -> None:
        async for delivery in follow_durably(self.handle("bus", SITE), "inside", site=SITE, wait=2.0):
            assert not delivery.lost
            self.seqs += [event.seq for event in delivery.events]

    async def follow(self, scope: str, cell: str) -> None:
        async def version() -> int:
            found: int = await answered(cell, self.handle(cell, scope).config_version.remote(), 10)
            return found

        async for moved in follow_config(self.handle("bus", scope), cell, version):
            assert moved > self.versions.get((scope, cell), -1)
            self.versions[scope, cell] = moved

    async def caught_up(self) -> None:
        """Every event has come at least once, and every follower knows the newest version."""
        for _ in range(150):
            first_and_last = await self.sure("journal", SITE, "bounds")
            behind = [
                key
                for key, version in self.versions.items()
                if version != await self.sure(key[1], key[0], "config_version")
            ]
            if not behind and self.seqs and max(self.seqs) >= first_and_last[1]:
                break
            await asyncio.sleep(0.1)
        assert not behind, f"followers that don't know the newest version: {behind}"
        every = set(range(min(self.seqs), first_and_last[1] + 1))
        assert every <= set(self.seqs), "an event never came"

    def result(self) -> dict[str, Any]:
        return {
            "calls": sum(self.calls.values()),
            "again": sum(self.again.values()),
            "kinds": len(self.calls),
            "followed": len(self.seqs),
            "twice": len(self.seqs) - len(set(self.seqs)),
            "cells": len(self.versions),
        }


async def told(word: str) -> None:
    line = await asyncio.to_thread(sys.stdin.readline)
    assert line.strip() == word, line


async def main() -> None:
    engines = Engines()
    cells = [(SITE, name) for name, plain in SITE_STORES.items() if plain.watched]
    cells += [("campus", name) for name, plain in CAMPUS_STORES.items() if plain.watched] + [(SITE, "alarms")]
    async with asyncio.TaskGroup() as group:
        following = [group.create_task(engines.journal())]
        following += [group.create_task(engines.follow(*cell)) for cell in cells]
        work = [
            engines.energy, engines.programs, engines.faults, engines.alarms, engines.discovery,
            engines.schedules, engines.history, engines.overrides, engines.notifications, engines.webhooks,
            engines.export, engines.reports,
        ]  # fmt: skip
        working = [group.create_task(each()) for each in work]
        for _ in work:
            await engines.begun.acquire()
        print("ready", flush=True)
        await told("stop")
        engines.stop.set()
        await told("check")
        await asyncio.gather(*working)
        await engines.caught_up()
        assert len(engines.versions) == len(cells)
        print(json.dumps(engines.result()), flush=True)
        for task in following:
            task.cancel()


if __name__ == "__main__":
    ray.init(address=sys.argv[1], namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")
    asyncio.run(main())
