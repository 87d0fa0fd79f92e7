"""``python -m playground.node_agent --kubeconfig FILE --dir STATE``: plays the nodes of a playground until
it is ended.

Started inside the playground's box, where it may mount and where any address of 10.244.0.0/16 may be bound.
Below STATE it keeps ``pods/<namespace>_<pod>/<container>.log``, which stay, and ``run/<pod uid>/``, which
go with the pod.

Images: ``tensorflow/serving`` from any registry with any tag is the playground's model server;
``playground/sleep`` sleeps; ``playground/exec`` runs the container's own ``command``, as the box has it.
Nothing else can be pulled. A node whose annotation ``playground.modelrollout.io/offline`` is ``"true"``
loses its processes without a word.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from playground.node_agent.agent import Agent
from playground.node_agent.api import Api, access
from playground.node_agent.model import Settings
from playground.node_agent.nodes import specs


def main() -> None:
    """Reads the command line and runs until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m playground.node_agent", description="Plays a cluster's nodes.")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="how to reach the API server")
    parser.add_argument("--dir", type=Path, required=True, help="where logs and volumes are kept")
    parser.add_argument("--nodes", type=Path, help="YAML list of the nodes to play instead of gpu-0, mig-0 and cpu-0")
    parser.add_argument(
        "--configmap-lag",
        type=float,
        default=5.0,
        help="seconds after which a changed ConfigMap shows in pods",
    )
    parser.add_argument("--restart-backoff", type=float, default=2.0, help="seconds; the kubelet's are 10")
    parser.add_argument(
        "--offline-grace", type=float, default=5.0, help="seconds until an offline node is called NotReady"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings(
        state=options.dir.absolute(),
        configmap_lag=options.configmap_lag,
        restart_backoff=options.restart_backoff,
        offline_grace=options.offline_grace,
        nodes=specs(options.nodes),
    )
    asyncio.run(_run(options.kubeconfig, settings))


async def _run(kubeconfig: Path, settings: Settings) -> None:
    running = asyncio.current_task()
    if running is None:
        raise RuntimeError("a coroutine always runs in a task")
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        async with Api(access(kubeconfig)) as api:
            await Agent(api, settings).run()
    except asyncio.CancelledError:
        logging.getLogger(__name__).info("ended by a signal")


if __name__ == "__main__":
    main()
