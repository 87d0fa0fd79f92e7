"""Draws a rollout: weight, both sides' bad answers and slow answers, and the evidence, over one clock.

Matplotlib does the drawing and is no dependency of the operator: it is imported when a picture is asked for, from the
extra `plots`. Called by `cli.commands`.
"""

import base64
import io
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelrollout.core.counters import Counters, quantile
from modelrollout.core.spec import MetricKind
from modelrollout.planning.plan import Plan
from modelrollout.planning.trace import Mark, Point, joined

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".html")
_MOST_POINTS = 120
_CALM = 30.0
"""Seconds that shares are drawn over: single looks jump too much to be read."""
_CANARY, _STABLE, _PROOF, _QUIET = "#d1495b", "#30638e", "#222222", "#8d99ae"
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "modelrollout",
}


class NoPlots(ImportError):
    """Matplotlib is not installed."""


def save(figure: "Figure", path: Path, title: str) -> None:
    """Write a picture; HTML is one file with the picture inside."""
    if path.suffix != ".html":
        figure.savefig(path, dpi=110, metadata=_undated(path.suffix))
        return
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=130, metadata=_undated(".png"))
    data = base64.b64encode(drawn.getvalue()).decode()
    picture = f'<img alt="{_plain(title)}" style="max-width:100%" src="data:image/png;base64,{data}">'
    path.write_text(f'<!doctype html>\n<meta charset="utf-8">\n<title>{_plain(title)}</title>\n{picture}\n')


def _undated(suffix: str) -> dict[str, Any]:
    """The same picture each time: no date in it."""
    return {"Date": None} if suffix == ".svg" else {"Software": None}


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def draw_rollout(title: str, points: Sequence[Point], marks: Sequence[Mark]) -> "Figure":
    """A rollout over time. Raises NoPlots."""
    span = points[-1].at - points[0].at if points else 0.0
    shown = joined(points, max(span / _MOST_POINTS, min(_CALM, span / 10)))
    names = sorted({name for point in shown for name in point.evidence})
    mpl = _library()
    with mpl.rc_context(_STYLE):
        figure: Figure = mpl.figure.Figure(figsize=(10, 9))
        axes = figure.subplots(4, 1, sharex=True, height_ratios=[1, 1.4, 1.4, 1.8])
        _weight(axes[0], points)
        _sides(axes[1], shown, _bad_share, "bad answers (%)")
        _sides(axes[2], shown, _p99, "99th percentile (ms)")
        _evidence(axes[3], points, names)
        axes[3].set_xlabel("minutes since the rollout began")
        for axis in axes:
            _mark(axis, marks, words=axis is axes[0])
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        figure.tight_layout()
    return figure


def _library() -> Any:
    """Matplotlib, with its figures alone: no window and no state that is shared. Raises NoPlots."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - only for those who want a picture
        import matplotlib.figure  # noqa: PLC0415
        import matplotlib.ticker  # noqa: PLC0415
    except ImportError as error:
        raise NoPlots("pictures need matplotlib: pip install 'modelrollout[plots]'") from error
    return mpl


def _minutes(points: Sequence[Point]) -> list[float]:
    return [point.at / 60 for point in points]


def _weight(axis: "Axes", points: Sequence[Point]) -> None:
    weights = [point.weight for point in points]
    axis.fill_between(_minutes(points), weights, step="post", color=_CANARY, alpha=0.25, linewidth=0)
    axis.step(_minutes(points), weights, where="post", color=_CANARY)
    axis.set_ylabel("weight (%)")
    axis.set_ylim(0, max(60.0, *weights, 0.0) * 1.35)


def _sides(axis: "Axes", points: Sequence[Point], value: Callable[[Counters], float | None], label: str) -> None:
    for name, color, side in (("stable", _STABLE, False), ("canary", _CANARY, True)):
        found = [value(point.canary if side else point.stable) for point in points]
        shown = [(at, height) for at, height in zip(_minutes(points), found, strict=True) if height is not None]
        axis.plot([at for at, _ in shown], [height for _, height in shown], color=color, label=name, linewidth=1.2)
    axis.set_ylabel(label)
    axis.set_ylim(bottom=0)
    axis.legend(loc="upper right", ncols=2)


def _bad_share(counts: Counters) -> float | None:
    return 100 * counts.bad / counts.answers if counts.answers else None


def _p99(counts: Counters) -> float | None:
    seconds = quantile(counts.buckets, 0.99)
    return None if seconds is None else 1000 * seconds


def _evidence(axis: "Axes", points: Sequence[Point], names: Sequence[str]) -> None:
    """Both processes of each metric on a logarithmic scale, and what each needs."""
    for index, name in enumerate(names):
        color = (_PROOF, "#2a9d8f", "#e9a03b", "#7b5ea7")[index % 4]
        found = [(point.at / 60, point.evidence[name]) for point in points if name in point.evidence]
        times = [at for at, _ in found]
        axis.plot(times, [max(item.proof, 1e-3) for _, item in found], color=color, label=f"{name}: proof")
        axis.plot(times, [max(item.suspicion, 1e-3) for _, item in found], color=color, label=f"{name}: suspicion",
                  linestyle=":")  # fmt: skip
    needed = {item.needed for point in points for item in point.evidence.values()}
    for level in sorted(needed):
        axis.axhline(level, color=_QUIET, linestyle="--", linewidth=1)
        axis.annotate(
            f"proof: {level:.0f}", (0.005, level), xycoords=("axes fraction", "data"), va="bottom", fontsize=8
        )
    axis.set_yscale("log")
    axis.set_ylabel("evidence")
    if names:
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, fontsize=8)


def _mark(axis: "Axes", marks: Sequence[Mark], *, words: bool) -> None:
    for index, mark in enumerate(marks):
        axis.axvline(mark.at / 60, color=_QUIET, linewidth=0.8, linestyle=":")
        if words:
            height = 0.97 - 0.13 * (index % 3)
            axis.annotate(f" {mark.text}", (mark.at / 60, height), xycoords=("data", "axes fraction"), va="top",
                          fontsize=7.5)  # fmt: skip


def draw_plan(title: str, plan: Plan) -> "Figure":
    """How long each step needs to prove a worsening of bad answers, beside how long it lasts. Raises NoPlots."""
    mpl = _library()
    colors = ("#d1495b", "#e9a03b", "#2a9d8f", "#30638e", "#7b5ea7")
    with mpl.rc_context(_STYLE):
        figure: Figure = mpl.figure.Figure(figsize=(8, 5))
        axis = figure.subplots()
        for index, item in enumerate(plan.steps):
            color = colors[index % len(colors)]
            for power in (power for power in item.powers if power.kind is MetricKind.ERROR_RATE):
                found = [entry for entry in power.found if isfinite(entry.proven)]
                sizes = [entry.worsening.size for entry in found]
                axis.plot(sizes, [entry.proven / 60 for entry in found], "o-", color=color, markersize=4,
                          label=f"{power.metric} at {item.step.weight} %")  # fmt: skip
                late = [(entry.worsening.size, entry.late / 60) for entry in found if isfinite(entry.late)]
                axis.plot([size for size, _ in late], [minutes for _, minutes in late], ":", color=color)
            axis.axhline(item.step.duration.total_seconds() / 60, color=color, linewidth=0.8, linestyle="--")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel(
            "bad answers of the canary, over stable's" if plan.basis.behaviour.errors else "share of bad answers"
        )
        axis.set_ylabel("minutes to proof")
        axis.annotate("solid: median; dotted: nine of ten; dashed: the step's duration", (0.02, 0.03),
                      xycoords="axes fraction", fontsize=8)  # fmt: skip
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
            scale.set_major_formatter("{x:g}")
            scale.set_minor_formatter("")
        if any(item.powers for item in plan.steps):
            axis.legend(loc="upper right")
        axis.set_title(title, loc="left", fontsize=11)
        figure.tight_layout()
    return figure
