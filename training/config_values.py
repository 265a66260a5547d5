"""Plain values (YAML, overrides) to typed dataclasses; knows no key of any of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from sfm_ros.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Limits:
    """What values may be, by dotted name; a name that is not there has no limits.

    Attributes:
        choices: the texts.
        ranges: smallest and largest number.
    """

    choices: Mapping[str, tuple[str, ...]]
    ranges: Mapping[str, tuple[float, float]]


def plain(value: Any) -> Any:
    """Dictionaries, lists and scalars of a nested value."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping a file holds; raises ConfigError where it holds none."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the recipe {path}: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"the recipe {path} is not valid YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"the recipe {path} holds a {type(values).__name__}, expected key: value"
        )
    return values


def with_override(values: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The values with ``section.key=value`` over them; raises ConfigError for another text."""
    name, separator, value_text = text.partition("=")
    keys = name.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"'{text}' is not an override; write section.key=value")
    try:
        value = yaml.safe_load(value_text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the value of '{text}' cannot be read as YAML: {error}") from error
    result = dict(values)
    level = result
    for key in keys[:-1]:
        inner = level.get(key) or {}
        if not isinstance(inner, Mapping):
            raise ConfigError(f"'{name}': '{key}' is a value, not a section")
        level[key] = dict(inner)
        level = level[key]
    level[keys[-1]] = value
    return result


def build(kind: Any, values: Any, prefix: str, limits: Limits) -> Any:
    """A dataclass of plain values, nested ones too.

    Args:
        kind: the dataclass.
        values: what was read, expected to be a mapping.
        prefix: dotted name of the section with a dot at its end; "" for the whole.
        limits: what the values may be.

    Raises:
        ConfigError: a key is unknown, a value has the wrong type or lies outside its limits.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"'{prefix[:-1]}' is {values!r}, expected a section with key: value")
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    for key in values:
        if key not in known:
            raise ConfigError(
                f"unknown key '{prefix}{key}'; known here: {', '.join(sorted(known))}"
            )
    arguments = {}
    for name in values:
        expected, dotted = hints[name], f"{prefix}{name}"
        if is_dataclass(expected):
            arguments[name] = build(expected, values[name], f"{dotted}.", limits)
        else:
            arguments[name] = _convert(values[name], expected, dotted, limits)
    return kind(**arguments)


def _convert(value: Any, expected: Any, name: str, limits: Limits) -> Any:
    if expected == float | None:
        return None if value is None else _convert(value, float, name, limits)
    if expected in (tuple[str, ...], tuple[float, ...]):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"'{name}' is {value!r}, expected a list such as [a, b]")
        kind = expected.__args__[0]
        return tuple(_convert(item, kind, f"{name}[{i}]", limits) for i, item in enumerate(value))
    if expected is str and value is False and "off" in limits.choices.get(name, ()):
        value = "off"  # YAML 1.1 reads the word as a ground truth value.
    if expected is float:
        value = _to_float(value, name)
    elif not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ConfigError(
            f"'{name}' is {value!r} ({type(value).__name__}), expected {expected.__name__}"
        )
    _check_value(value, name, limits)
    return value


def _to_float(value: Any, name: str) -> float:
    # YAML 1.1 reads 2e-4 (no dot) as a text, so texts are tried too.
    if not isinstance(value, bool) and isinstance(value, (int, float, str)):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise ConfigError(f"'{name}' is {value!r}, expected a finite number")


def _check_value(value: Any, name: str, limits: Limits) -> None:
    choices = limits.choices.get(name.partition("[")[0])
    if choices is not None and value not in choices:
        raise ConfigError(f"'{name}' is '{value}', expected one of: {', '.join(choices)}")
    if name in limits.ranges:
        low, high = limits.ranges[name]
        if not low <= value <= high:
            raise ConfigError(f"'{name}' is {value}, expected {low:g} to {high:g}")
