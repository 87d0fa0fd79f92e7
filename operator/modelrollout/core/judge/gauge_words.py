"""From what is remembered of a gauge to its verdict, with the evidence in one line. Called by `verdict`."""

from modelrollout.core.analysis import Measurement, Verdict
from modelrollout.core.judge.gauges import FIRST_LOOK, Gauges, Growth, Look, tolerance
from modelrollout.core.spec import Limits, Metric


def gauge_verdict(metric: Metric, known: Gauges) -> Measurement:
    """What is said of the canary by a gauge. It raises no suspicion: it knows whole minutes only."""
    verdict = Verdict.INCONCLUSIVE
    if known.proven is not None:
        verdict = Verdict.FAIL
    elif known.passed:
        verdict = Verdict.PASS
    parts = [known.look and compared(metric.limits, known.look), known.growth and grown(metric.limits, known.growth)]
    words = "; ".join(part for part in parts if part) or "no minute is over in which both sides had traffic"
    return Measurement(metric.name, verdict, f"{metric.name} {verdict.upper()}: {words}")


def compared(limits: Limits, look: Look) -> str:
    """Both sides' medians, and how often the canary is beyond what is tolerated."""
    ratio, drop = tolerance(limits)
    beyond = f"more than {drop:g} under stable" if look.lower else f"over {ratio:g} times stable"
    values = f"canary median {look.canary:.4g}, stable {look.stable:.4g}"
    often = f"{beyond} in {100 * look.share:.0f} % of pairs of minutes"
    if look.minutes < FIRST_LOOK:
        return f"{values}, {often}, {look.minutes} of {FIRST_LOOK} min"
    sign = "<=" if look.p <= look.needed else "of"
    return f"{values}, {often}, p {look.p:.2g} {sign} {look.needed:.2g}, {look.minutes} min"


def grown(limits: Limits, growth: Growth) -> str:
    """How much the steepest pod grows."""
    allowed = f"maxGrowthPerMinute {limits.max_growth_per_minute:g}"
    return f"pod {growth.pod} grows by {growth.slope:.4g} a minute over {growth.minutes} min, {allowed}"
