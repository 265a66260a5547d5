"""Which frames of a source enter a set, and how."""

from __future__ import annotations

from dataclasses import dataclass

TEACHERS = ("none", "geometry")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameOptions:
    """Which frames of a source are taken and how they are resampled.

    Attributes:
        width, height: size of the set, pixels.
        input: see ``PreprocessConfig.input``.
        fit: see `ImagePreparer`.
        every: take each K-th frame.
        limit: most frames of a source; None takes all.
        min_change: drop frames whose mean gray difference (of 255) to the last kept one is
            smaller.
        max_gap: seconds without a frame that end a sequence.
        teacher: one of `TEACHERS`; teaches frames that have no ground-truth depth.
        camera_height: meters above the road, stored in the set and needed by the teacher; None: as
            the source states it.
    """

    width: int
    height: int
    input: str
    fit: str
    every: int
    limit: int | None
    min_change: float
    max_gap: float
    teacher: str = "none"
    camera_height: float | None = None

    def text(self) -> str:
        """The options as the provenance states them."""
        names = ("every", "limit", "min_change", "max_gap", "input")
        text = ", ".join(f"{name} {getattr(self, name)}" for name in names)
        text = text if self.fit == "crop" else f"{text}, fit {self.fit}"
        if self.teacher == "none" and self.camera_height is None:
            return text
        height = "as stated" if self.camera_height is None else f"{self.camera_height:g} m"
        teacher = "" if self.teacher == "none" else f", teacher {self.teacher}"
        return f"{text}{teacher}, camera height {height}"
