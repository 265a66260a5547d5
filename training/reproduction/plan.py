"""The steps from recordings to a bundle, each a call of one of the programs in training/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.config import load_config
from training.fit.checkpoint import LAST

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
HELD_OUT = range(9100, 9106)
"""Seeds of rendered streets; training takes those below 9000."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A bundle that can be reproduced.

    Attributes:
        recipe: of the depth network; that of the motion is `geometry_pose`.
        licence: of the weights.
        knows, does_not_know: sentences of the model card.
    """

    recipe: str
    licence: str
    knows: str
    does_not_know: str


KINDS = {
    "kitti": Kind(
        recipe="geometry_kitti",
        licence="CC BY-NC-SA 3.0",
        knows="Streets as KITTI shows them, seen by day from a car; for non-commercial use only. "
        "The weights are derived from the KITTI data set (A. Geiger, P. Lenz, C. Stiller and "
        "R. Urtasun, Karlsruhe Institute of Technology), CC BY-NC-SA 3.0, and share its terms.",
        does_not_know="People, vehicles that drive, night, rain, indoor rooms, cameras that look "
        "sideways.",
    ),
    "road": Kind(
        recipe="geometry_road",
        licence="Apache-2.0",
        knows="Roads seen by day from a car.",
        does_not_know="People, vehicles that drive, night, rain, indoor rooms, cameras that look "
        "sideways.",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One call of a program.

    Attributes:
        name: unique in the plan.
        program: file in training/.
        arguments: of it.
        seconds: rough estimate on one core; 0: it depends on the recordings.
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be reproduced.

    Attributes:
        kind: a key of KINDS.
        out: folder of everything.
        recordings: arguments of prepare.py without the output folder, one list for each call.
        validation: further sets for `evaluated`.
        quick: a few frames and steps: shows that everything works, not a model.
        threads: of the training.
        jobs: of the preparation.
    """

    kind: str
    out: Path
    recordings: Sequence[Sequence[str]] = ()
    validation: dict[str, Sequence[str]] = field(default_factory=dict)
    quick: bool = False
    threads: int = 1
    jobs: int = 1

    @property
    def recipe(self) -> Path:
        """Of the depth network."""
        return RECIPES / f"{KINDS[self.kind].recipe}.yaml"

    @property
    def checkpoint(self) -> Path:
        """With both networks."""
        return self.out / "motion" / LAST

    @property
    def card(self) -> Path:
        """Text of the model card."""
        return self.out / "card.md"

    @property
    def bundle(self) -> Path:
        """The result."""
        return self.out / "bundle" / self.kind

    def figures(self, name: str) -> Path:
        """Result of an evaluation."""
        return self.out / "figures" / f"{name.replace(' ', '_')}.json"

    def evaluated(self) -> dict[str, Sequence[str]]:
        """Arguments of evaluate_depth.py that select images, by a name for the card."""
        seeds = HELD_OUT[:1] if self.quick else HELD_OUT
        streets = ("--synthetic", *map(str, seeds), "--frames", "2" if self.quick else "10")
        return {"held-out rendered streets": streets, **self.validation}

    def prepared(self) -> list[Path]:
        """The prepared sets, recordings first."""
        names = [*(["recordings"] if self.recordings else []), "traffic", "street"]
        return [self.out / "prepared" / name for name in names]


def plan(request: Request) -> list[Step]:
    """All steps up to the checkpoint of both networks and its figures."""
    return [
        *_preparation(request),
        _training(request, "depth", request.recipe),
        _training(
            request, "motion", RECIPES / "geometry_pose.yaml",
            "--init", str(request.out / "depth" / LAST), "--init-networks", "depth",
        ),
        *_evaluation(request),
    ]  # fmt: skip


def export_step(request: Request) -> Step:
    """The last step, when the card is written."""
    arguments = (
        "--checkpoint", str(request.checkpoint), "--out", str(request.bundle),
        "--name", request.kind, "--licence", KINDS[request.kind].licence,
        "--card", str(request.card),
    )  # fmt: skip
    return Step(name="export", program="export.py", arguments=arguments, seconds=60.0)


def _preparation(request: Request) -> list[Step]:
    *recordings, traffic, street = request.prepared()
    steps = [
        Step(
            name=f"recording {number}",
            program="prepare.py",
            arguments=(
                kind, str(recordings[0]), *rest, "--teacher", "geometry",
                "--jobs", str(request.jobs),
            ),
        )
        for number, (kind, *rest) in enumerate(request.recordings, start=1)
    ]  # fmt: skip
    seeds = ("100-101", "200-202") if request.quick else ("100-199", "200-299")
    frames = 8 if request.quick else 24
    for out, kind, seed in zip((traffic, street), ("traffic", "mixed"), seeds, strict=True):
        first, last = map(int, seed.split("-"))
        arguments = (
            "synthetic", str(out), "--kind", kind, "--seeds", seed, "--frames", str(frames),
            "--label-sky", "--jobs", str(request.jobs),
        )  # fmt: skip
        varied = ("--varied",) if request.kind == "road" else ()
        seconds = (last - first + 1) * (1.0 + 0.06 * frames)
        steps.append(
            Step(
                name=out.name,
                program="prepare.py",
                arguments=(*arguments, *varied),
                seconds=seconds,
            )
        )
    return steps


def _training(request: Request, name: str, recipe: Path, *more: str) -> Step:
    config = load_config(recipe)
    sets = request.prepared()
    ratios = config.data.set_ratios[-len(sets) :]
    values = {
        "data.prepared": f"[{', '.join(map(str, sets))}]",
        "data.set_ratios": f"[{', '.join(map(str, ratios))}]",
        "run.threads": str(request.threads),
    }
    steps = config.optim.steps
    if request.quick:
        steps = 30
        values |= {
            "optim.steps": str(steps),
            "optim.batch_size": "2",
            "optim.warmup": "5",
            "optim.weight_average": "0.8",
            "run.validate_every": str(steps),
            "data.validation_ratio": "0.4",
        }
    settings = [text for key, value in values.items() for text in ("--set", f"{key}={value}")]
    arguments = (
        "--config", str(recipe), "--out", str(request.out / name), "--resume", "auto",
        *settings, *more,
    )  # fmt: skip
    return Step(name=name, program="train.py", arguments=arguments, seconds=steps * 0.8)


def _evaluation(request: Request) -> list[Step]:
    return [
        Step(
            name=name,
            program="evaluate_depth.py",
            arguments=(
                "--checkpoint", str(request.checkpoint), *selection,
                "--json", str(request.figures(name)),
            ),
            seconds=60.0,
        )
        for name, selection in request.evaluated().items()
    ]  # fmt: skip
