"""The depth that is published, by the configured mode."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray, Reason, RgbImage
from sfm_ros.depth.choice import StepBudget
from sfm_ros.depth.smoothing import DepthSmoother
from sfm_ros.errors import ConfigError

if TYPE_CHECKING:  # it takes a second to import, and is not needed by the network alone
    from sfm_ros.depth.fusion import DepthFusion


_log = logging.getLogger(__name__)
_PATIENCE_S = 3.0
"""What was compiled before is loaded in a second. Beside images that arrive it would delay the
first of them, because both need the interpreter; what must be compiled takes too long to wait."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StageDepth:
    """Depth of one frame; None if it is unknown.

    Attributes:
        depth: (h, w) float32, published units, NaN where invalid.
        uncertainty: (h, w) float32, relative standard deviation; None from the network alone.
        reasons: what is doubtful about the measured depth.
    """

    depth: DepthMap | None = None
    uncertainty: DepthMap | None = None
    reasons: tuple[Reason, ...] = ()


class DepthStage:
    """Turns the network's depth into the published one.

    Args:
        config: ``depth.mode``, ``odometry.mode`` and ``odometry.depth_smoothing``.
        is_live: with ``auto``, images do not wait for long: what measures is compiled beside them,
            and given up if steps take too long. Else ``auto`` is ``multiview``, so that nothing
            depends on time.
    """

    def __init__(self, config: SfmConfig, is_live: bool = False) -> None:
        self._smoother, self._budget = DepthSmoother(), StepBudget()
        self._mode = config.depth.mode
        self._is_optional = self._mode == "auto"
        if self._is_optional and not is_live:
            self._mode = "multiview"
        self._fusion: DepthFusion | None = None
        self._coming: Future[DepthFusion] | None = None
        self._obstacle = ""
        if self._mode == "auto" and config.odometry.mode != "geometric":
            executor = ThreadPoolExecutor(1, thread_name_prefix="sfm_compile")
            self._coming = executor.submit(_create_fusion)
            executor.shutdown(wait=False)
            wait([self._coming], timeout=_PATIENCE_S)
        self.configure(config)

    def configure(self, config: SfmConfig) -> None:
        """Apply live options from the next frame on."""
        self._weight = config.odometry.depth_smoothing

    @property
    def is_multiview(self) -> bool:
        """Whether depth is measured; with ``auto``, once it can, unless that takes too long."""
        coming = self._coming
        if coming is not None and coming.done():
            self._coming, error = None, coming.exception()
            self._fusion = None if error else coming.result()
            self._obstacle = f"it cannot be measured ({error})" if error else ""
        if self._mode != "auto":
            return self._mode == "multiview"
        return self._fusion is not None and not self._budget.is_exceeded

    @property
    def method(self) -> str:
        """``multiview``, or ``network`` and, if several views were asked for, why."""
        if self.is_multiview:
            return "multiview"
        why = self._obstacle
        if self._coming is not None:
            why = "what measures it is compiled"
        elif self._budget.is_exceeded:
            why = "with several views a step takes too much of the time between images"
        return f"network: {why}" if why else "network"

    def reset(self) -> None:
        """Forget everything."""
        self._smoother.reset()
        if self._fusion is not None:
            self._fusion.reset()

    def restart(self) -> None:
        """Start again with the next frame; what was learned about the network stays."""
        self._smoother.reset()
        if self._fusion is not None:
            self._fusion.restart()

    def took(self, step_ns: int, interval_ns: int) -> None:
        """State how long a whole step took, and the time since the image before."""
        if self.is_multiview:
            self._budget.add(step_ns, interval_ns)

    def update(
        self,
        network: DepthMap | None,
        rgb: RgbImage,
        camera: CameraIntrinsics,
        T_prev_curr: FloatArray | None,
        is_deferred: bool,
    ) -> StageDepth:
        """The depth of the next frame.

        Args:
            network: (h, w) the network's depth in published units, NaN where invalid, or None.
            rgb: (h, w, 3) the network's input.
            camera: of that grid.
            T_prev_curr: (4, 4) motion since the last frame, published units; None if unknown.
            is_deferred: it is unknown for now, and small; the next one will include it.

        Raises:
            ConfigError: depth shall be measured, and what that needs is not installed.
        """
        if network is None:
            self.restart()
            return StageDepth()
        if not self._is_ready():
            return StageDepth(depth=self._smoothed(network, camera, T_prev_curr, is_deferred))
        self._smoother.reset()  # its last map is older than the frame before
        gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        assert self._fusion is not None
        if is_deferred:
            fused = self._fusion.glance(gray, network, camera.K)
        else:
            fused = self._fusion.step(gray, network, camera.K, T_prev_curr)
        return StageDepth(depth=fused.depth, uncertainty=fused.uncertainty, reasons=fused.reasons)

    def _is_ready(self) -> bool:
        """Whether depth is measured in this frame; what that needs is made for the first one."""
        if self.is_multiview and self._fusion is None:
            try:
                self._fusion = _create_fusion()
            except ConfigError as error:
                if not self._is_optional:
                    raise
                self._mode, self._obstacle = "network", f"it cannot be measured ({error})"
        return self.is_multiview

    def _smoothed(
        self,
        network: DepthMap,
        camera: CameraIntrinsics,
        T_prev_curr: FloatArray | None,
        is_deferred: bool,
    ) -> DepthMap:
        if is_deferred:
            self._smoother.reset()
            return network
        return self._smoother.smooth(network, camera.K, T_prev_curr, self._weight)


def compile_ahead(config: SfmConfig, notify: Callable[[str], None]) -> None:
    """Compile what measures depth, so that a node that starts later only has to load it.

    Args:
        config: nothing is compiled if it does not let depth be measured.
        notify: takes a line that states what takes long, if it does.
    """
    if config.depth.mode == "network" or config.odometry.mode == "geometric":
        return
    line = "compiling what measures depth, for the first start on this machine"
    timer = threading.Timer(_PATIENCE_S, notify, [line])
    timer.start()
    try:
        _create_fusion()
    except Exception:  # the node states what it lacks
        _log.debug("nothing is compiled ahead", exc_info=True)
    finally:
        timer.cancel()


def _create_fusion() -> DepthFusion:
    """A fusion that is ready to measure; compiling takes seconds at the first start."""
    try:
        from sfm_ros.depth.fusion import DepthFusion
        from sfm_ros.depth.multiview import compile_kernels, measure
    except ImportError as error:
        raise ConfigError(
            f"depth.mode multiview cannot be used ({error}); install numba, or set depth.mode to "
            "network"
        ) from error
    compile_kernels()
    DepthFusion.compile()
    executor = ThreadPoolExecutor(1, thread_name_prefix="sfm_depth")
    return DepthFusion(partial(measure, executor=executor))
