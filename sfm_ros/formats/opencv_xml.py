"""OpenCV's FileStorage in XML, as plain values."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from sfm_ros.errors import CalibrationError
from sfm_ros.safety import limits

_DECLARATIONS = ("<!DOCTYPE", "<!ENTITY")


def document_of_xml(text: str, origin: str) -> dict[str, Any]:
    """The top-level entries of a file; matrices as a mapping with ``data``.

    Raises:
        CalibrationError: it is no XML, too large, or declares entities, which no FileStorage does.
    """
    if len(text) > limits.YAML_FILE or any(mark in text for mark in _DECLARATIONS):
        raise CalibrationError(
            f"{origin} is no file of OpenCV: it is longer than {limits.YAML_FILE} characters, or "
            "declares entities"
        )
    try:
        root = ElementTree.fromstring(text.strip())
    except (ElementTree.ParseError, ValueError) as error:
        raise CalibrationError(f"{origin} is not an XML file of OpenCV: {error}") from error
    return {entry.tag: _value(entry) for entry in root}


def _value(entry: ElementTree.Element) -> Any:
    if entry.get("type_id") == "opencv-matrix":
        return {"data": (entry.findtext("data") or "").split()}
    words = (entry.text or "").split()
    if len(entry):
        return {child.tag: (child.text or "").strip() for child in entry}
    return words[0].strip('"') if len(words) == 1 else words
