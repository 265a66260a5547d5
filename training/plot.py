"""Loss curves of one or several runs as a picture.

python training/plot.py runs/a runs/b --names loss/total validation/score --out curves.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt

from sfm_ros.errors import SfmRosError, SourceError
from training.run_log import HISTORY, read_history


def smooth(values: npt.NDArray[np.float64], keep: float) -> npt.NDArray[np.float64]:
    """Exponential smoothing without a bias towards the first value; ``keep`` 0 changes nothing."""
    result = np.empty_like(values)
    mean = weight = 0.0
    for i, value in enumerate(values):
        mean = keep * mean + (1.0 - keep) * value
        weight = keep * weight + (1.0 - keep)
        result[i] = mean / weight
    return result


def plot(runs: Sequence[Path], names: Sequence[str], out: Path, keep: float) -> None:
    """Draw one panel a name, one line a run; the raw curve shines through behind the smooth one.

    Raises:
        SourceError: a run has no history, or none of the names in it.
    """
    histories = {run: read_history(run / HISTORY) for run in runs}
    for run, history in histories.items():
        if not any(name in history for name in names):
            known = ", ".join(sorted(history)) or "nothing"
            raise SourceError(f"{run / HISTORY} has none of {list(names)}; it holds {known}")
    figure, axes = plt.subplots(len(names), 1, figsize=(8, 3 * len(names)), squeeze=False)
    for axis, name in zip(axes[:, 0], names, strict=True):
        for run, history in histories.items():
            if name in history:
                steps, values = history[name]
                (line,) = axis.plot(steps, smooth(values, keep), label=run.name)
                axis.plot(steps, values, color=line.get_color(), alpha=0.2)
        axis.set(xlabel="step", ylabel=name)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    parser.add_argument("--names", nargs="+", default=["loss/total", "validation/score"])
    parser.add_argument("--out", type=Path, default=Path("curves.png"))
    parser.add_argument("--smoothing", type=float, default=0.9, help="0 (none) to below 1")
    options = parser.parse_args(arguments)
    try:
        plot(options.runs, options.names, options.out, options.smoothing)
    except (SfmRosError, OSError) as error:
        print(f"plot: {error}", file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
