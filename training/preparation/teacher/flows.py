"""Optical flow between the images of a drive, each pair once, started at the expected street.

Dense inverse search (Kroeger et al., ECCV 2016).
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import inverse
from training.preparation.teacher.pair import Flow
from training.preparation.teacher.view import Gray, View

_PATCH_PX, _STRIDE_PX = 5, 3
_FINEST_SCALE = 1
_COARSER = 8
"""The start is found on a grid that is coarser by this factor."""

_Kept = npt.NDArray[np.float16]
"""Half the memory, and errors of hundredths of a pixel."""


class Flows:
    """Computes flows and keeps them until the later image of the pair has been the target."""

    def __init__(self, view: View) -> None:
        method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        method.setPatchSize(_PATCH_PX)
        method.setPatchStride(_STRIDE_PX)
        method.setFinestScale(_FINEST_SCALE)
        camera = view.camera
        self._method = method
        self._size = camera.width, camera.height
        coarse = camera.resized(camera.width // _COARSER, camera.height // _COARSER)
        self._coarse = replace(view, camera=coarse)
        factors = camera.width / coarse.width, camera.height / coarse.height
        self._factors = np.array(factors, dtype=np.float32)
        self._kept: dict[tuple[int, int], _Kept] = {}

    def between(
        self, target: tuple[int, Gray], source: tuple[int, Gray], T_source_target: FloatArray
    ) -> tuple[Flow, Flow]:
        """Flow from target to source, and from source to target; images with their numbers."""
        return (
            self._flow(target, source, T_source_target),
            self._flow(source, target, inverse(T_source_target)),
        )

    def expected(self, T_source_target: FloatArray) -> Flow:
        """The flow of an empty street; see `View.expected_flow`."""
        flow = self._coarse.expected_flow(T_source_target) * self._factors
        return np.asarray(cv2.resize(flow, self._size), dtype=np.float32)

    def forget_before(self, index: int) -> None:
        """Images before this one will not be targets any more."""
        self._kept = {pair: flow for pair, flow in self._kept.items() if max(pair) >= index}

    def _flow(
        self, target: tuple[int, Gray], source: tuple[int, Gray], T_source_target: FloatArray
    ) -> Flow:
        pair = target[0], source[0]
        if pair not in self._kept:
            flow = self._method.calc(target[1], source[1], self.expected(T_source_target))
            self._kept[pair] = flow.astype(np.float16)
        return self._kept[pair].astype(np.float32)
