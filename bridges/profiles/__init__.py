"""Device profiles, and reading YAML so that every error names file, line and key."""

import difflib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from actors.core.errors import OpenCrateError
from bridges.checks import point_problems
from bridges.config import Profile

Where = tuple[str | int, ...]
Locate = Callable[[Where], int]
Problem = tuple[str, int, str, str]
"""File, line (from 1), key, and what is wrong in words."""

SHIPPED = Path(__file__).parent
Model = TypeVar("Model", bound=BaseModel)


class ConfigFileError(OpenCrateError):
    """A configuration file can't be taken. `problems` names file, line, key and reason of each fault."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(list(problems))
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join(
            f"{file}:{line}: {key + ': ' if key else ''}{reason}" for file, line, key, reason in self.problems
        )


def key_of(where: Where) -> str:
    """Write a place as people do: `sites[0].networks[1].bbmd`."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def load_yaml(path: Path) -> tuple[Any, Locate]:
    """Read a YAML file; give its data and a function that tells the line of a key. Raises ConfigFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigFileError([(str(path), 1, "", f"it is not UTF-8 text ({error.reason})")]) from error
    except OSError as error:
        raise ConfigFileError([(str(path), 1, "", f"it can't be read: {error.strerror}")]) from error
    try:
        data = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line, reason = _plain_words(error)
        if any("\t" in each for each in text.splitlines()[line - 1 : line]):
            reason += " (indent with spaces, not tabs)"
        raise ConfigFileError([(str(path), line, "", reason)]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigFileError([(str(path), 1, "", " ".join(str(error).split())[:300])]) from error
    if not isinstance(data, CommentedMap):
        what = "it is empty" if data is None else "it must be a mapping of keys to values at the top"
        raise ConfigFileError([(str(path), 1, "", what)])
    return data, lambda where: _line(data, where)


def _plain_words(error: MarkedYAMLError) -> tuple[int, str]:
    """Say where a parser stumbled (line from 1) and over what, in the words of whoever wrote the file."""
    problem = " ".join((error.problem or "it is not YAML").split())
    line = error.problem_mark.line + 1 if error.problem_mark else 1
    begun = error.context_mark.line + 1 if error.context_mark else line
    if problem.startswith("expected <block end>"):
        problem = f"it doesn't fit in with what begins at line {begun}: check indentation and dashes"
    elif problem == "found unexpected end of stream":
        line, problem = begun, "the quoted text that begins here is never closed"
    elif problem == "but found another document":
        problem = "a second document begins here (---); a file holds one"
    return line, problem


def _line(data: Any, where: Where) -> int:
    """Give the line of the deepest part of a place that is in the file."""
    line, at = 1, data
    for part in where:
        try:
            if isinstance(at, CommentedMap) and part in at:
                line = at.lc.key(part)[0] + 1
            elif isinstance(at, CommentedSeq) and isinstance(part, int) and part < len(at):
                line = at.lc.item(part)[0] + 1
            else:
                # Pydantic adds the name of a union's branch to a place; that is no key of the file.
                continue
        except (KeyError, AttributeError, TypeError):
            return line
        at = at[part]
    return line


def validate(model: type[Model], data: Any, path: Path, locate: Locate) -> Model:
    """Read data as a model. Raises ConfigFileError with all that is wrong, in words."""
    try:
        return model.model_validate(_plain(data))
    except ValidationError as error:
        problems = []
        for each in error.errors():
            where = _in_file(data, each["loc"])
            problems.append((str(path), locate(where), key_of(where), _words(each, model, data, where)))
        raise ConfigFileError(sorted(set(problems), key=lambda problem: problem[1])) from error


def _in_file(data: Any, where: Where) -> Where:
    """Leave out what pydantic adds to a place; keep a last key that the file lacks."""
    kept: list[str | int] = []
    at = data
    for number, part in enumerate(where):
        inside = part in at if isinstance(at, dict) else isinstance(at, list) and part in range(len(at))
        if inside:
            at = at[part]
            kept.append(part)
        elif number == len(where) - 1 and isinstance(at, dict):
            kept.append(part)
    return tuple(kept)


def _plain(data: Any) -> Any:
    """Turn ruamel's containers and scalars into Python's own."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_plain(value) for value in data]
    for kind in (bool, int, float, str):
        if isinstance(data, kind):
            return kind(data)
    return data


def _words(error: Any, model: type[BaseModel], data: Any, where: Where) -> str:
    kind, given = error["type"], error.get("input")
    message = str(error["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return _unknown_key(str(where[-1]), _all_fields(model))
    if kind == "missing":
        return "this key is needed"
    if kind == "union_tag_invalid":
        known = error["ctx"]["expected_tags"].replace("'", "")
        return f"{error['ctx']['tag']!r} is no protocol of ours; known: {known}"
    if kind == "union_tag_not_found":
        return "protocol is needed: bacnet or modbus"
    if not isinstance(given, dict | list) and kind != "value_error":
        message = f"{given!r} is not valid: {message[0].lower()}{message[1:]}"
    return message


def _unknown_key(key: str, known: set[str]) -> str:
    if key in known:
        return "this key doesn't belong here"
    close = difflib.get_close_matches(key, sorted(known), 1)
    return "unknown key" + (f"; did you mean {close[0]}?" if close else "")


def _all_fields(model: type[BaseModel]) -> set[str]:
    """Give the names of all keys of a model and of the models in it, for suggestions."""
    names: set[str] = set()
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        names.update(part.get("properties", {}))
    return names


def shipped() -> list[str]:
    """Give the names of the profiles that come with the program."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


@functools.cache
def shipped_profiles(protocol: str) -> tuple[Profile, ...]:
    """Read all profiles of a protocol that come with the program; takes seconds the first time."""
    found = (load_profile(name, SHIPPED) for name in shipped())
    return tuple(profile for profile in found if profile.protocol == protocol)


def load_profile(name: str, folder: Path, asked_by: tuple[Path, int, str] | None = None) -> Profile:
    """Read a profile: one that comes with the program by its name, else a file relative to `folder`.

    Raises ConfigFileError; a profile that isn't there is the fault of the place that asked for it.
    """
    path = SHIPPED / f"{name}.yaml"
    if "/" in name or name.endswith((".yaml", ".yml")) or not path.exists():
        path = folder / name
    if not path.is_file():
        file, line, key = asked_by or (path, 1, "")
        known = ", ".join(shipped())
        reason = f"there is no profile {name!r}: neither a file {path} nor one of {known}"
        if path.is_dir():
            reason = f"the profile {name!r} is a folder, not a file"
        raise ConfigFileError([(str(file), line, key, reason)])
    data, locate = load_yaml(path)
    profile = validate(Profile, data, path, locate)
    problems: list[Problem] = [
        (str(path), locate(("points", *where)), key_of(("points", *where)), reason)
        for where, reason in point_problems(profile.protocol, profile.points)
    ]
    if problems:
        raise ConfigFileError(problems)
    return profile
