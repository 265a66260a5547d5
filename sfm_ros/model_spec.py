"""The contract of a model bundle: its files, and the meaning of their inputs and outputs.

A bundle is a folder with ``model.yaml``, ``depth.onnx`` and ``pose.onnx``. Normalization,
disparity to depth and 6-vector to 4x4 are inside the graphs:

* depth: ``rgb`` uint8 (1, H, W, 3) -> ``depth`` float32 (1, H, W), along +z in network units;
* pose: ``window`` uint8 (1, N, H, W, 3), oldest first -> ``T_source_target`` float32
  (1, N-1, 4, 4), sources oldest first; the target is frame ``target_index``.

With ``pose_input: features`` the depth graph has a second output, ``features`` float32
(1, C, h, w) of the frame, and the pose graph takes ``features`` float32 (1, N, C, h, w), oldest
first, instead of ``window``.

A third graph is optional, ``multiview.onnx``: the measurement of inverse depth from several views,
without learned weights (`sfm_ros.depth.multiview` on a GPU). It takes ``target`` uint8 (1, H, W),
``sources`` uint8 (1, S, H, W), ``T_source_target`` float32 (1, S, 4, 4), ``K`` float32 (1, 3, 3),
``prior_inv_depth`` and ``prior_sigma`` float32 (1, H, W), and returns ``inv_depth`` and ``sigma``
float32 and ``valid`` bool, (1, H, W).

The other two graphs compute in FP32. A bundle may hold the same networks in other precisions, see
`sfm_ros.model_variants`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import ModelError, UnsafeFileError
from sfm_ros.geometry import inverse, nearest_rotation
from sfm_ros.model_variants import FP32_GRAPHS, GraphVariant, checked_fields, short, variants_from
from sfm_ros.safety import files, limits
from sfm_ros.safety.documents import read_yaml
from sfm_ros.safety.files import member

FORMAT = "sfm_ros.model/1"
SPEC_FILE = "model.yaml"
POSE_INPUTS = ("pixels", "features")
MULTIVIEW_FILE = "multiview.onnx"
MULTIVIEW_INPUTS = (
    "target", "sources", "T_source_target", "K", "prior_inv_depth", "prior_sigma",
)  # fmt: skip
MULTIVIEW_OUTPUTS = ("inv_depth", "sigma", "valid")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Describes the two networks of a bundle.

    Attributes:
        name: display name of the model.
        width, height: size of the network input in pixels.
        sequence_length: frames of a pose window, N.
        target_index: index of the target frame among them.
        training_fx: mean focal length of the training images at that size, pixels.
        metric: whether depth and translation were trained to be in meters.
        min_depth, max_depth: range of the depth graph's output, network units.
        licence, card: licence of the weights; the model card as text.
        depth_file, pose_file: the two graphs.
        depth_sha256, pose_sha256: their hashes.
        metrics: results measured at training time, by name.
        format: version of this contract.
        pose_input: what the pose graph looks at: ``pixels``, or ``features`` of the depth graph.
        variants: the same networks in other precisions, by their name.
        canonical_fx: focal length at that size of the camera whose lengths the graphs compute,
            pixels; those of another one follow by `sfm_ros.engines.lens`. 0: of any camera.
        canonical_center: whether that camera has its optical axis in the middle of the image.
        canonical_height_m: height above the road of the camera whose lengths the graphs compute;
            those of another one are in proportion. 0: of any camera.
        multiview_file, multiview_sha256: the third graph and its hash; empty if there is none.
    """

    name: str
    width: int
    height: int
    sequence_length: int
    target_index: int
    training_fx: float
    metric: bool
    min_depth: float
    max_depth: float
    licence: str = ""
    card: str = ""
    depth_file: str = "depth.onnx"
    pose_file: str = "pose.onnx"
    depth_sha256: str = ""
    pose_sha256: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    format: str = FORMAT
    pose_input: str = "pixels"
    variants: dict[str, GraphVariant] = field(default_factory=dict)
    canonical_fx: float = 0.0
    canonical_center: bool = False
    canonical_height_m: float = 0.0
    multiview_file: str = ""
    multiview_sha256: str = ""

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ModelError(f"the model's input is {self.width}x{self.height}, expected a size")
        if not (self.sequence_length >= 2 and 0 <= self.target_index < self.sequence_length):
            raise ModelError(
                f"the model has windows of {self.sequence_length} frames and target "
                f"{self.target_index}, expected at least 2 frames and a target among them"
            )
        if self.pose_input not in POSE_INPUTS:
            raise ModelError(
                f"the pose network looks at '{self.pose_input}', expected one of "
                f"{', '.join(POSE_INPUTS)}; this program may be older than the model"
            )

    @staticmethod
    def load(bundle: Path) -> ModelSpec:
        """Read ``model.yaml``, and check it and the hashes of all its graphs.

        Raises:
            ModelError: a file is missing, damaged, or follows another contract.
        """
        bundle = Path(bundle)
        spec = _from_values(_read_yaml(bundle), bundle / SPEC_FILE)
        for file, expected in spec._files():
            _check_hash(_member(bundle, file), expected)
        return spec

    def save(self, bundle: Path) -> ModelSpec:
        """Write ``model.yaml`` beside the graphs, with their hashes; returns the written spec."""
        folder = Path(bundle)
        hashed = dataclasses.replace(
            self,
            depth_sha256=sha256_of(folder / self.depth_file),
            pose_sha256=sha256_of(folder / self.pose_file),
            multiview_sha256=self.multiview_file and sha256_of(folder / self.multiview_file),
            variants={name: _hashed(v, folder) for name, v in self.variants.items()},
        )
        text = yaml.dump(
            dataclasses.asdict(hashed), Dumper=_SpecDumper, sort_keys=False, allow_unicode=True
        )
        (folder / SPEC_FILE).write_text(text, encoding="utf-8")
        return hashed

    @property
    def terms(self) -> str:
        """What the licence of the weights restricts, in a sentence; empty if nothing is known."""
        if "NC" not in self.licence.replace("-", " ").split():
            return ""
        return f"the weights of '{self.name}' are {self.licence}: for non-commercial use only"

    def assumption(self, camera_height_m: float) -> str:
        """What lengths depend on if the height of the camera is unknown (0); empty else."""
        if not self.canonical_height_m or camera_height_m:
            return ""
        return (
            f"'{self.name}' takes the camera to be {self.canonical_height_m:g} m above the road "
            "until scale.camera_height or TF states its height"
        )

    def graphs(self, variant: str = "fp32") -> GraphVariant:
        """The pair of graphs to run in a precision, see `sfm_ros.model_variants`.

        Raises:
            ModelError: the bundle has no such variant.
        """
        if variant in self.variants:
            return self.variants[variant]
        if variant in FP32_GRAPHS:
            return GraphVariant(
                depth_file=self.depth_file,
                pose_file=self.pose_file,
                depth_sha256=self.depth_sha256,
                pose_sha256=self.pose_sha256,
            )
        raise ModelError(
            f"the model {self.name} has no graphs for '{variant}'; it has "
            f"{', '.join(dict.fromkeys((*FP32_GRAPHS, *self.variants)))}; others are added by "
            "training/add_variants.py"
        )

    def _files(self) -> list[tuple[str, str]]:
        """Each graph with its expected hash, once."""
        pairs = (self.graphs(), *self.variants.values())
        both = [(pair.depth_file, pair.depth_sha256) for pair in pairs]
        both += [(pair.pose_file, pair.pose_sha256) for pair in pairs]
        if self.multiview_file:
            both.append((self.multiview_file, self.multiview_sha256))
        return list(dict.fromkeys(both))


def _hashed(variant: GraphVariant, folder: Path) -> GraphVariant:
    return dataclasses.replace(
        variant,
        depth_sha256=sha256_of(folder / variant.depth_file),
        pose_sha256=sha256_of(folder / variant.pose_file),
    )


class _SpecDumper(yaml.SafeDumper):
    """Writes multi-line text (the model card) as a readable block."""


def _dump_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_SpecDumper.add_representer(str, _dump_text)


def _member(bundle: Path, file: str) -> Path:
    try:
        return member(bundle, file)
    except UnsafeFileError as error:
        raise ModelError(f"the bundle {bundle} cannot be used: {error}") from error


def _read_yaml(bundle: Path) -> dict[str, Any]:
    path = _member(bundle, SPEC_FILE)
    try:
        values = read_yaml(path)
    except OSError as error:
        raise ModelError(
            f"no model at {path.parent}: cannot read {path.name} ({error.strerror}); expected a "
            "folder with model.yaml, depth.onnx and pose.onnx, written by training/export.py"
        ) from error
    except UnsafeFileError as error:
        raise ModelError(f"{path} is damaged: it is not valid YAML ({error})") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds {type(values).__name__}, expected keys and values")
    return values


def _from_values(values: dict[str, Any], path: Path) -> ModelSpec:
    found = values.get("format")
    if found != FORMAT:
        raise ModelError(
            f"{path} follows the contract {short(found)}, this program reads '{FORMAT}'; export "
            "the model again with the matching version"
        )
    variants = variants_from(values.pop("variants", {}), path)
    spec = ModelSpec(**checked_fields(ModelSpec, values, str(path)), variants=variants)
    if spec.sequence_length * spec.width * spec.height > limits.IMAGE_MEGAPIXELS * 1e6:
        raise ModelError(
            f"{path}: the input is {spec.sequence_length} frames of {spec.width}x{spec.height}, "
            f"expected at most {limits.IMAGE_MEGAPIXELS} million pixels in all"
        )
    if not (spec.training_fx > 0 and 0 < spec.min_depth < spec.max_depth):
        raise ModelError(
            f"{path}: training_fx is {spec.training_fx}, depth {spec.min_depth} to "
            f"{spec.max_depth}, expected positive and increasing numbers"
        )
    if spec.canonical_fx < 0 or spec.canonical_height_m < 0:
        raise ModelError(
            f"{path}: canonical_fx is {spec.canonical_fx}, canonical_height_m "
            f"{spec.canonical_height_m}, expected pixels and meters, or 0 for none"
        )
    return spec


def sha256_of(path: Path) -> str:
    """SHA-256 of a regular file, hexadecimal.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        return files.sha256_of(Path(path))
    except OSError as error:
        raise ModelError(f"cannot read the model file {path}: {error.strerror}") from error
    except UnsafeFileError as error:
        raise ModelError(f"cannot read the model file {path}: {error}") from error


def _check_hash(path: Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise ModelError(
            f"{path} is damaged or belongs to another bundle: its sha256 is {found[:12]}…, "
            f"model.yaml expects {expected[:12]}…; copy the bundle again"
        )


def window_increments(T_source_target: npt.NDArray, spec: ModelSpec) -> FloatArray:
    """Motion between neighboring frames, from the pose graph's output for one window.

    T_{k-1}_{k} = T_{k-1}_target @ inverse(T_{k}_target), where T_target_target is the identity.
    With three frames and the middle one as target, the newest increment is the inverse of T_2_1.

    Args:
        T_source_target: (N-1, 4, 4), sources oldest first.
        spec: contract of the graph.

    Returns:
        (N-1, 4, 4) float64 with orthogonal rotations; all NaN if the input is not finite, for the
        output checks to report.
    """
    T = np.asarray(T_source_target, dtype=np.float64)
    if not np.all(np.isfinite(T)):
        return np.full_like(T, np.nan)
    T_frame_target = np.insert(T, spec.target_index, np.eye(4), axis=0)
    for transform in T_frame_target:
        transform[:3, :3] = nearest_rotation(transform[:3, :3])
    return T_frame_target[:-1] @ inverse(T_frame_target[1:])
