"""The one reader of YAML and JSON: bounded in size, depth and digits, and without aliases.

An alias lets some hundred bytes stand for more values than fit into memory; nothing that is read
here needs one. A document is examined as a stream of events first, which takes no memory, and only
then built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sfm_ros.errors import UnsafeFileError
from sfm_ros.safety import limits
from sfm_ros.safety.files import read_text

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's C loader if it was built: the metadata of a bag may be long."""
_DIGITS = re.compile(rf"[0-9]{{{limits.NUMBER_DIGITS + 1}}}")
_NUMBER = re.compile(r"[-+]?[0-9.][0-9a-fA-FxX_.:eE+-]*")
"""Everything that YAML 1.1 may take for a number."""


class DocumentError(UnsafeFileError):
    """A text is no YAML or JSON document, or exceeds the limits of one."""


def parse_yaml(text: str, first_only: bool = False) -> Any:
    """The value of a YAML document; None if the text is empty.

    Args:
        text: the document.
        first_only: ignore documents after the first one.

    Raises:
        DocumentError: not YAML, several documents, aliases, or too long, deep or large.
    """
    if len(text) > limits.YAML_FILE:
        raise DocumentError(f"it has more than {limits.YAML_FILE} characters")
    try:
        _examine(text, first_only)
        documents = yaml.load_all(text, _Loader)
        return next(documents, None) if first_only else yaml.load(text, _Loader)
    except DocumentError:
        raise
    # Malformed tags such as "!!int x" raise errors of any kind.
    except Exception as error:
        raise DocumentError(" ".join(str(error).split()) or type(error).__name__) from error


def _examine(text: str, first_only: bool) -> None:
    """Raise DocumentError if a limit is exceeded; YAMLError if the text is not YAML."""
    depth = nodes = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.DocumentEndEvent) and first_only:
            return
        if isinstance(event, yaml.AliasEvent):
            raise DocumentError(f"it has the alias '*{event.anchor}'; write its value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > limits.DOCUMENT_DEPTH or nodes > limits.YAML_NODES:
            raise DocumentError(
                f"it is nested deeper than {limits.DOCUMENT_DEPTH} levels, or has more than "
                f"{limits.YAML_NODES} values"
            )
        if isinstance(event, yaml.ScalarEvent):
            _check_scalar(event)


def _check_scalar(event: yaml.ScalarEvent) -> None:
    """Refuse a number of so many digits that computing or printing it never ends."""
    is_long = len(event.value) > limits.NUMBER_DIGITS
    if is_long and (event.implicit[0] or event.tag) and _NUMBER.fullmatch(event.value):
        raise DocumentError(f"it has a number of more than {limits.NUMBER_DIGITS} digits")


def parse_json(text: str) -> Any:
    """The value of a JSON document.

    Raises:
        DocumentError: not JSON, or too long, deep or large.
    """
    if len(text) > limits.JSON_FILE:
        raise DocumentError(f"it has more than {limits.JSON_FILE} characters")
    if text.count("[") + text.count("{") > limits.JSON_CONTAINERS:
        raise DocumentError(f"it has more than {limits.JSON_CONTAINERS} lists and objects")
    if _DIGITS.search(text):
        raise DocumentError(f"it has a number of more than {limits.NUMBER_DIGITS} digits")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(str(error)) from error
    level = [value]
    for _ in range(limits.DOCUMENT_DEPTH + 1):
        level = [inner for outer in level for inner in _containers_in(outer)]
        if not level:
            return value
    raise DocumentError(f"it is nested deeper than {limits.DOCUMENT_DEPTH} levels")


def _containers_in(value: Any) -> Iterator[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (entry for entry in inner if isinstance(entry, (dict, list)))


def read_yaml(path: Path) -> Any:
    """The value of a YAML file; OSError, UnsafeFileError, or as `parse_yaml`."""
    return parse_yaml(_read(path, limits.YAML_FILE))


def read_json(path: Path) -> Any:
    """The value of a JSON file; OSError, UnsafeFileError, or as `parse_json`."""
    return parse_json(_read(path, limits.JSON_FILE))


def _read(path: Path, limit: int) -> str:
    try:
        return read_text(path, limit)
    except UnicodeDecodeError as error:
        raise DocumentError(f"it is not UTF-8 text: {error}") from error
