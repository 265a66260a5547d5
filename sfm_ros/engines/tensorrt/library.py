"""TensorRT 8.6, 10 and 11, and TensorRT-RTX: what is installed, and where they differ.

The only file that imports them. Importing is harmless without a GPU; a Runtime is not: made
without a driver, it ends the process when it is used or deleted. So nothing here makes one before
`Cuda` has found a device.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from sfm_ros.errors import EngineError

_KEPT_MESSAGES = 20
_DTYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8"}
"""Types of the inputs and outputs that a bundle has, as TensorRT and numpy name them."""


@dataclass(frozen=True, slots=True)
class Library:
    """An installed TensorRT.

    Attributes:
        trt: its module.
        name: ``TensorRT`` or ``TensorRT-RTX``.
        log: what it reports.
    """

    trt: Any
    name: str
    log: Any

    @property
    def version(self) -> str:
        """As the library states it."""
        return str(self.trt.__version__)

    @property
    def is_rtx(self) -> bool:
        """Whether engines are built without a GPU, and finished on it when they are loaded."""
        return self.name == "TensorRT-RTX"

    @property
    def infers_types(self) -> bool:
        """Whether types are chosen by flags (version 8) and not by the graph."""
        return not self.is_rtx and int(self.version.split(".")[0]) < 10

    def dtype(self, value: Any) -> npt.DTypeLike:
        """A tensor's type as numpy names it; EngineError if a bundle cannot have it."""
        for name, known in _DTYPES.items():
            if value == getattr(self.trt.DataType, name, None):
                return np.dtype(known)
        raise EngineError(f"{self.name} computes with tensors of {value}, which no bundle has")


def load_library() -> Library:
    """TensorRT if it is installed, else TensorRT-RTX.

    Raises:
        ModuleNotFoundError: neither is installed.
        EngineError: one is installed and cannot be loaded.
    """
    faults = []
    for name, load in (("TensorRT", _import_tensorrt), ("TensorRT-RTX", _import_rtx)):
        try:
            trt = load()
        except ModuleNotFoundError as error:
            if error.name not in ("tensorrt", "tensorrt_rtx"):
                faults.append(f"{name} lacks a part: {error}")
            continue
        except Exception as error:  # a part is missing; the packages raise errors of several kinds
            faults.append(f"{name} is installed and cannot be loaded: {error}")
            continue
        return Library(trt, name, _log_of(trt))
    if faults:
        raise EngineError("; ".join(faults))
    raise ModuleNotFoundError("No module named 'tensorrt' or 'tensorrt_rtx'")


def _import_tensorrt() -> ModuleType:
    import tensorrt

    return tensorrt


def _import_rtx() -> ModuleType:
    import tensorrt_rtx

    return tensorrt_rtx


_logs: dict[int, Any] = {}


def _log_of(trt: Any) -> Any:
    """The library keeps the first logger of a process, so there is one for each library."""
    if id(trt) not in _logs:
        _logs[id(trt)] = _make_log(trt)
    return _logs[id(trt)]


def _make_log(trt: Any) -> Any:
    severity = trt.ILogger.Severity
    errors = (severity.INTERNAL_ERROR, severity.ERROR)

    class Log(trt.ILogger):
        """Keeps the last errors: the library reports a failure by None, the reason goes here."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._messages: deque[str] = deque(maxlen=_KEPT_MESSAGES)

        def log(self, severity: Any, message: str) -> None:
            """Called by the library, from any thread."""
            if severity in errors:
                self._messages.append(message)

        def take(self) -> str:
            """The reported errors since the last call, in one line."""
            lines = [" ".join(message.split()) for message in self._messages]
            self._messages.clear()
            return "; ".join(dict.fromkeys(lines)) or "it gave no reason"

    return Log()
