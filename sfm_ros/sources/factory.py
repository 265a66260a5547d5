"""Opens the source that a command's arguments name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import SourceError
from sfm_ros.source import Source

_Calibration = str | Path | CameraIntrinsics | None


def open_source(
    *,
    images: str | Path | None = None,
    video: str | Path | None = None,
    bag: str | Path | None = None,
    kitti: str | Path | None = None,
    synthetic: int | None = None,
    calib: _Calibration = None,
    **options: Any,
) -> Source:
    """Open a folder of images, a video, a bag, a KITTI drive or a synthetic street.

    Exactly one of the first five is given. The libraries of the other kinds are not imported.

    Args:
        images: folder of images; needs ``calib``.
        video: video file; needs ``calib``.
        bag: ROS bag.
        kitti: folder of a KITTI raw drive or odometry sequence.
        synthetic: seed of a rendered street.
        calib: calibration, or file of it. For bags it replaces their camera_info.
        options: named arguments of the kind's own class, such as ``image_topic`` of a bag. None
            means "not given", so that a command may pass all it has.

    Raises:
        SourceError: none or several kinds, a missing calibration, an option of another kind, or
            the source cannot be read.
        CalibrationError, TrajectoryError, ConfigError: see the sources.
    """
    kinds = dict(images=images, video=video, bag=bag, kitti=kitti, synthetic=synthetic)
    given = [kind for kind, value in kinds.items() if value is not None]
    if len(given) != 1:
        raise SourceError(
            f"{' and '.join(given) or 'no source'} given, expected exactly one of "
            f"{', '.join(kinds)}"
        )
    kind = given[0]
    options = {name: value for name, value in options.items() if value is not None}
    if calib is not None:
        if kind in ("kitti", "synthetic"):
            raise SourceError(f"{kind} brings its own calibration; leave calib out")
        options["calib"] = calib
    elif kind in ("images", "video"):
        raise SourceError(
            f"{kind} needs calib: a camera_info .yaml, KITTI's calib.txt, or a file with the nine "
            "numbers of K"
        )
    unknown = sorted(set(options) - {"calib", *_OPTIONS[kind]})
    if unknown:
        raise SourceError(
            f"{', '.join(unknown)} is no option of {kind}, expected some of "
            f"{', '.join(_OPTIONS[kind])}"
        )
    return _open(kind, kinds[kind], options)


_OPTIONS = {
    "images": ("poses", "fps", "times", "camera", "camera_height_m"),
    "video": ("fps",),
    "bag": ("image_topic", "camera_info_topic", "pose_topic", "speed_topic"),
    "kitti": ("camera", "frames"),
    "synthetic": ("width", "height", "frames", "fps", "fx", "camera_height_m", "kind"),
}


def _open(kind: str, value: Any, options: dict[str, Any]) -> Source:
    if kind == "images":
        from sfm_ros.sources.folder import FolderSource

        return FolderSource(value, **options)
    if kind == "video":
        from sfm_ros.sources.video import VideoSource

        return VideoSource(value, **options)
    if kind == "bag":
        from sfm_ros.sources.bag import BagSource

        return BagSource(value, **options)
    if kind == "kitti":
        from sfm_ros.sources.kitti.source import open_kitti

        return open_kitti(value, **options)
    from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet

    return SyntheticStreet(SyntheticConfig(seed=int(value), **options))
