"""What each step of a rollout can find out, and how long that takes. Called by `cli.commands.plan`.

Nothing is computed by a formula of its own: the judge itself hears random answers, some dozens of times, and what it
says is counted. So a plan is right as long as the judge is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random
from statistics import median

from modelrollout.core.counters import Counters
from modelrollout.core.judge.memory import ALPHA
from modelrollout.core.judge.metrics import MetricMemory, hear_round, rule_of
from modelrollout.core.judge.process import BLOCK, Rule
from modelrollout.core.judge.rounds import Round
from modelrollout.core.spec import Metric, MetricKind, Spec, Step
from modelrollout.planning.answers import Behaviour, answer
from modelrollout.planning.chance import poisson

RUNS = 40
POWER = 0.9
"""A step catches what it proves in so many rollouts of all."""
LONGEST = 7200.0
"""Seconds: no step that would have to be longer is proposed."""
RATIOS = (2.0, 4.0, 20.0)
SHARES = (0.005, 0.02, 0.1)
"""The same where stable has no bad answers: whole shares."""
SLOWER = (1.25, 1.5, 2.0)
_HALVINGS = 7
_HOPELESS = 8
"""Where so many rollouts, the first ones, find nothing in LONGEST, hardly half of all would."""
_SOON, _LATER = 600.0, 30.0
"""After the first ten minutes looks half a minute apart are enough: one look moves a verdict by no more than that."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What is known of the stable version. `known` says where that is from."""

    rate: float
    behaviour: Behaviour
    known: str


@dataclass(frozen=True, slots=True)
class Worsening:
    """How the new version may be worse, by so much."""

    words: str
    size: float
    behaviour: Behaviour


@dataclass(frozen=True, slots=True)
class Found:
    """When a worsening is found from the step's beginning on, in seconds; infinite where it is not.

    `late` is the time within which POWER of all rollouts find it; `caught` is the share that does within the step.
    """

    worsening: Worsening
    suspected: float
    proven: float
    late: float
    caught: float


@dataclass(frozen=True, slots=True)
class Power:
    """What one metric can tell in a step. `smallest` is None where not even the worst there is would be caught."""

    metric: str
    kind: MetricKind
    smallest: Worsening | None
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step. `answers` is what the canary is expected to answer, `gpus` counts both sides."""

    step: Step
    answers: float
    pods: int
    gpus: int
    powers: tuple[Power, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole rollout; times in seconds. `gpus` is the most it needs at once, `unplanned` are metrics left out."""

    basis: Basis
    steps: tuple[StepPlan, ...]
    shortest: float
    longest: float
    gpus: int
    unplanned: tuple[str, ...]


def make_plan(spec: Spec, basis: Basis, *, seed: int = 1, ratios: Sequence[float] = RATIOS) -> Plan:
    """The plan of a rollout; how much more often than stable's the canary's answers are bad is asked for `ratios`."""
    strategy, replicas = spec.strategy, spec.serving.replicas
    metrics = spec.analysis.sequential if spec.analysis else ()
    planned = tuple(m for m in metrics if m.kind in {MetricKind.ERROR_RATE, MetricKind.LATENCY})
    trial = _Trial(
        basis=basis,
        share=1.0,
        every=spec.analysis.interval.total_seconds() if spec.analysis else BLOCK,
        alpha=ALPHA / max(1, len(metrics)),
        seed=seed,
    )
    steps = tuple(_step(spec, step, planned, trial, ratios) for step in strategy.steps)
    after = max(strategy.bake, strategy.drain).total_seconds()
    named = {metric.name for metric in spec.analysis.metrics} if spec.analysis else set[str]()
    return Plan(
        basis=basis,
        steps=steps,
        shortest=sum(step.duration.total_seconds() for step in strategy.steps) + after,
        longest=sum(step.max_duration.total_seconds() for step in strategy.steps) + after,
        gpus=max((item.gpus for item in steps), default=_gpus(spec, replicas)),
        unplanned=tuple(sorted(named - {metric.name for metric in planned})),
    )


def _step(spec: Spec, step: Step, metrics: tuple[Metric, ...], trial: "_Trial", ratios: Sequence[float]) -> StepPlan:
    pods, share = step.canary_replicas(spec.serving.replicas), step.weight / 100
    return StepPlan(
        step=step,
        answers=trial.basis.rate * share * step.duration.total_seconds(),
        pods=pods,
        gpus=_gpus(spec, spec.serving.replicas + pods),
        powers=tuple(_power(metric, step, replace(trial, share=share), ratios) for metric in metrics),
    )


def _gpus(spec: Spec, pods: int) -> int:
    return pods * spec.serving.gpu.count if spec.serving.gpu else 0


@dataclass(frozen=True, slots=True)
class _Trial:
    """How answers reach the judge: the canary's share of them, seconds between two looks, what a metric may cost."""

    basis: Basis
    share: float
    every: float
    alpha: float
    seed: int


def _power(metric: Metric, step: Step, trial: _Trial, ratios: Sequence[float]) -> Power:
    lasts = step.duration.total_seconds()
    found = tuple(_found(metric, worsening, lasts, trial) for worsening in _worsenings(metric, trial.basis, ratios))
    return Power(metric.name, metric.kind, _smallest(metric, lasts, trial), found)


def _worsenings(metric: Metric, basis: Basis, ratios: Sequence[float]) -> Iterator[Worsening]:
    if metric.kind is MetricKind.LATENCY:
        yield from (slower(basis, factor) for factor in SLOWER)
    elif basis.behaviour.errors:
        yield from (worse(basis, ratio * basis.behaviour.errors) for ratio in ratios)
    else:
        yield from (worse(basis, share) for share in SHARES)


def worse(basis: Basis, share: float) -> Worsening:
    """So many bad answers of all."""
    share, usual = min(1.0, share), basis.behaviour.errors
    ratio = share / usual if usual else inf
    words = f"{100 * share:.2g} % bad" + (f" ({ratio:.2g}x)" if usual else "")
    return Worsening(words, ratio if usual else share, replace(basis.behaviour, errors=share))


def slower(basis: Basis, factor: float) -> Worsening:
    """All answers take so many times as long."""
    changed = replace(basis.behaviour, median=basis.behaviour.median * factor)
    return Worsening(f"{factor:.3g}x as slow", factor, changed)


def _found(metric: Metric, worsening: Worsening, lasts: float, trial: _Trial) -> Found:
    """Rollouts are tried until it is clear that fewer than half of them would ever find it."""
    tried: list[tuple[float, float]] = []
    for number in range(RUNS):
        tried.append(_run(metric, worsening.behaviour, max(LONGEST, lasts), trial, number))
        missed = sum(proven == inf for _, proven in tried)
        if missed > RUNS / 2 or missed == len(tried) == _HOPELESS:
            break
    missing = [(inf, inf)] * (RUNS - len(tried))
    suspected, proven = zip(*tried, *missing, strict=True)
    late = sorted(proven)[round(POWER * RUNS) - 1]
    caught = sum(at <= lasts for at in proven) / RUNS
    return Found(worsening, median(suspected), median(proven), late, caught)


def _smallest(metric: Metric, lasts: float, trial: _Trial) -> Worsening | None:
    """By halving: the smallest worsening that POWER of all rollouts prove within the step."""
    if metric.kind is MetricKind.LATENCY:
        low, high = 1.0, 30.0
    else:
        low, high = max(trial.basis.behaviour.errors, 1e-5), 1.0

    def of_size(size: float) -> Worsening:
        return slower(trial.basis, size) if metric.kind is MetricKind.LATENCY else worse(trial.basis, size)

    if not _caught(metric, of_size(high), lasts, trial):
        return None
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        if _caught(metric, of_size(middle), lasts, trial):
            high = middle
        else:
            low = middle
    return of_size(high)


def _caught(metric: Metric, worsening: Worsening, lasts: float, trial: _Trial) -> bool:
    missed = 0
    for number in range(RUNS):
        missed += _run(metric, worsening.behaviour, lasts, trial, number)[1] > lasts
        if missed > (1 - POWER) * RUNS:
            return False
    return True


def _run(metric: Metric, new: Behaviour, until: float, trial: _Trial, number: int) -> tuple[float, float]:
    """When one rollout's judge first suspects a new version and when it has proof, infinite for never."""
    chance = Random(f"{trial.seed}/{number}")  # noqa: S311 - to be the same each time
    timed, rule = metric.kind is MetricKind.LATENCY, rule_of(metric, trial.alpha)
    memory, suspected = _before(metric, trial, rule, chance), inf
    warm, at = metric.warmup.total_seconds(), 0.0
    while at < until:
        seconds = trial.every if at < _SOON else max(trial.every, _LATER)
        at += seconds
        requests = trial.basis.rate * seconds
        stable = answer(chance, poisson(chance, requests * (1 - trial.share)), trial.basis.behaviour, timed=timed)
        canary = answer(chance, poisson(chance, requests * trial.share), new, timed=timed)
        sides = {} if trial.share == 1 else {"stable": stable}
        heard = Round(at, seconds, {"canary": canary if at > warm else Counters()}, sides or None)
        memory = hear_round(metric, memory, heard, rule)
        if memory.case is None:
            continue
        if suspected == inf and memory.case.suspected is not None:
            suspected = at
        if memory.broken or memory.case.proven is not None:
            return min(suspected, at), at
    return suspected, inf


def _before(metric: Metric, trial: _Trial, rule: Rule, chance: Random) -> MetricMemory:
    """What the judge knows after ten minutes of stable alone."""
    memory = MetricMemory()
    for minute in range(-9, 1):
        counts = answer(
            chance,
            poisson(chance, trial.basis.rate * BLOCK),
            trial.basis.behaviour,
            timed=metric.kind is MetricKind.LATENCY,
        )
        memory = hear_round(metric, memory, Round(minute * BLOCK, BLOCK, {}, {"stable": counts}), rule)
    return memory
