"""`watch`: rollouts as they go, live. A terminal gets a picture that is drawn anew, anything else a line per change."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import click
from rich.console import ConsoleDimensions, RenderableType
from rich.live import Live

from modelrollout.cli.cluster import ROLLOUTS, Cluster
from modelrollout.cli.ending import said
from modelrollout.cli.errors import NotFound
from modelrollout.cli.feed import Feed, Want
from modelrollout.cli.flags import Surroundings, access_flags, all_namespaces_flag, name_argument, surroundings
from modelrollout.cli.sights import belongings, versions
from modelrollout.cli.views import overview, tree
from modelrollout.core.values import JSON

REDRAW_SECONDS = 0.5
"""Changes that come faster are drawn together."""
_CLOCK_SECONDS, _AGE_SECONDS = 1.0, 10.0
"""How often a picture in which nothing changed is drawn anew: one with the time left, one with ages alone."""
_ASK_SECONDS = 10.0
"""How often model servers are asked while nothing changes; after a change at once, but not more often than this / 4."""

Picture = Callable[[ConsoleDimensions], RenderableType | None]
"""What to show on a terminal of this size, None for what was shown before."""


@click.command()
@name_argument(required=False)
@access_flags
@all_namespaces_flag
def watch(cluster: Cluster, name: str) -> None:
    """Show NAME live with its pods, verdicts and the time left, or all rollouts in one table. Ctrl-C ends it."""
    if name:
        cluster.get(ROLLOUTS, name)  # a name that is wrong is told at once
    try:
        _one(cluster, name) if name else _all(cluster)
    except KeyboardInterrupt:
        return


def _one(cluster: Cluster, name: str) -> None:
    world, want = surroundings(), Want(ROLLOUTS, name)
    deployments, pods = belongings(name)
    servers = _Servers(cluster)
    with Feed(cluster, want, deployments, pods) as feed:

        def picture(_: ConsoleDimensions) -> RenderableType | None:
            rollout = next(iter(feed.objects(want).values()), None)
            if rollout is None:
                return None
            mine = tuple(feed.objects(pods).values())
            notes = [failure.message.splitlines()[0] for failure in feed.failures.values()]
            told = servers.versions(rollout, mine, notes)
            sight = tree.Sight(rollout, tuple(feed.objects(deployments).values()), mine, told, tuple(notes))
            return tree.show(sight, world.now())

        _draw(feed, want, world, picture, _CLOCK_SECONDS)


def _all(cluster: Cluster) -> None:
    world, want = surroundings(), Want(ROLLOUTS)
    with Feed(cluster, want) as feed:

        def picture(size: ConsoleDimensions) -> RenderableType:
            return overview.show(feed.objects(want).values(), world.now(), size.width, size.height)

        _draw(feed, want, world, picture, _AGE_SECONDS)


def _draw(feed: Feed, want: Want, world: Surroundings, picture: Picture, tick: float) -> None:
    console = world.console()
    if not console.is_terminal:
        _lines(feed, want)
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            changed = feed.wait(tick)
            _refused(feed, want)
            drawn = picture(console.size)
            if drawn is not None:
                live.update(drawn, refresh=True)
            if changed:
                time.sleep(REDRAW_SECONDS)


def _lines(feed: Feed, want: Want) -> None:
    """For logs and pipes: one line whenever an object has something new to say."""
    told: dict[tuple[str, str], str] = {}
    while True:
        feed.wait(_CLOCK_SECONDS)
        _refused(feed, want)
        for key, obj in feed.objects(want).items():
            line = said(obj)
            if told.get(key) != line:
                told[key] = line
                click.echo(line)


def _refused(feed: Feed, want: Want) -> None:
    """A watch that never was is told, and that the object is gone; one that breaks off is begun again meanwhile."""
    failure = feed.failures.get(want)
    if failure is not None and (isinstance(failure, NotFound) or not feed.objects(want)):
        raise failure


class _Servers:
    """What model servers answer: asked in the background, when pods or the rollout have changed, and now and then."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._background = ThreadPoolExecutor(1)
        self._asking: Future[None] | None = None
        self._told: Mapping[str, str] = {}
        self._notes: list[str] = []
        self._seen: tuple[str, ...] = ()
        self._asked = float("-inf")

    def versions(self, rollout: JSON, pods: tuple[JSON, ...], notes: list[str]) -> Mapping[str, str]:
        """By name of the pod, as of the last answers: a server that hangs delays no picture."""
        seen = tuple(item["metadata"]["resourceVersion"] for item in (rollout, *pods))
        since = time.monotonic() - self._asked
        due = since >= _ASK_SECONDS or (seen != self._seen and since >= _ASK_SECONDS / 4)
        if due and (self._asking is None or self._asking.done()):
            self._seen, self._asked = seen, time.monotonic()
            self._asking = self._background.submit(self._ask, rollout, pods)
        notes += self._notes
        return self._told

    def _ask(self, rollout: JSON, pods: tuple[JSON, ...]) -> None:
        notes: list[str] = []
        self._told, self._notes = versions(self._cluster, rollout, pods, notes), notes
