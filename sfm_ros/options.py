"""One option of a configuration: a dataclass field that knows what it may hold."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from sfm_ros.errors import ConfigError


def option(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A field with what a person and a parameter server need to know about it.

    ``live`` options may change while the odometry runs; the others are fixed at the start.
    """
    metadata = {
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "live": live,
    }
    return dataclasses.field(default=default, metadata=metadata)


live_option = partial(option, live=True)


def checked(name: str, field: dataclasses.Field, value: Any) -> Any:
    """The value, of the option's own type.

    Raises:
        ConfigError: a wrong type, or a value out of range; names the option.
    """
    expected = type(field.default)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not expected:
        raise ConfigError(
            f"'{name}' is {value!r} ({type(value).__name__}), expected {expected.__name__}"
        )
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise ConfigError(f"'{name}' is '{value}', expected one of: {', '.join(choices)}")
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    if minimum is not None and not value >= minimum:
        raise ConfigError(f"'{name}' is {value}, expected at least {minimum}")
    if maximum is not None and not value <= maximum:
        raise ConfigError(f"'{name}' is {value}, expected at most {maximum}")
    return value
