"""The steps from recordings to a bundle, each a call of one of the programs in training/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.config import TrainConfig, load_config
from training.fit.checkpoint import LAST

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
HELD_OUT = range(9100, 9106)
"""Seeds of rendered streets; training takes those below 9000."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Streets:
    """A set of rendered streets.

    Attributes:
        name: of the set.
        kind: as --kind of prepare.py.
        first, last: seeds.
        frames: of each street.
        varied: of all lenses, camera heights and pitches.
    """

    name: str
    kind: str
    first: int
    last: int
    frames: int = 12
    varied: bool = False


STREETS = (
    Streets(name="traffic", kind="traffic", first=100, last=239),
    Streets(name="street", kind="mixed", first=300, last=379, frames=16),
    Streets(name="traffic_varied", kind="traffic", first=500, last=639, varied=True),
    Streets(name="street_varied", kind="mixed", first=700, last=839, varied=True),
)
_PRETRAINING = {"optim.steps": "600", "optim.schedule": "step"}
"""On rendered streets alone: meters and vehicles first, then the teacher, which has gaps."""
_ONE_CAMERA = {
    "data.scale_crop": "1.0",
    "optim.steps": "450",
    "optim.learning_rate": "5.0e-4",
    "optim.encoder_learning_rate": "1.5e-4",
    "optim.weight_average": "0.99",
}
"""At last without crops, so that the row of the horizon is that of the camera in use: on a drive
that it had never seen this brought abs_rel from .138 to .126, and from .103 to .098 if scaled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A bundle that can be reproduced.

    Attributes:
        recipe: of the depth network; that of the motion is `geometry_pose`.
        licence: of the weights.
        streets: number of `STREETS`, from the first, that its depth learns from.
        one_camera: whether it is for cameras that are mounted like those of the recordings.
        knows, does_not_know: sentences of the model card.
    """

    recipe: str
    licence: str
    streets: int
    one_camera: bool
    knows: str
    does_not_know: str


KINDS = {
    "kitti": Kind(
        recipe="geometry_kitti",
        licence="CC BY-NC-SA 3.0",
        streets=3,
        one_camera=True,
        knows="Streets as KITTI shows them, seen by day from a car; for non-commercial use only. "
        "The weights are derived from the KITTI data set (A. Geiger, P. Lenz, C. Stiller and "
        "R. Urtasun, Karlsruhe Institute of Technology), CC BY-NC-SA 3.0, and share its terms.",
        does_not_know="People, vehicles that drive, night, rain, indoor rooms, cameras that look "
        "sideways.",
    ),
    "road": Kind(
        recipe="geometry_road",
        licence="Apache-2.0",
        streets=4,
        one_camera=False,
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
        batch_size: of the training; 0: those of the recipes.
        init: bundle or checkpoint that the depth starts with, empty for ImageNet.
    """

    kind: str
    out: Path
    recordings: Sequence[Sequence[str]] = ()
    validation: dict[str, Sequence[str]] = field(default_factory=dict)
    quick: bool = False
    threads: int = 1
    jobs: int = 1
    batch_size: int = 0
    init: str = ""

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
        names = ["recordings"] if self.recordings else []
        return [self.out / "prepared" / name for name in (*names, *(s.name for s in self.streets))]

    @property
    def streets(self) -> Sequence[Streets]:
        """The rendered streets."""
        return STREETS[: KINDS[self.kind].streets]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One training on the way, which starts with the depth network of the one before.

    Attributes:
        name: of its folder.
        recipe: file.
        sets: prepared sets it learns from.
        changes: of the recipe.
    """

    name: str
    recipe: Path
    sets: Sequence[Path]
    changes: dict[str, str] = field(default_factory=dict)


def plan(request: Request) -> list[Step]:
    """All steps up to the checkpoint of both networks and its figures."""
    stages = _stages(request)
    first = ("--init", request.init, "--init-networks", "depth") if request.init else ()
    starts = [first, *(_from(request, stage.name) for stage in stages[:-1])]
    return [
        *_preparation(request),
        *(_training(request, *both) for both in zip(stages, starts, strict=True)),
        *_evaluation(request),
    ]


def _stages(request: Request) -> list[Stage]:
    sets, depth, motion = request.prepared(), request.recipe, RECIPES / "geometry_pose.yaml"
    rendered = sets[-len(request.streets) :]
    of_motion = [path for path in sets if path.name != STREETS[-1].name]
    last_of_depth = Stage(name="one_camera", recipe=depth, sets=sets, changes=_ONE_CAMERA)
    return [
        Stage(name="rendered", recipe=depth, sets=rendered, changes=_PRETRAINING),
        Stage(name="depth", recipe=depth, sets=sets),
        *([last_of_depth] if KINDS[request.kind].one_camera else []),
        Stage(name="motion", recipe=motion, sets=of_motion),
    ]


def _from(request: Request, name: str) -> tuple[str, ...]:
    """Start with the depth network of an earlier run."""
    return "--init", str(request.out / name / LAST), "--init-networks", "depth"


def export_step(request: Request) -> Step:
    """The last step, when the card is written."""
    arguments = (
        "--checkpoint", str(request.checkpoint), "--out", str(request.bundle),
        "--name", request.kind, "--licence", KINDS[request.kind].licence,
        "--card", str(request.card),
    )  # fmt: skip
    return Step(name="export", program="export.py", arguments=arguments, seconds=60.0)


def _preparation(request: Request) -> list[Step]:
    recordings = request.out / "prepared" / "recordings"
    steps = [
        Step(
            name=f"recording {number}",
            program="prepare.py",
            arguments=(
                kind, str(recordings), *rest, "--teacher", "geometry",
                "--jobs", str(request.jobs),
            ),
        )
        for number, (kind, *rest) in enumerate(request.recordings, start=1)
    ]  # fmt: skip
    return [*steps, *(_rendering(request, streets) for streets in request.streets)]


def _rendering(request: Request, streets: Streets) -> Step:
    last = streets.first + 1 if request.quick else streets.last
    frames = 8 if request.quick else streets.frames
    arguments = (
        "synthetic", str(request.out / "prepared" / streets.name), "--kind", streets.kind,
        "--seeds", f"{streets.first}-{last}", "--frames", str(frames), "--label-sky",
        "--jobs", str(request.jobs), *(("--varied",) if streets.varied else ()),
    )  # fmt: skip
    seconds = (last - streets.first + 1) * (1.0 + 0.06 * frames)
    return Step(name=streets.name, program="prepare.py", arguments=arguments, seconds=seconds)


def _training(request: Request, stage: Stage, start: Sequence[str]) -> Step:
    config = load_config(stage.recipe)
    ratios = config.data.set_ratios[-len(stage.sets) :]
    values = {
        "data.prepared": f"[{', '.join(map(str, stage.sets))}]",
        "data.set_ratios": f"[{', '.join(map(str, ratios))}]",
        "run.threads": str(request.threads),
        **({"optim.batch_size": str(request.batch_size)} if request.batch_size else {}),
        **stage.changes,
        **(_quick(config) if request.quick else {}),
    }
    settings = [text for key, value in values.items() for text in ("--set", f"{key}={value}")]
    arguments = (
        "--config", str(stage.recipe), "--out", str(request.out / stage.name),
        "--resume", "auto", *settings, *start,
    )  # fmt: skip
    steps = int(values.get("optim.steps", config.optim.steps))
    return Step(name=stage.name, program="train.py", arguments=arguments, seconds=steps * 1.0)


def _quick(config: TrainConfig) -> dict[str, str]:
    steps = 30
    return {
        "optim.steps": str(steps),
        "optim.batch_size": str(max(2, len(config.data.set_ratios))),
        "optim.warmup": "5",
        "optim.weight_average": "0.8",
        "run.validate_every": str(steps),
        "data.validation_ratio": "0.4",
    }


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
