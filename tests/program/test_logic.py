from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from actors.core.errors import BadInputError
from actors.program.logic import check, inputs_of, order, output_of, reads, refuse
from actors.program.models import Block, NewProgram

BLOCK: TypeAdapter[Block] = TypeAdapter(Block)


def program(*blocks: dict[str, Any], **fields: Any) -> NewProgram:
    return NewProgram.model_validate({"name": "p", "blocks": list(blocks)} | fields)


def read(name: str = "zone", point: str = "1101/ai-1") -> dict[str, Any]:
    return {"kind": "point_read", "id": name, "point": point}


def constant(name: str, value: Any) -> dict[str, Any]:
    return {"kind": "constant", "id": name, "value": value}


def write(name: str = "out", value: str = "zone", point: str = "1101/ao-1", **fields: Any) -> dict[str, Any]:
    return {"kind": "point_write", "id": name, "value": value, "point": point} | fields


def said(found: NewProgram, points: dict[str, bool] | None = None) -> list[tuple[str | None, str]]:
    return [(each.block, each.message) for each in check(found, points)]


ALL_KINDS: list[dict[str, Any]] = [
    read("zone"),
    constant("limit", 18.0),
    constant("yes", True),
    constant("word", "on"),
    {"kind": "math", "id": "sum", "op": "add", "inputs": ["zone", "limit"]},
    {
        "kind": "scale",
        "id": "scaled",
        "input": "sum",
        "in_low": 0,
        "in_high": 10,
        "out_low": 0,
        "out_high": 1,
    },
    {"kind": "ramp_limit", "id": "ramp", "input": "scaled", "up": 1, "down": 2},
    {"kind": "compare", "id": "cold", "op": "lt", "left": "zone", "right": "limit"},
    {"kind": "logic", "id": "both", "op": "and", "inputs": ["cold", "yes"]},
    {"kind": "select", "id": "chosen", "condition": "both", "when_true": "sum", "when_false": "limit"},
    {"kind": "latch", "id": "held", "set": "cold", "reset": "yes"},
    {"kind": "one_shot", "id": "pulse", "input": "held", "seconds": 5},
    {"kind": "timing", "id": "late", "op": "delay_on", "input": "pulse", "seconds": 5},
    {"kind": "timing", "id": "average", "op": "moving_average", "input": "zone", "seconds": 60},
    {"kind": "pid", "id": "pid", "measured": "zone", "setpoint": "limit", "enable": "late", "gain": 2},
    {"kind": "script", "id": "script", "inputs": {"a": "zone"}, "source": "result = a * 2 if a else 0"},
    {"kind": "alarm_trigger", "id": "alarm", "input": "late", "point": "1101/ai-1", "message": "cold"},
    {"kind": "log", "id": "log", "input": "word"},
    {"kind": "virtual_point", "id": "shown", "point": "virtual-1", "value": "average"},
    write("out", "pid", enable="late"),
]


def test_a_program_of_all_kinds_is_right() -> None:
    whole = program(*ALL_KINDS)
    assert {block.kind for block in whole.blocks} == set(_kinds())
    points = {"1101/ai-1": False, "1101/ao-1": True, "virtual-1": True}
    assert said(whole, points) == []
    assert reads(whole) == ["1101/ai-1"]


def _kinds() -> list[str]:
    schema = BLOCK.json_schema()
    return list(schema["discriminator"]["mapping"])


@pytest.mark.parametrize(
    ("blocks", "block", "message"),
    [
        ([read(), read()], "zone", "two blocks have this id"),
        ([write("out", "nobody")], "out", "value: there is no block 'nobody'"),
        ([read(), write("a"), write("b", "a")], "b", "value: block 'a' gives no value"),
        (
            [
                constant("t", "warm"),
                constant("n", 1.0),
                {"kind": "math", "id": "m", "op": "add", "inputs": ["t", "n"]},
            ],
            "m",
            "inputs.0: needs a number, and block 't' gives a text",
        ),
        (
            [constant("n", 1.0), {"kind": "logic", "id": "l", "op": "not", "inputs": ["n"]}],
            "l",
            "inputs.0: needs a boolean, and block 'n' gives a number",
        ),
        ([read(), write("a"), write("b")], "b", "block 'a' writes '1101/ao-1' at priority 10 too"),
        (
            [{"kind": "script", "id": "s", "source": "import os"}],
            "s",
            "line 1: import is not allowed in a script",
        ),
        ([{"kind": "script", "id": "s", "source": "x = 1"}], "s", "the script sets no result"),
        ([{"kind": "script", "id": "s", "source": "result = ("}], "s", "line 1: '(' was never closed"),
        (
            [{"kind": "script", "id": "s", "source": "result =" + "-" * 9000 + "1"}],
            "s",
            "the script can't be read: it is nested too deeply",
        ),
    ],
)
def test_each_fault_names_its_block(blocks: list[dict[str, Any]], block: str, message: str) -> None:
    assert (block, message) in said(program(*blocks))


@pytest.mark.parametrize(
    "source",
    [
        "result = ().__class__.__bases__",
        "result = __import__('os')",
        "result = open('/etc/passwd')",
        "result = eval('1')",
        "while True:\n    result = 1",
        "def f():\n    return 1\nresult = f()",
        "result = (lambda: 1)()",
        "class A:\n    pass\nresult = 1",
        "result = getattr(1, 'real')",
        "try:\n    result = 1\nfinally:\n    result = 2",
        "try:\n    result = 1\nexcept* ValueError:\n    result = 2",
        "match 1.0:\n    case float(__class__=c):\n        result = c",
        "match 1.0:\n    case __x:\n        result = 1",
        "result = type(1)",
        "result = globals()",
        "result = f'{(1).__class__}'",
        "assert 1\nresult = 1",
    ],
)
def test_what_a_script_may_not_do_is_refused(source: str) -> None:
    assert said(program({"kind": "script", "id": "s", "source": source}))


@pytest.mark.parametrize("source", ["a * 2", "result = max(a, 3)", "x = a + 1\nresult = x if x > 3 else 0"])
def test_what_a_script_may_do_is_taken(source: str) -> None:
    assert (
        said(program(read("z"), {"kind": "script", "id": "s", "inputs": {"a": "z"}, "source": source})) == []
    )


def test_points_are_looked_up_where_they_are_known() -> None:
    wrong = program(read(), write(), trigger={"on": "change", "points": ["gone"]})
    assert said(wrong) == []
    assert said(wrong, {"1101/ao-1": False}) == [
        ("zone", "there is no point '1101/ai-1'"),
        ("out", "the point '1101/ao-1' can't be written"),
        (None, "trigger: there is no point 'gone'"),
    ]


def test_a_program_that_no_change_would_run_is_not_right() -> None:
    idle = program(constant("c", 1.0), write("out", "c"), trigger={"on": "change"})
    assert said(idle) == [(None, "trigger: no point is named or read, so it never runs")]
    with pytest.raises(BadInputError, match="trigger"):
        refuse(check(idle))
    assert said(program(read(), write(), trigger={"on": "change"})) == []
    assert (
        said(program(constant("c", 1.0), write("out", "c"), trigger={"on": "change", "points": ["p"]})) == []
    )


def test_a_cycle_is_named_and_what_only_follows_it_is_not() -> None:
    found = said(
        program(
            {"kind": "math", "id": "a", "op": "abs", "inputs": ["b"]},
            {"kind": "math", "id": "b", "op": "abs", "inputs": ["a"]},
            {"kind": "math", "id": "after", "op": "abs", "inputs": ["b"]},
        )
    )
    assert found == [("a", "stands in a cycle: a -> b"), ("b", "stands in a cycle: a -> b")]


@given(edges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30), size=st.integers(1, 10))
def test_every_block_comes_after_its_inputs_or_stands_on_a_cycle(
    edges: list[tuple[int, int]], size: int
) -> None:
    inputs: dict[int, list[str]] = {}
    for target, source in edges:
        if target < size and source < size:
            inputs.setdefault(target, []).append(f"b{source}")
    blocks = [
        BLOCK.validate_python(
            {
                "kind": "script",
                "id": f"b{n}",
                "source": "1",
                "inputs": {f"i{k}": source for k, source in enumerate(inputs.get(n, []))},
            }
        )
        for n in range(size)
    ]
    done, cycle = order(blocks)
    assert len(set(done)) == len(done)
    needs = {block.id: {source for _, source, _ in inputs_of(block)} for block in blocks}
    for at, each in enumerate(done):
        assert needs[each] <= set(done[:at])

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(needs[start])
        while waiting:
            each = waiting.pop()
            if each not in seen:
                seen.add(each)
                waiting += needs[each]
        return seen

    on_cycle = {each for each in needs if each in reachable(each)}
    assert on_cycle <= set(cycle)
    assert bool(on_cycle) == bool(cycle)
    if not on_cycle:
        assert set(done) == set(needs)
    assert not set(cycle) & set(done)


def test_a_select_gives_what_both_its_inputs_give() -> None:
    [*_, select] = program(
        constant("c", True),
        constant("n", 1.0),
        {"kind": "select", "id": "s", "condition": "c", "when_true": "n", "when_false": "n"},
    ).blocks
    assert output_of(select, {"n": "number"}) == "number"
    assert output_of(select, {}) == "any"


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"kind": "math", "id": "m", "op": "sqrt", "inputs": ["a", "b"]}, "one input"),
        ({"kind": "math", "id": "m", "op": "divide", "inputs": ["a"]}, "two inputs"),
        ({"kind": "logic", "id": "l", "op": "and", "inputs": ["a"]}, "two or more"),
        (
            {
                "kind": "scale",
                "id": "s",
                "input": "a",
                "in_low": 1,
                "in_high": 1,
                "out_low": 0,
                "out_high": 1,
            },
            "differ",
        ),
        (
            {"kind": "pid", "id": "p", "measured": "a", "setpoint": "b", "gain": 1, "low": 5, "high": 5},
            "below",
        ),
        ({"kind": "constant", "id": "c", "value": float("inf")}, "finite"),
        ({"kind": "constant", "id": "1c", "value": 1}, "pattern"),
        ({"kind": "point_write", "id": "w", "point": "p", "value": "a", "priority": 17}, "16"),
        ({"kind": "magic", "id": "m"}, "magic"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(block: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        BLOCK.validate_python(block)


def test_a_refusal_names_the_block() -> None:
    with pytest.raises(BadInputError) as caught:
        refuse(check(program(write("out", "nobody"))))
    assert caught.value.field == "blocks.out"
    refuse([])
