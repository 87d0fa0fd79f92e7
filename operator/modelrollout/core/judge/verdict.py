"""From what the judge remembers of a metric to its verdict, with the evidence in one line."""

import re

from modelrollout.core.analysis import SPLIT, Measurement, Verdict
from modelrollout.core.judge.arms import described, distance
from modelrollout.core.judge.case import total_evidence
from modelrollout.core.judge.gauge_words import gauge_verdict
from modelrollout.core.judge.metrics import MetricMemory, rule_of
from modelrollout.core.judge.process import Arm, Comparison, Rule, evidence
from modelrollout.core.judge.split import LEAST, Split
from modelrollout.core.spec import Metric, MetricKind
from modelrollout.core.values import moment_of

MAX_ODD_PODS = 1
"""So many canary pods may be bad alone; when it happens again, it is the version's doing."""


def verdict_of(metric: Metric, memory: MetricMemory, at: float, alpha: float, suspicion: float) -> Measurement:
    """What is said of the canary at a moment (POSIX seconds). A suspicion stays so many seconds."""
    if metric.kind is MetricKind.GAUGE:
        return gauge_verdict(metric, memory.gauges)
    if memory.case is None:
        few = "stable has not answered enough to know which answers are slow"
        return Measurement(metric.name, Verdict.LOW_TRAFFIC, f"{metric.name}: {few}")
    rule = rule_of(metric, alpha)
    verdict = _verdict(metric, memory, at, suspicion)
    suspected = memory.case.suspected
    return Measurement(
        metric.name,
        verdict,
        f"{metric.name} {_words(metric, memory, verdict, at, rule)}",
        suspected=None if suspected is None else moment_of(suspected),
        odd=memory.odd,
        odd_stable=memory.stable_pods.odd,
    )


def _verdict(metric: Metric, memory: MetricMemory, at: float, suspicion: float) -> Verdict:
    case = memory.case
    assert case is not None
    if memory.broken or case.proven is not None or len(memory.odd) > MAX_ODD_PODS:
        return Verdict.FAIL
    if case.suspected is not None and at - case.suspected < suspicion:
        return Verdict.SUSPECT
    totals = case.comparisons[0]
    if min(totals.canary.answers, _known(totals)) < metric.min_requests:
        return Verdict.LOW_TRAFFIC
    return Verdict.PASS if case.passed else Verdict.INCONCLUSIVE


def _known(c: Comparison) -> float:
    """Answers that what is expected of stable rests on."""
    return max(c.stable.answers, c.stable_rate.answers)


def _words(metric: Metric, memory: MetricMemory, verdict: Verdict, at: float, rule: Rule) -> str:
    case = memory.case
    assert case is not None
    if memory.broken:
        last = sum((item.canary for item in memory.recent), Arm())
        words = f"{last.bad:.0f} of the canary's last {last.answers:.0f} answers bad"
        return f"{_loud(verdict)}: {words}; {_both(case.comparisons[0])}"
    if len(memory.odd) > MAX_ODD_PODS:
        return f"{_loud(verdict)}: canary pods {' and '.join(memory.odd)} were each worse than all others"
    index = max(range(len(case.comparisons)), key=lambda i: evidence(case.comparisons[i], rule))
    shown = case.comparisons[index]
    found = case.highest if case.proven is not None else total_evidence(case.comparisons, rule)
    sign = ">=" if case.proven is not None else "of"
    minutes = "" if memory.since is None else f", {_span(at - memory.since)}"
    odd = f"; without canary pod {memory.odd[0]}, which was worse than all others" if memory.odd else ""
    numbers = _both(shown, described(metric, memory.bounds, index)) + _apart(memory)
    return f"{_loud(verdict)}: {numbers}, evidence {found:.2g} {sign} {rule.needed:.0f}{minutes}{odd}"


def _loud(verdict: Verdict) -> str:
    """As people shout it: LOW TRAFFIC."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", verdict).upper()


def _apart(memory: MetricMemory) -> str:
    """How far a distribution is from stable's."""
    if not memory.shapes[0]:
        return ""
    furthest, index = distance(*memory.shapes)
    return f", KS {furthest:.3f}, PSI {index:.3f}"


def _both(c: Comparison, what: str = "bad") -> str:
    canary, stable = c.canary, c.stable if c.stable.answers else c.stable_rate
    words = f"canary {canary.bad:,.0f} {what} of {canary.answers:,.0f} ({_share(canary)})"
    words += f", stable {stable.bad:,.0f} of {stable.answers:,.0f} ({_share(stable)})"
    if canary.bad and stable.bad:
        words += f", ratio {canary.bad / canary.answers / (stable.bad / stable.answers):.2g}"
    return words


def _share(arm: Arm) -> str:
    return f"{arm.bad / arm.answers * 100:.2g} %" if arm.answers else "-"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def split_verdict(split: Split) -> Measurement:
    """Whether the canary gets the share that its weight says."""
    weight = split.weight
    if split.off is None:
        few = f"{split.answers:.0f} requests, {LEAST} needed to see the split"
        return Measurement(SPLIT, Verdict.LOW_TRAFFIC, few)
    detail = f"{split.share:.1%} of {split.answers:.0f} requests reached the canary, weight {weight} %"
    if split.off:
        return Measurement(SPLIT, Verdict.INCONCLUSIVE, f"SplitMismatch: {detail}")
    return Measurement(SPLIT, Verdict.PASS, detail)
