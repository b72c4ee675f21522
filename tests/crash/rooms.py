"""Random operations on every kind of record through the API, and what must be there afterwards.

A room makes, changes and deletes records of one kind and remembers what was answered. What was answered with
2xx was done; with 4xx it was not; anything else, a lost connection too, leaves it in doubt: then the record
is looked at, and must be wholly there or not at all.
"""

import copy
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.api import bodies

Json = dict[str, Any]
Key = int | str


class InDoubt(Exception):  # noqa: N818 - not an error: nobody knows
    """No answer that says whether it was done."""


@dataclass
class Tally:
    """What was done, over all rooms of a thread."""

    acknowledged: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    in_doubt: Counter[str] = field(default_factory=Counter)
    found_done: Counter[str] = field(default_factory=Counter)
    audited: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many entries of (action, target) the audit log must have at least."""
    unsure: list[tuple[str, str, str]] = field(default_factory=list)
    """(action, target, request) of what was found done without an answer: one of the two must be logged."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many events of (type, subject) the journal must have at least."""


class Caller:
    """An HTTP client of one thread."""

    def __init__(self, http: httpx.Client, tally: Tally) -> None:
        self.http, self.tally = http, tally

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Give an answer that says something. Raises InDoubt."""
        while True:
            try:
                answer = self.http.request(method, path, json=body)
            except httpx.TransportError as error:
                raise InDoubt(type(error).__name__) from error
            if answer.status_code == 429:
                time.sleep(0.5)
                continue
            if answer.status_code >= 500:
                assert answer.status_code == 503, f"{method} {path}: {answer.status_code} {answer.text}"
                raise InDoubt(answer.text)
            return answer

    def sure(self, path: str, **params: Any) -> httpx.Response:
        """Read until there is an answer."""
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = self.http.get(path, params=params)
                if answer.status_code not in {429, 503} and not (
                    answer.status_code == 200
                    and answer.headers["content-type"] == "application/json"
                    and isinstance(answer.json(), dict)
                    and answer.json().get("unreachable_sites")
                ):
                    assert answer.status_code < 500, answer.text
                    return answer
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"{path} gives no answer"
            time.sleep(0.3)

    def everything(self, path: str, **params: Any) -> Iterator[Json]:
        """Read a list to its end."""
        cursor: str | None = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            page = self.sure(path, limit=500, **params, **more).json()
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


MOVING = frozenset(
    {"updated_at", "updated_by", "version", "last_login", "value", "status", "site", "next_run", "progress"}
)
"""Fields that change by themselves, or aren't there in every answer."""


def settled(record: Json) -> Json:
    return {name: value for name, value in record.items() if name not in MOVING}


class Room:
    """One kind of record that is made, changed and deleted by a person.

    `marker` is a field that every change gives a new value, `name` the one that finds a record whose number
    nobody has answered.
    """

    most = 12

    def __init__(
        self,
        kind: str,
        path: str,
        body: Json,
        marker: str,
        *,
        noun: str,
        target: str,
        name: str = "name",
        key: str = "id",
        update: str = "PUT",
        value: Callable[[int], Any] = "changed {}".format,
        named: str = "{}",
        inside: str | None = None,
        event: bool = False,
        plain: Callable[[int], Json] | None = None,
    ) -> None:
        self.kind, self.path, self.body, self.marker = kind, path, body, marker
        self.noun, self.target, self.name, self.key, self.method = noun, target, name, key, update
        self.value, self.named, self.inside, self.event, self.plain = value, named, inside, event, plain
        self.store = store_of(path)
        self.known: dict[Key, Json] = {}
        self.number = 0

    def one(self, key: Key) -> str:
        return f"{self.inside or self.path}/{key}"

    def step(self, call: Caller, chance: random.Random) -> None:
        roll = chance.random()
        if not self.known or (roll < 0.4 and len(self.known) < self.most):
            self.make(call)
        elif roll < 0.75 and self.method:
            self.change(call, chance.choice(list(self.known)))
        elif roll < 0.9 or len(self.known) >= self.most:
            self.drop(call, chance.choice(list(self.known)))
        else:
            self.look(call, chance.choice(list(self.known)))

    def done(self, call: Caller, verb: str, record: Json) -> None:
        tally = call.tally
        tally.acknowledged[f"{verb} {self.kind}"] += 1
        tally.audited[f"{verb}_{self.noun}", self.target.format(**record)] += 1
        self.told(call, verb, record)

    def found(self, call: Caller, verb: str, record: Json, request: str) -> None:
        """Note what was done without an answer."""
        call.tally.found_done[f"{verb} {self.kind}"] += 1
        call.tally.unsure.append((f"{verb}_{self.noun}", self.target.format(**record), request))
        self.told(call, verb, record)

    def told(self, call: Caller, verb: str, record: Json) -> None:
        if self.event:
            call.tally.events[f"entity_{verb}d", str(record[self.key])] += 1

    def refused(self, call: Caller, verb: str, answer: httpx.Response) -> None:
        call.tally.refused[f"{verb} {self.kind}"] += 1
        assert answer.status_code in {404, 409, 422}, answer.text

    def new(self) -> Json:
        self.number += 1
        body = copy.deepcopy(self.body) | {self.name: self.named.format(self.number)}
        return body | (self.plain(self.number) if self.plain else {})

    def make(self, call: Caller) -> None:
        body = self.new()
        try:
            answer = call.ask("POST", self.path, body)
        except InDoubt:
            call.tally.in_doubt[f"create {self.kind}"] += 1
            for record in list(call.everything(self.path)):
                if record[self.name] == body[self.name] and record[self.key] not in self.known:
                    whole = call.sure(self.one(record[self.key])).json()
                    for field_ in (self.name, self.marker):
                        assert whole[field_] == body[field_], f"{self.kind} is there in part: {whole}"
                    self.known[record[self.key]] = whole
                    self.found(call, "create", whole, f"POST {self.path}")
            return
        if answer.status_code != 201:
            self.refused(call, "create", answer)
            return
        record = answer.json()
        self.known[record[self.key]] = record
        self.done(call, "create", record)

    def changed(self, record: Json) -> Json:
        self.number += 1
        fields = {self.marker: self.value(self.number)}
        if self.method == "PATCH":
            return fields
        return {name: record.get(name, value) for name, value in self.body.items()} | fields

    def change(self, call: Caller, key: Key) -> None:
        before = self.known[key]
        body = self.changed(before)
        after = before | {self.marker: body[self.marker]}
        try:
            answer = call.ask(self.method, self.one(key), body)
        except InDoubt:
            call.tally.in_doubt[f"update {self.kind}"] += 1
            there = call.sure(self.one(key)).json()
            either = (settled(before), settled(after))
            assert settled(there) in either, f"{self.kind} is there in part: {there}"
            if settled(there) == settled(after):
                self.found(call, "update", there, f"{self.method} {self.one(key)}")
            self.known[key] = there
            return
        if answer.status_code != 200:
            self.refused(call, "update", answer)
            return
        assert settled(answer.json()) == settled(after)
        self.known[key] = after
        self.done(call, "update", after)

    def drop(self, call: Caller, key: Key) -> None:
        record = self.known[key]
        try:
            answer = call.ask("DELETE", self.one(key))
        except InDoubt:
            call.tally.in_doubt[f"delete {self.kind}"] += 1
            if call.sure(self.one(key)).status_code == 404:
                del self.known[key]
                self.found(call, "delete", record, f"DELETE {self.one(key)}")
            return
        if answer.status_code not in {200, 204}:
            self.refused(call, "delete", answer)
            return
        del self.known[key]
        self.done(call, "delete", record)

    def look(self, call: Caller, key: Key) -> None:
        answer = call.sure(self.one(key))
        assert answer.status_code == 200, f"{self.kind} {key} is gone: {answer.text}"
        assert settled(answer.json()) == settled(self.known[key])

    def check(self, call: Caller) -> int:
        """Compare all with what is there; give how many there are."""
        for key in self.known:
            self.look(call, key)
        listed = {each[self.key] for each in call.everything(self.path)}
        missing = set(self.known) - listed
        assert not missing, f"{self.kind}: acknowledged, but not in the list: {missing}"
        mine = {key for key in listed - set(self.known) if self.is_mine(call, key)}
        assert not mine, f"{self.kind}: deleted, or never acknowledged, and there: {mine}"
        return len(self.known)

    def is_mine(self, call: Caller, key: Key) -> bool:
        """Tell whether a record that isn't known was made here."""
        record = call.sure(self.one(key)).json()
        prefix = self.named.format("")
        return bool(prefix) and str(record.get(self.name)).startswith(prefix)


class Actions:
    """What may be done with records that are there already, such as acknowledging."""

    def __init__(
        self,
        kind: str,
        one: str,
        keys: list[Key],
        moves: dict[str, tuple[str, str, Any, dict[str, Any]]],
        *,
        target: str,
        event: tuple[str, str] | None = None,
    ) -> None:
        """Take moves by name: the method, the rest of the path, the body and the fields that it sets."""
        self.kind, self.one, self.keys, self.moves, self.target, self.event = (
            kind,
            one,
            keys,
            moves,
            target,
            event,
        )
        self.store = store_of(one)
        self.expected: dict[Key, Json] = {}

    def step(self, call: Caller, chance: random.Random) -> None:
        if not self.keys:
            return
        key = chance.choice(self.keys)
        action = chance.choice(list(self.moves))
        method, rest, body, effect = self.moves[action]
        path = f"{self.one}/{key}{rest}"
        before = call.sure(f"{self.one}/{key}").json()
        self.compare(key, before)
        try:
            answer = call.ask(method, path, body)
        except InDoubt:
            call.tally.in_doubt[action] += 1
            there = call.sure(f"{self.one}/{key}")
            if method == "DELETE":
                if there.status_code == 404:
                    self.keys.remove(key)
                    self.noted(call, action, before, f"{method} {path}", found=True)
                return
            if self.fits(there.json(), effect) and not self.fits(before, effect):
                self.expected[key] = effect
                self.noted(call, action, before, f"{method} {path}", found=True)
            return
        if answer.status_code >= 400:
            assert answer.status_code in {404, 409}, answer.text
            call.tally.refused[action] += 1
            return
        if method == "DELETE":
            self.keys.remove(key)
        else:
            self.expected[key] = effect
            self.compare(key, answer.json())
        self.noted(call, action, before, f"{method} {path}", found=False, fresh=not self.fits(before, effect))

    def noted(
        self, call: Caller, action: str, record: Json, request: str, *, found: bool, fresh: bool = True
    ) -> None:
        target = self.target.format(**record)
        if found:
            call.tally.found_done[action] += 1
            call.tally.unsure.append((action, target, request))
        else:
            call.tally.acknowledged[action] += 1
            call.tally.audited[action, target] += 1
        if self.event and self.event[0] == action and fresh:
            call.tally.events[self.event[1], str(record["id"])] += 1

    @staticmethod
    def fits(record: Json, effect: Json) -> bool:
        return all(record[name] in value if isinstance(value, set) else record[name] == value
                   for name, value in effect.items())  # fmt: skip

    def compare(self, key: Key, record: Json) -> None:
        effect = self.expected.get(key, {})
        assert self.fits(record, effect), f"{self.kind} {key}: {record}, not {effect}"

    def check(self, call: Caller) -> int:
        for key in self.keys:
            self.compare(key, call.sure(f"{self.one}/{key}").json())
        return len(self.keys)


class Sessions(Room):
    """Commissioning sessions with their life cycle."""

    def __init__(self, devices: list[str]) -> None:
        super().__init__(
            "session",
            "/api/commissioning/sessions",
            {"name": "", "node_id": "", "note": None},
            "note",
            noun="commission_session",
            target="commission_session:{id}",
            named="crash {}",
            plain=lambda number: {"node_id": devices[number % len(devices)]},
        )

    def changed(self, record: Json) -> Json:
        self.number += 1
        return {"name": record["name"], "note": f"changed {self.number}"}

    def step(self, call: Caller, chance: random.Random) -> None:
        if self.known and chance.random() < 0.5:
            self.move(call, chance, chance.choice(list(self.known)))
        else:
            super().step(call, chance)

    def move(self, call: Caller, chance: random.Random, key: Key) -> None:
        before = self.known[key]
        order = {"not_started": "start", "in_progress": "complete", "completed": "sign-off"}
        verb = order.get(before["state"])
        if verb is None:
            return
        if verb == "complete" and not self.results(call, chance, key):
            return
        if verb == "sign-off" and chance.random() < 0.5:
            return
        body = {"note": "as is", "accept_failures": True} if verb == "sign-off" else None
        request = f"POST {self.one(key)}/{verb}"
        action = f"{verb.replace('-', '_')}_commission_session"
        try:
            answer = call.ask("POST", f"{self.one(key)}/{verb}", body)
        except InDoubt:
            call.tally.in_doubt[f"{verb} session"] += 1
            self.known[key] = call.sure(self.one(key)).json()
            if self.known[key]["state"] != before["state"]:
                call.tally.found_done[f"{verb} session"] += 1
                call.tally.unsure.append((action, f"commission_session:{key}", request))
            return
        if answer.status_code != 200:
            self.refused(call, verb, answer)
            return
        self.known[key] = answer.json()
        call.tally.acknowledged[f"{verb} session"] += 1
        call.tally.audited[action, f"commission_session:{key}"] += 1

    def results(self, call: Caller, chance: random.Random, key: Key) -> bool:
        """Give results to some items; tell whether all have one."""
        items = [each for each in call.everything(f"{self.one(key)}/items") if each["state"] == "not_started"]
        for item in items[:6]:
            path, state = f"/api/commissioning/items/{item['id']}", chance.choice(("verified", "failed"))
            try:
                answer = call.ask("PUT", path, {"state": state, "note": "by chance"})
            except InDoubt:
                call.tally.in_doubt["result of item"] += 1
                there = call.sure(path).json()
                assert there["state"] in {"not_started", state}
                assert (there["state"] == state) == (there["result_by"] is not None)
                continue
            assert answer.status_code == 200, answer.text
            call.tally.acknowledged["result of item"] += 1
            call.tally.audited["set_commission_result", f"commission_item:{item['id']}"] += 1
        return len(items) <= 6


class Config:
    """Settings of which there is one, such as what holds for all webhooks."""

    def __init__(self, kind: str, path: str, body: Json, marker: str, action: str, target: str) -> None:
        self.kind, self.path, self.body, self.marker = kind, path, body, marker
        self.action, self.target = action, target
        self.store = store_of(path)
        self.expected: Any = None
        self.number = 0

    def step(self, call: Caller, chance: random.Random) -> None:
        self.number = self.number % 300 + 1
        body = self.body | {self.marker: self.number}
        try:
            answer = call.ask("PUT", self.path, body)
        except InDoubt:
            call.tally.in_doubt[self.action] += 1
            there = call.sure(self.path).json()[self.marker]
            assert there in {self.expected, self.number} or self.expected is None
            if there == self.number:
                call.tally.found_done[self.action] += 1
                call.tally.unsure.append((self.action, self.target, f"PUT {self.path}"))
            self.expected = there
            return
        assert answer.status_code == 200, answer.text
        self.expected = self.number
        call.tally.acknowledged[self.action] += 1
        call.tally.audited[self.action, self.target] += 1

    def check(self, call: Caller) -> int:
        if self.expected is not None:
            assert call.sure(self.path).json()[self.marker] == self.expected
        return 1


class Commands:
    """Points that are commanded and given back: the override store, and the device behind it."""

    def __init__(self, points: list[str]) -> None:
        self.store = store_of("/api/points")
        self.held: dict[str, float | None] = dict.fromkeys(points)
        """What slot 9 was set to; a point in doubt is left out."""

    def step(self, call: Caller, chance: random.Random) -> None:
        if not self.held:
            return
        point = chance.choice(list(self.held))
        value = round(chance.uniform(18, 24) * 2) / 2
        give_back = self.held[point] is not None and chance.random() < 0.5
        verb = "relinquish" if give_back else "write"
        body = {"priority": 9} if give_back else {"priority": 9, "value": value}
        try:
            answer = call.ask("POST", f"/api/points/{point}/{verb}", body)
        except InDoubt:
            call.tally.in_doubt[f"{verb} point"] += 1
            del self.held[point]
            return
        if answer.status_code != 200:
            # The device's own refusal: what was noted for the slot stands.
            assert answer.status_code == 409, answer.text
            call.tally.refused[f"{verb} point"] += 1
            return
        self.held[point] = None if give_back else value
        call.tally.acknowledged[f"{verb} point"] += 1
        call.tally.audited[verb, point] += 1

    def check(self, call: Caller) -> int:
        there = {
            each["node_id"]: each["value"]
            for each in call.everything("/api/overrides")
            if each["priority"] == 9
        }
        for point, value in self.held.items():
            assert there.get(point) == value, f"override of {point}: {there.get(point)}, not {value}"
        return len(self.held)


USER = {"username": "", "password": bodies.PASSWORD, "role": "viewer", "full_name": ""}
STORES = {
    "/api/nodes": "nodes@north",
    "/api/entities": "entities@north",
    "/api/alarms": "alarms@north",
    "/api/schedules": "schedules@north",
    "/api/programs": "programs@north",
    "/api/commissioning": "commissioning@north",
    "/api/fdd": "fdd@north",
    "/api/discovery": "discovery@north",
    "/api/energy": "energy@north",
    "/api/history": "history@north",
    "/api/points": "overrides@north",
    "/api/reports": "reports@campus",
    "/api/notifications": "notifications@campus",
    "/api/mqtt": "mqtt@campus",
    "/api/webhooks": "webhooks@campus",
    "/api/export": "export@campus",
    "/api/users": "users@campus",
}


def store_of(path: str) -> str:
    """Give the store behind a route."""
    return next(name for prefix, name in STORES.items() if path.startswith(prefix))


def rooms(points: list[str], writable: list[str], devices: list[str], alarms: list[Key]) -> list[Any]:
    """Make a room for every kind of record. `alarms` are raised ones, `writable` points take numbers."""
    b = bodies
    program = b.PROGRAM | {"blocks": [{"kind": "constant", "id": "c", "value": 1.0}], "enabled": False}
    meter = b.METER | {"node_id": points[0]}
    quiet = {"enabled": False}
    rule = b.ROUTING_RULE | {"tiers": [{"after_seconds": 0, "recipients": [1]}]}
    note = {"note": "seen"}
    named = "crash {}"

    def room(kind: str, path: str, body: Json, marker: str, noun: str, target: str, **more: Any) -> Room:
        return Room(kind, path, body, marker, noun=noun, target=target, **({"named": named} | more))

    return [
        room("node", "/api/nodes", {"id": "", "node_type": "Space", "dis": "Room", "parent_id": "north"},
             "dis", "node", "{id}", name="id", named="crash-{}", update="PATCH", event=True),
        room("entity", "/api/entities", b.ENTITY, "dis", "entity", "entity:{id}", name="id", named="crash-{}",
             update="PATCH", event=True),
        room("alarm config", "/api/alarms/configs",
             b.ALARM_CONFIG | {"node_id": points[1], "condition": {"kind": "stale"}, "enabled": False},
             "severity", "alarm_config", "{node_id}", name="message",
             value=lambda number: ("low", "medium", "high", "critical")[number % 4]),
        room("schedule", "/api/schedules", b.SCHEDULE | quiet, "description", "schedule", "schedule:{id}"),
        room("calendar", "/api/schedules/calendars", b.CALENDAR, "description", "calendar", "calendar:{id}"),
        room("program", "/api/programs", program, "description", "program", "program:{id}"),
        Sessions(devices),
        room("fdd rule", "/api/fdd/rules", b.FDD_RULE | quiet, "description", "fdd_rule", "fdd_rule:{id}"),
        room("meter", "/api/energy/meters", meter, "multiplier", "meter", "meter:{id}", value=float),
        room("rate", "/api/energy/rates", b.RATE, "currency", "rate", "rate:{id}",
             value=lambda number: "".join(chr(65 + number // 26**place % 26) for place in (2, 1, 0))),
        room("report", "/api/reports", b.REPORT, "description", "report", "report:{id}"),
        room("recipient", "/api/notifications/recipients", b.RECIPIENT | quiet, "address",
             "recipient", "recipient:{id}", value="r{}@example.org".format),
        room("routing rule", "/api/notifications/rules", rule | quiet, "position", "routing_rule",
             "rule:{id}", value=int),
        room("broker", "/api/mqtt/brokers", b.BROKER | quiet | {"client_id": None}, "username", "mqtt_broker",
             "mqtt:{id}"),
        room("webhook", "/api/webhooks", b.ENDPOINT | quiet, "url", "webhook", "webhook:{id}",
             value="https://w{}.example.org/".format),
        room("export target", "/api/export/targets", b.TARGET | quiet, "batch_size",
             "export_target", "export:{id}", value=lambda number: number % 50_000 + 1),
        room("user", "/api/users", USER, "full_name", "user", "user:{username}", name="username",
             named="crash{}", update="PATCH"),
        Config("webhook settings", "/api/webhooks/config", {"paused": True}, "keep_days",
               "configure_webhooks", "webhooks"),
        Config("recording", f"/api/history/{points[2]}/config", {"mode": "cov"}, "increment",
               "configure_history", f"point:{points[2]}"),
        Commands(writable),
        Actions("alarm", "/api/alarms", alarms, {
            "acknowledge_alarm": ("POST", "/acknowledge", note, {"acknowledged_by": "ana"}),
            "shelve_alarm": ("POST", "/shelve", {"duration": 86_400}, {}),
            "unshelve_alarm": ("POST", "/unshelve", None, {}),
        }, target="{node_id}", event=("acknowledge_alarm", "alarm_acknowledged")),
        Actions("fault", "/api/fdd/faults", list(range(1, 41)), {
            "acknowledge_fault": ("POST", "/acknowledge", note, {"acknowledged_by": "ana"}),
        }, target="fdd_fault:{id}"),
        Actions("device", "/api/discovery", list(range(1, 61)), {
            "ignore_device": ("POST", "/ignore", None, {"state": "ignored"}),
            "restore_device": ("POST", "/restore", None, {"state": "discovered"}),
            "forget_device": ("DELETE", "", None, {}),
        }, target="device:{device_key}"),
    ]  # fmt: skip
