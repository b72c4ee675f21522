"""Rules of programs: what a block needs and gives, checking, and the order of running."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from actors.core.errors import BadInputError
from actors.program.models import (
    AlarmTrigger,
    Block,
    Compare,
    Constant,
    Latch,
    Log,
    Logic,
    Math,
    NewProgram,
    OnChange,
    OneShot,
    Pid,
    PointRead,
    PointWrite,
    Problem,
    RampLimit,
    Scale,
    Script,
    Select,
    Timing,
    VirtualPoint,
)

Kind = Literal["number", "boolean", "text", "any", "none"]
"""What a block gives: `any` is known only when it runs, `none` can't be an input."""

POINT_BLOCKS: Final = (PointRead, PointWrite, VirtualPoint, AlarmTrigger)

_FORBIDDEN: Final = (
    ast.Import,
    ast.ImportFrom,
    ast.Attribute,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.Global,
    ast.Nonlocal,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,  # a pattern such as float(__class__=c) reads attributes
    ast.AsyncFor,
    ast.Assert,
    ast.Raise,
    ast.Await,
    ast.Yield,
    ast.YieldFrom,
    ast.While,
    ast.Delete,
)
_FORBIDDEN_NAMES: Final = frozenset(
    {
        *("eval", "exec", "open", "compile", "input", "breakpoint", "help", "memoryview"),
        *("getattr", "setattr", "delattr", "hasattr", "vars", "dir", "globals", "locals"),
        *("type", "object", "super", "classmethod", "staticmethod", "property"),
    }
)


def inputs_of(block: Block) -> Iterator[tuple[str, str, Kind]]:  # noqa: PLR0912 - a case per kind of block
    """Give a block's inputs as (name of the input, block that feeds it, kind that it must be)."""
    match block:
        case PointWrite():
            yield "value", block.value, "any"
            if block.enable is not None:
                yield "enable", block.enable, "boolean"
        case VirtualPoint():
            yield "value", block.value, "any"
        case Math():
            for number, source in enumerate(block.inputs):
                yield f"inputs.{number}", source, "number"
        case Logic():
            for number, source in enumerate(block.inputs):
                yield f"inputs.{number}", source, "boolean"
        case Scale() | RampLimit():
            yield "input", block.input, "number"
        case Compare():
            # Only equality makes sense for texts.
            kind: Kind = "any" if block.op in {"eq", "ne"} else "number"
            yield "left", block.left, kind
            yield "right", block.right, kind
        case Select():
            yield "condition", block.condition, "boolean"
            yield "when_true", block.when_true, "any"
            yield "when_false", block.when_false, "any"
        case Latch():
            yield "set", block.set, "boolean"
            yield "reset", block.reset, "boolean"
        case OneShot() | AlarmTrigger():
            yield "input", block.input, "boolean"
        case Timing():
            yield "input", block.input, "boolean" if block.op.startswith("delay") else "number"
        case Pid():
            yield "measured", block.measured, "number"
            yield "setpoint", block.setpoint, "number"
            if block.enable is not None:
                yield "enable", block.enable, "boolean"
        case Log():
            yield "input", block.input, "any"
        case Script():
            for name, source in block.inputs.items():
                yield f"inputs.{name}", source, "any"
        case _:
            return


def output_of(block: Block, kinds: Mapping[str, Kind]) -> Kind:  # noqa: PLR0911 - a case per kind
    """Give what kind of value a block gives; `kinds` are those of the blocks before it."""
    match block:
        case PointRead():
            return "any"
        case Constant():
            if isinstance(block.value, bool):
                return "boolean"
            return "text" if isinstance(block.value, str) else "number"
        case Math() | Scale() | RampLimit() | Pid():
            return "number"
        case Logic() | Compare() | Latch() | OneShot():
            return "boolean"
        case Timing():
            return "boolean" if block.op.startswith("delay") else "number"
        case Select():
            one, two = kinds.get(block.when_true, "any"), kinds.get(block.when_false, "any")
            return one if one == two else "any"
        case Script():
            return block.output
        case _:
            return "none"


def order(blocks: Iterable[Block]) -> tuple[list[str], list[str]]:
    """Give the ids of blocks so that each comes after its inputs, and those that stand in a cycle.

    Blocks that don't depend on one another keep the order in which they were written. Inputs that name no
    block are left aside.
    """
    listed = list(blocks)
    known = {block.id for block in listed}
    needs = {block.id: {source for _, source, _ in inputs_of(block) if source in known} for block in listed}
    done: list[str] = []
    ready: set[str] = set()
    waiting = [block.id for block in listed]
    while waiting:
        runnable = [each for each in waiting if needs[each] <= ready]
        if not runnable:
            # What only stands after a cycle isn't part of it.
            needed = set().union(*(needs[each] for each in waiting))
            inside = set(waiting)
            while trimmed := {each for each in inside if each not in needed}:
                inside -= trimmed
                needed = set().union(*(needs[each] for each in inside)) if inside else set()
            return done, [each for each in waiting if each in inside]
        first = runnable[0]
        done.append(first)
        ready.add(first)
        waiting.remove(first)
    return done, []


def reads(program: NewProgram) -> list[str]:
    """Give the points that a program reads, each once."""
    return list(dict.fromkeys(block.point for block in program.blocks if isinstance(block, PointRead)))


def script_problems(block: Script) -> Iterator[str]:
    """Say what a script may not do. It sees its inputs and pure functions, nothing else."""
    try:
        tree = ast.parse(block.source)
    except SyntaxError as error:
        yield f"line {error.lineno or 1}: {error.msg}"
        return
    except ValueError as error:
        yield f"the script can't be read: {error}"
        return
    except (MemoryError, RecursionError):
        yield "the script can't be read: it is nested too deeply"
        return
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, _FORBIDDEN):
            yield f"line {line}: {type(node).__name__.lower()} is not allowed in a script"
        elif isinstance(node, ast.Name) and (node.id.startswith("_") or node.id in _FORBIDDEN_NAMES):
            yield f"line {line}: the name {node.id!r} is not allowed in a script"
    assigned = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    only = tree.body[0] if len(tree.body) == 1 else None
    if "result" not in assigned and not isinstance(only, ast.Expr):
        yield "the script sets no result"


def check(program: NewProgram, points: Mapping[str, bool] | None = None) -> list[Problem]:
    """Say what is wrong with a program: blocks, inputs, types, cycles, points, scripts.

    `points` are the points that exist and whether each can be written; None leaves points unchecked.
    """
    problems: list[Problem] = []
    by_id: dict[str, Block] = {}
    for block in program.blocks:
        if block.id in by_id:
            problems.append(Problem(block=block.id, message="two blocks have this id"))
        by_id[block.id] = block
    ordered, cycle = order(by_id.values())
    if cycle:
        ring = " -> ".join(cycle)
        problems += [Problem(block=each, message=f"stands in a cycle: {ring}") for each in cycle]
    kinds: dict[str, Kind] = {}
    for each in [*ordered, *(key for key in by_id if key not in ordered)]:
        kinds[each] = output_of(by_id[each], kinds)
    for block in by_id.values():
        problems += _input_problems(block, by_id, kinds)
        if isinstance(block, Script):
            problems += [Problem(block=block.id, message=message) for message in script_problems(block)]
    if points is not None:
        problems += _point_problems(program, points)
    problems += _twice_written(program)
    if isinstance(program.trigger, OnChange) and not program.trigger.points and not reads(program):
        problems.append(Problem(block=None, message="trigger: no point is named or read, so it never runs"))
    return problems


def refuse(problems: list[Problem]) -> None:
    """Refuse a program that has problems. Raises BadInputError that names the first block at fault."""
    if problems:
        first = problems[0]
        field = "trigger" if first.block is None else f"blocks.{first.block}"
        raise BadInputError(field, first.block, f"a block without this fault: {first.message}")


def _input_problems(block: Block, by_id: Mapping[str, Block], kinds: Mapping[str, Kind]) -> Iterator[Problem]:
    for name, source, wanted in inputs_of(block):
        if source not in by_id:
            yield Problem(block=block.id, message=f"{name}: there is no block {source!r}")
            continue
        given = kinds.get(source, "any")
        if given == "none":
            yield Problem(block=block.id, message=f"{name}: block {source!r} gives no value")
        elif wanted != "any" and given not in {wanted, "any"}:
            yield Problem(
                block=block.id, message=f"{name}: needs a {wanted}, and block {source!r} gives a {given}"
            )


def _point_problems(program: NewProgram, points: Mapping[str, bool]) -> Iterator[Problem]:
    for block in program.blocks:
        if not isinstance(block, POINT_BLOCKS):
            continue
        if block.point not in points:
            yield Problem(block=block.id, message=f"there is no point {block.point!r}")
        elif isinstance(block, PointWrite) and not points[block.point]:
            yield Problem(block=block.id, message=f"the point {block.point!r} can't be written")
    if isinstance(program.trigger, OnChange):
        for point in program.trigger.points:
            if point not in points:
                yield Problem(block=None, message=f"trigger: there is no point {point!r}")


def _twice_written(program: NewProgram) -> Iterator[Problem]:
    seen: dict[tuple[str, int], str] = {}
    for block in program.blocks:
        if isinstance(block, PointWrite):
            key = (block.point, block.priority or program.priority)
            if key in seen:
                yield Problem(
                    block=block.id,
                    message=f"block {seen[key]!r} writes {block.point!r} at priority {key[1]} too",
                )
            seen.setdefault(key, block.id)
