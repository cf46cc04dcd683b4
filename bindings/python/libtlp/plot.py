"""A picture of a front: what less depth or fewer exchanges cost in quality.

    front = []
    libtlp.tune.make(model, ids, depth=20, point=front.append)
    libtlp.plot.front(front, "front.svg")

matplotlib is needed, and imported when a picture is drawn.
"""
import os
from typing import Any, Iterable, Optional

from libtlp.plan import Path

COLUMNS = ("depth", "exchanges", "n_rank", "kl", "top1_agreement", "ppl",
           "chosen")


def table(points: Iterable[Any]) -> "list[dict[str, Any]]":
    """A front as rows: the numbers of each point, and its plan as text."""
    return [{**{name: getattr(p, name) for name in COLUMNS},
             "plan": p.plan.text} for p in points]


def front(points: Iterable[Any], path: Optional[Path] = None, *,
          x: str = "depth", title: Optional[str] = None,
          axes: Any = None) -> Any:
    """Draw KL divergence over x ("depth" or "exchanges"), into a file or on
    axes of matplotlib; returns the axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise ImportError("libtlp.plot needs matplotlib: "
                          "pip install matplotlib") from e
    if x not in ("depth", "exchanges"):
        raise ValueError(f"x {x!r}: depth or exchanges expected")
    rows = sorted(table(points), key=lambda row: float(row[x]))
    if not rows:
        raise ValueError("the front has no points")
    if axes is None:
        axes = Figure(figsize=(6, 4), layout="constrained").subplots()
    axes.plot([row[x] for row in rows], [row["kl"] for row in rows], "o-",
              markersize=4)
    axes.set_xlabel("effective depth" if x == "depth"
                    else f"exchanges for a token, {rows[0]['n_rank']} ranks")
    axes.set_ylabel("KL divergence from the serial model, nats")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if title:
        axes.set_title(title)
    if path is not None:
        axes.figure.savefig(os.fspath(path))
    return axes
