"""One comparison of bad answers on two sides, looked at as often as one likes (docs/judge-statistics.md).

Two processes run over the same counts. *Proof* is slow and hard to fool: each side's counts are divided by a design
effect that grows with what it expects in a minute, and one minute can add only so much. *Suspicion* is quick and
sometimes wrong: a fixed division by two. Both bet that a bad answer comes from the canary more often than its share of
the answers explains, for six ratios at once.
"""

from dataclasses import dataclass, replace
from math import exp, log, log1p

RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""How much worse the canary may be: one bet for each."""
BLOCK = 60.0
"""Seconds after which evidence is banked; a block's is capped, so that no burst alone is proof."""
HALF_LIFE = 600.0
"""Seconds in which what stable did loses half its say in what is expected."""
PRIOR = 0.25
"""Squared spread of a side's bad answers from one minute to the next, before any has been seen."""
PRIOR_ACROSS_TIME = 1.0
"""The same where stable is remembered, not measured: what hits both sides is no longer cancelled."""
MOVES = 1.5
"""A service's rate of bad answers moves by itself within hours: a remembered one is taken for so much more."""
LEAST_EFFECT = 1.25
QUICK_EFFECT = 2.0
FLOOR = -4.0
"""No comparison is so good that a canary which goes bad later has to make up for all of it."""
QUICK_FLOOR = -2.0
"""The same for suspicion: one that turns bad late is suspected nearly as soon as one that was bad from the start."""
SUSPICIOUS = 100.0
CERTAIN = log(20.0)
"""Evidence of a comparison with "worse than is tolerated" at which the canary counts as no worse (95 %)."""
CALM_CAP = CERTAIN / 4
"""What a block may add to it: a quiet minute of the canary, or a burst on stable's side, shows little."""
TOLERATED_RATIO = 2.0
TOLERATED_SHARE = 0.005
LEAST_BAD, LEAST_ANSWERS, LEAST_SLOTS = 3, 50, 3
_SLOT = 10.0
_LOG_RATIOS = tuple(map(log, RATIOS))
_START = 10.0
_LONGEST_MEMORY = 60.0
_ZERO = (0.0,) * len(RATIOS)


@dataclass(frozen=True, slots=True)
class Rule:
    """How sure proof has to be: `alpha` is the chance of aborting a good version.

    `caps` is what a block may add for each ratio, as a share of log(1/alpha).
    """

    alpha: float = 0.01
    caps: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25, 0.5, 1.0)

    @property
    def needed(self) -> float:
        """Evidence that is proof."""
        return 1 / self.alpha


TAIL_CAPS = (0.2,) * len(RATIOS)
"""For tails of a distribution: a burst that doubles all times multiplies what lies in the tail by sixteen."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What one side answered: how many, and how many of them were bad."""

    bad: float = 0.0
    answers: float = 0.0

    def __add__(self, other: "Arm") -> "Arm":
        return Arm(self.bad + other.bad, self.answers + other.answers)


NOTHING = Arm()


@dataclass(frozen=True, slots=True)
class Block:
    """Both sides over some seconds."""

    canary: Arm = NOTHING
    stable: Arm = NOTHING
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that a comparison remembers; times in POSIX seconds.

    `banked` and `open` are the log evidence of closed blocks and of the one under way, per ratio. `spread` is how much
    a side's blocks vary, over how much the prior expects. `canary` and `stable` are totals of the time in which both
    answered. `calm` is log evidence that the canary is
    no worse than is tolerated, as a ratio and as a share, of closed blocks, `calm_open` of the one under way.
    """

    begun: float
    banked: tuple[float, ...] = _ZERO
    open: tuple[float, ...] = _ZERO
    quick: tuple[float, ...] = _ZERO
    stable_rate: Arm = NOTHING
    block: Block = Block()
    before: Block = Block()
    block_begun: float = 0.0
    spread_sum: float = 0.0
    spread_count: float = 0.0
    canary: Arm = NOTHING
    stable: Arm = NOTHING
    slots: int = 0
    last_slot: float = -1.0
    calm: tuple[float, float] = (0.0, 0.0)
    calm_open: tuple[float, float] = (0.0, 0.0)

    @property
    def expected(self) -> float:
        """Share of bad answers that stable has had lately."""
        return self.stable_rate.bad / self.stable_rate.answers if self.stable_rate.answers else 0.0

    @property
    def no_worse(self) -> bool:
        """Whether it is shown that the canary is not worse than is tolerated."""
        return any(had + min(now, CALM_CAP) >= CERTAIN for had, now in zip(self.calm, self.calm_open, strict=True))


def begin(at: float) -> Comparison:
    """A comparison that knows nothing."""
    return Comparison(begun=at, block_begun=at)


def advance(
    c: Comparison,
    at: float,
    seconds: float,
    canary: Arm,
    stable: Arm | None,
    rule: Rule,
    quick_effect: float = QUICK_EFFECT,
) -> Comparison:
    """What is known after another tick: both sides' answers in the `seconds` before `at`.

    `quick_effect` is what suspicion divides counts by. `stable` is None when nobody serves the stable version alone any
    more: then what it did before stands in. A tick longer than a block is a gap: a block of its own.
    """
    gap = seconds > BLOCK
    if gap:
        c = replace(_close(c, at - seconds, rule), before=Block())
    if not canary.answers and not (stable and stable.answers):
        # Nothing came in: nothing was learned, but time passed for the block.
        c = replace(c, block=replace(c.block, seconds=c.block.seconds + seconds))
    else:
        c = _weigh(_counted(c, at, seconds, canary, stable), canary, stable, quick_effect)
    return _close(c, at, rule) if gap or at - c.block_begun >= BLOCK else c


def evidence(c: Comparison, rule: Rule) -> float:
    """How many times better "the canary is worse" explains what was seen; at `rule.needed` it is proof."""
    top = log(rule.needed)
    banked = zip(c.banked, c.open, rule.caps, strict=True)
    return sum(exp(min(700.0, done + min(now, cap * top))) for done, now, cap in banked) / len(RATIOS)


def suspicion(c: Comparison) -> float:
    """The quick process's evidence; once it was SUSPICIOUS it begins anew (`unsuspicious`)."""
    return sum(exp(min(700.0, value)) for value in c.quick) / len(RATIOS)


def unsuspicious(c: Comparison) -> Comparison:
    """The same with its quick process begun anew."""
    return replace(c, quick=_ZERO)


def enough(c: Comparison) -> bool:
    """Whether so much was seen that it may count as proof: bad answers in several moments, among many answers."""
    return c.canary.bad >= LEAST_BAD and c.canary.answers >= LEAST_ANSWERS and c.slots >= LEAST_SLOTS


def _counted(c: Comparison, at: float, seconds: float, canary: Arm, stable: Arm | None) -> Comparison:
    """The tick's counts taken into the block, the totals and stable's rate."""
    seen = stable or NOTHING
    fade = 0.5 ** (seconds / HALF_LIFE) if stable is not None else 1.0
    rate = Arm(c.stable_rate.bad * fade + seen.bad, c.stable_rate.answers * fade + seen.answers)
    block = Block(c.block.canary + canary, c.block.stable + seen, c.block.seconds + seconds)
    slot = at // _SLOT
    new_slot = canary.bad > 0 and slot != c.last_slot
    return replace(
        c,
        stable_rate=rate,
        block=block,
        canary=c.canary + canary,
        stable=c.stable + (seen if canary.answers else NOTHING),
        slots=c.slots + new_slot,
        last_slot=slot if new_slot else c.last_slot,
    )


def _weigh(c: Comparison, canary: Arm, stable: Arm | None, quick_effect: float) -> Comparison:
    """The tick's evidence added to every process."""
    if not canary.answers or (stable is not None and not stable.answers):
        return c
    prior = PRIOR if stable is not None else PRIOR_ACROSS_TIME
    ours = _effect(c, prior, c.block.canary.answers + c.before.canary.answers)
    theirs = _effect(c, prior, c.block.stable.answers + c.before.stable.answers)
    gains, share = _gains(c, canary, stable, ours, theirs)
    quick, _ = _gains(c, canary, stable, quick_effect, quick_effect)
    opened = tuple(map(sum, zip(c.open, gains, strict=True)))
    ratio = c.calm_open[0] - gains[RATIOS.index(TOLERATED_RATIO)]
    return replace(
        c,
        open=opened,
        quick=tuple(max(QUICK_FLOOR, had + got) for had, got in zip(c.quick, quick, strict=True)),
        calm_open=(ratio, c.calm_open[1] + share),
    )


def _effect(c: Comparison, prior: float, answers: float) -> float:
    """By how much a side's bad answers come in clumps: divides counts and exposure alike."""
    seconds = c.block.seconds + c.before.seconds
    a_minute = c.expected * BLOCK * answers / seconds if seconds else 0.0
    return max(LEAST_EFFECT, _learned(c) * (1 + prior * a_minute))


def _learned(c: Comparison) -> float:
    return min(20.0, max(0.2, (_START + c.spread_sum) / (_START + c.spread_count)))


def _gains(
    c: Comparison, canary: Arm, stable: Arm | None, canary_effect: float, stable_effect: float
) -> tuple[tuple[float, ...], float]:
    """Log evidence for each ratio, and against a share of bad answers over what is tolerated."""
    bad, exposed = canary.bad / canary_effect, canary.answers / canary_effect
    tolerated, hoped = c.expected + TOLERATED_SHARE, c.expected + TOLERATED_SHARE / 4
    share = bad * log(hoped / tolerated) + exposed * (tolerated - hoped)
    if stable is not None:
        return bets(canary, stable, canary_effect, stable_effect), share
    # A remembered rate is known as well as the counts behind it: bet against its upper end.
    known = c.stable_rate
    if not known.answers:
        return _ZERO, 0.0
    rate = MOVES * (known.bad + 2 * (known.bad + 1) ** 0.5 + 1) / known.answers
    return tuple(bad * up - rate * exposed * (r - 1) for r, up in zip(RATIOS, _LOG_RATIOS, strict=True)), share


def bets(canary: Arm, stable: Arm, canary_effect: float, stable_effect: float) -> tuple[float, ...]:
    """Log evidence for each ratio from both sides' answers: given one bad answer, whose is it?

    Conditional on when bad answers come it is a coin whose bias is the canary's share of the answers, whatever the
    traffic does (Lindon and Malek, arXiv 2011.03567).
    """
    bad = canary.bad / canary_effect
    both = bad + stable.bad / stable_effect
    if not both:
        return _ZERO
    odds = canary.answers / canary_effect * stable_effect / stable.answers
    down = log1p(odds)
    return tuple(bad * up - both * (log1p(r * odds) - down) for r, up in zip(RATIOS, _LOG_RATIOS, strict=True))


def _close(c: Comparison, at: float, rule: Rule) -> Comparison:
    """Bank the block's evidence and learn from it how much each side varies."""
    top = log(rule.needed)
    banked = tuple(
        max(FLOOR, done + min(now, cap * top)) for done, now, cap in zip(c.banked, c.open, rule.caps, strict=True)
    )
    spread, count = c.spread_sum, c.spread_count
    for now, before in ((c.block.canary, c.before.canary), (c.block.stable, c.before.stable)):
        if now.answers and before.answers and now.bad + before.bad:
            spread, count = spread + _variation(now, before), count + 1
    if count > _LONGEST_MEMORY:
        spread, count = spread * _LONGEST_MEMORY / count, _LONGEST_MEMORY
    return replace(
        c,
        banked=banked,
        open=_ZERO,
        calm=(_calmer(c, 0), _calmer(c, 1)),
        calm_open=(0.0, 0.0),
        before=c.block,
        block=Block(),
        block_begun=at,
        spread_sum=spread,
        spread_count=count,
    )


def _calmer(c: Comparison, which: int) -> float:
    return max(-CERTAIN, c.calm[which] + min(c.calm_open[which], CALM_CAP))


def _variation(now: Arm, before: Arm) -> float:
    """Squared difference of two blocks' shares over what the prior expects of it."""
    v = 1 / now.answers + 1 / before.answers
    q = (now.bad + before.bad) / (now.answers + before.answers)
    return (now.bad / now.answers - before.bad / before.answers) ** 2 / (q * v * (1 + PRIOR * 2 * q / v))
