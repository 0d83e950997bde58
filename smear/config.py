"""One configuration: YAML file → overrides → one frozen pydantic model; an unknown key is an error with a suggestion."""

import difflib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from smear.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

_RULES = {  # pydantic error type → our words; {…} are keys of the error's context
    "missing": "is missing",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "finite_number": "must be a finite number",
    "string_too_short": "must not be empty",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "model_type": "must be a mapping of keys",
    "dict_type": "must be a mapping of keys",
    "value_error": "{error}",
}
_MAX_SHOWN = 120  # characters of a wrong value that an error repeats


class Settings(BaseModel):
    """Base of every configuration: cannot be changed after it was read, and knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def load(path: Path | None, model: type[M], overrides: Sequence[str] = (), *, section: str | None = None) -> M:
    """Read a YAML file (None: the defaults), apply `a.b=value` overrides in order, and check the whole.

    Values of overrides are YAML too: `training.epochs=3`, `classes=[WBC, RBC]`, `device=null`.

    Args:
        section: where the file has a mapping of that name, only this is read; the rest of it is about something else.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown, given twice or missing, or a value is out of range.
    """
    content = _read_yaml(Path(path)) if path is not None else {}
    content = content[section] if section and isinstance(content.get(section), dict) else content
    set_keys = []
    for override in overrides:
        keys, value = _parse_override(override)
        content = _with_value(content, keys, value, override)
        set_keys.append(keys)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        location = error.errors()[0]["loc"]
        from_flag = any(location[: len(keys)] == keys for keys in set_keys)
        where = "--set" if from_flag else str(path) if path is not None else "configuration"
        raise ConfigError(f"{where}: {explain(error, model)}") from error


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake in our words: `a.b: must be at least 1, got 0`."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"])) or "the file"
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggestion(key, model)}"
    message = first["msg"].replace("Input should be", "must be").replace("Input should", "must")
    rule = _RULES.get(first["type"], message[:1].lower() + message[1:])
    said = rule.format(**first.get("ctx", {})) if first["type"] in _RULES else rule
    return f"{key}: {said}" if first["type"] in ("missing", "value_error") else f"{key}: {said}, got {_short(first['input'])}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping of keys, got {type(content).__name__}")
    return content


def _parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    key, equals, text = override.partition("=")
    keys = tuple(part.strip() for part in key.split("."))
    if not equals or not all(keys):
        raise ConfigError(f"--set: must look like key=value or group.key=value, got {override!r}")
    try:
        return keys, yaml.load(text, Loader=_UniqueKeys)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"--set: {key.strip()}: not a YAML value: {text!r}") from error


def _with_value(content: Mapping[str, Any], keys: tuple[str, ...], value: Any, override: str) -> dict[str, Any]:
    if len(keys) == 1:
        return {**content, keys[0]: value}
    inner = content.get(keys[0]) or {}
    if not isinstance(inner, Mapping):
        raise ConfigError(f"--set: {override!r}: {keys[0]} is a single value, it has no key {keys[1]!r}")
    return {**content, keys[0]: _with_value(inner, keys[1:], value, override)}


def _suggestion(key: str, model: type[BaseModel]) -> str:
    known = list(_dotted_keys(model))
    by_last = {name.rpartition(".")[2]: name for name in reversed(known)}
    last = key.rpartition(".")[2]
    close = difflib.get_close_matches(key, known, n=1) or [by_last[n] for n in difflib.get_close_matches(last, by_last, n=1)]
    return f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}"


def _dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not model:
                yield from _dotted_keys(kind, f"{prefix}{name}.")


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key given twice is an error; plain YAML keeps the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)
