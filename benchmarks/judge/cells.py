"""What is tried: the cells of each part. Pure data; `trial` runs them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from benchmarks.judge.traces import BURSTS, CLUMPS, COMMON, MILD, POISSON, SWING, WILD, Noise, Scenario

TRAFFIC = (1.0, 10.0, 50.0, 1000.0)
SHARES = (0.01, 0.1, 0.25, 0.5)
BASES = (0.0, 0.001, 0.005, 0.05)
RAMP = (0.05, 0.1, 0.25, 0.5)
NOISES = (POISSON, COMMON, WILD, MILD, BURSTS, SWING)
TICKS = (15.0, 5.0, 1.0)


def identical(tick: float) -> list[Scenario]:
    """Canary and stable are the same: whoever takes it back is wrong."""
    plain = [
        Scenario(rps, base, (share,), tick, noise)
        for noise, rps, share, base in product(NOISES, TRAFFIC, SHARES, BASES)
    ]
    return plain + [Scenario(rps, base, RAMP, tick, SWING) for rps, base in product(TRAFFIC, BASES)]


def worse() -> list[Scenario]:
    """The canary is worse: from its first answer, and from half an hour later."""
    plain = (
        (POISSON, 5.0, (10.0, 50.0, 200.0, 1000.0)), (WILD, 15.0, (50.0, 1000.0)), (BURSTS, 5.0, (10.0, 50.0, 1000.0))
    )  # fmt: skip
    early = [
        Scenario(rps, 0.005, tick=tick, noise=noise, ratio=ratio)
        for noise, tick, traffic in plain
        for rps, ratio in product(traffic, (1.5, 2.0, 4.0, 10.0, 20.0, 30.0))
    ]
    fresh = [Scenario(rps, 0.0, added=added) for rps, added in product((10.0, 50.0), (0.005, 0.02, 0.1))]
    late = [Scenario(rps, 0.005, ratio=ratio, onset=1800.0) for rps, ratio in product((50.0, 1000.0), (2.0, 4.0, 20.0))]
    pods = [Scenario(rps, 0.005, ratio=1 + (ratio - 1) / 4) for rps, ratio in product((50.0, 1000.0), (4.0, 20.0))]
    shares = [Scenario(200, 0.005, (share,), ratio=4) for share in (0.01, 0.25, 0.5)]
    return early + fresh + late + pods + shares


_BUSY = Scenario(1000, 0.05, (0.25,))
_USUAL = Scenario(50, 0.005, (0.1,))
_OFTEN = Noise("bursts x5 for 30 s, every 230 s", burst=5, gap=200)
_CONTRACT = (BURSTS, _OFTEN)
_BEYOND = tuple(
    Noise(f"bursts x{size:g} for {seconds:g} s", burst=size, seconds=seconds)
    for size, seconds in ((10, 30), (5, 60), (3, 120), (5, 120), (20, 30))
)
_ALONE = (
    Noise("canary alone, CV 1 per tick", spread=1.0, canary_only=True),
    Noise("canary alone, bursts x5 for 30 s", burst=5.0, canary_only=True),
)
_CLUMPED = (Scenario(50, 0.001, (0.5,)), _USUAL, Scenario(1000, 0.005), Scenario(10, 0.005, (0.25,)))
GAPS = ((300.0, 340.0), (900.0, 1020.0), (1800.0, 2400.0))


def stress() -> list[Scenario]:
    """Identical versions where it is hard: longer bursts, clumps, restarts, four hours, no time before."""
    bursts = [replace(cell, noise=noise) for noise in (*_CONTRACT, *_BEYOND, *_ALONE) for cell in (_BUSY, _USUAL)]
    clumped = [replace(cell, noise=CLUMPS) for cell in _CLUMPED]
    hard = [replace(cell, noise=noise, tick=15.0) for noise in (WILD, BURSTS) for cell in (_BUSY, _USUAL)]
    gaps = [replace(cell, gaps=GAPS) for cell in hard]
    hours = [replace(cell, seconds=4 * 3600.0) for cell in hard]
    unprepared = [replace(cell, before=before) for cell in hard for before in (0.0, 60.0)]
    return bursts + clumped + gaps + hours + unprepared


_TOGETHER = Noise("both sides together, bursts x5 for 30 s", burst=5.0, common=True)
HALF_AN_HOUR = 1800.0


def remembered() -> list[Scenario]:
    """All answers are the new version's, as in a bake; the old one served for half an hour before."""
    services = tuple(product((10.0, 50.0, 1000.0), (0.001, 0.005, 0.05)))
    good = [
        Scenario(rps, base, (1.0,), 15.0, noise, before=HALF_AN_HOUR)
        for noise, (rps, base) in product((*NOISES, _TOGETHER), services)
    ]
    worse = [
        Scenario(rps, 0.005, (1.0,), 15.0, ratio=ratio, before=HALF_AN_HOUR)
        for rps, ratio in product((10.0, 50.0, 1000.0), (2.0, 4.0, 20.0))
    ]
    return good + worse


def certified() -> list[Scenario]:
    """Good versions and worse ones: which are said to be no worse than is tolerated?"""
    services = tuple(product((10.0, 50.0, 1000.0), (0.001, 0.005, 0.05)))
    return [
        Scenario(rps, base, (0.1,), 15.0, noise, ratio=ratio)
        for noise, ratio, (rps, base) in product((POISSON, WILD, BURSTS), (1.0, 1.5, 2.0, 3.0), services)
    ]
