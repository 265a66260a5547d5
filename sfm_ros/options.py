"""Configuration blocks: dataclasses whose fields carry their limits and their description.

Plain values (YAML, ROS parameters, ``section.key=value``) in, checked and typed values out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from sfm_ros.errors import ConfigError, UnsafeFileError
from sfm_ros.safety import documents

Block = TypeVar("Block")


def option(
    default: Any,
    description: str,
    *,
    kind: type | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A dataclass field with the limits and the description of an option.

    Args:
        default: a tuple makes an option that takes a list, None one that may be left unset.
        kind: type of the value, or of each item of a list; by default that of ``default``.
        live: whether the option may change while the odometry runs.
    """
    metadata = {
        "description": description,
        "kind": kind or type(default),
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "live": live,
    }
    return dataclasses.field(default=default, metadata=metadata)


live_option = partial(option, live=True)


def build(
    block: type[Block], values: Any, renamed: Mapping[str, str] | None = None, prefix: str = ""
) -> Block:
    """Build a block of options, nested blocks included; an option not named keeps its default.

    Args:
        block: the dataclass; its fields are options or blocks.
        values: plain values, as read from YAML.
        renamed: current names of options by their old ones, dotted.
        prefix: dotted name of the block with a trailing dot, empty for the outermost one.

    Raises:
        ConfigError: an unknown block or key, a wrong type, or a value out of range.
    """
    if not isinstance(values, Mapping):
        found = f"'{prefix[:-1]}' holds" if prefix else "the configuration is"
        raise ConfigError(f"{found} {values!r}, expected a block of keys")
    fields: dict[str, dataclasses.Field] = {
        entry.name: entry
        for entry in dataclasses.fields(block)  # type: ignore[arg-type]
    }
    hints = get_type_hints(block)
    nested = {name for name in fields if dataclasses.is_dataclass(hints[name])}
    what = "block" if len(nested) == len(fields) else "key"
    refuse_unknown(values, fields, what, prefix, renamed)
    return block(
        **{
            name: build(hints[name], value, renamed, f"{prefix}{name}.")
            if name in nested
            else checked(f"{prefix}{name}", fields[name], value)
            for name, value in values.items()
        }
    )


def refuse_unknown(
    found: Iterable[str],
    known: Iterable[str],
    what: str,
    prefix: str = "",
    renamed: Mapping[str, str] | None = None,
) -> None:
    """Raise if a name is not a known one; a renamed one is reported with its new name.

    Raises:
        ConfigError: names the first unknown one.
    """
    known = set(known)
    unknown = sorted(f"{prefix}{key}" for key in found if key not in known)
    if not unknown:
        return
    if renamed and unknown[0] in renamed:
        raise ConfigError(f"{what} '{unknown[0]}' is now called '{renamed[unknown[0]]}'")
    raise ConfigError(f"unknown {what} '{unknown[0]}'; known are: {', '.join(sorted(known))}")


def checked(name: str, field: dataclasses.Field, value: Any) -> Any:
    """The value, converted to the option's own type.

    Raises:
        ConfigError: a wrong type, or a value out of range; names the option.
    """
    if value is None and field.default is None:
        return None
    if isinstance(field.default, tuple):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"'{name}' is {value!r}, expected a list such as [a, b]")
        return tuple(_checked_item(f"{name}[{i}]", field, item) for i, item in enumerate(value))
    return _checked_item(name, field, value)


def _checked_item(name: str, field: dataclasses.Field, value: Any) -> Any:
    kind, choices = field.metadata["kind"], field.metadata["choices"]
    value = _converted(value, kind, choices)
    if type(value) is not kind:
        expected = "float, a finite number" if kind is float else kind.__name__
        raise ConfigError(f"'{name}' is {value!r} ({type(value).__name__}), expected {expected}")
    if choices and value not in choices:
        raise ConfigError(f"'{name}' is '{value}', expected one of: {', '.join(choices)}")
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    limits = [f"at least {minimum}"] * (minimum is not None)
    limits += [f"at most {maximum}"] * (maximum is not None)
    finite = kind is not float or math.isfinite(value)
    too_small = minimum is not None and value < minimum
    if not finite or too_small or (maximum is not None and value > maximum):
        expected = " and ".join(limits if finite else ["a finite number", *limits])
        raise ConfigError(f"'{name}' is {value}, expected {expected}")
    return value


def _converted(value: Any, kind: type, choices: tuple[str, ...]) -> Any:
    """Undo how YAML 1.1 reads ``off`` (as false) and ``2e-4`` (as text); integers are floats."""
    if kind is str and value is False and "off" in choices:
        return "off"
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; an empty file holds an empty one.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not hold a mapping.
    """
    try:
        values = documents.read_yaml(path)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnsafeFileError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict | None):
        raise ConfigError(f"{path} holds {type(values).__name__}, expected blocks of keys")
    return values or {}


def with_override(values: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A copy of the values with ``block.key=value`` set; the value is parsed as YAML.

    Raises:
        ConfigError: the text is not of this form.
    """
    name, separator, value_text = text.partition("=")
    *blocks, last = name.strip().split(".")
    if not separator or not all((*blocks, last)):
        raise ConfigError(f"'{text}' is not an override; write block.key=value")
    try:
        value = documents.parse_yaml(value_text)
    except UnsafeFileError as error:
        raise ConfigError(f"the value of '{text}' cannot be read as YAML: {error}") from error
    result = dict(values)
    level = result
    for key in blocks:
        inner = level.get(key) or {}
        if not isinstance(inner, Mapping):
            raise ConfigError(f"'{name}': '{key}' is a value, not a block")
        level[key] = dict(inner)
        level = level[key]
    level[last] = value
    return result
