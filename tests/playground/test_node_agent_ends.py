"""The node agent against a real control plane: how pods on its nodes end."""

from __future__ import annotations

import signal

from tests.playground.node_agent_lab import FOREVER, STUBBORN, Lab, processes, sh


def test_a_deleted_pod_may_say_goodbye(lab: Lab) -> None:
    """Its hook runs, then SIGTERM comes, and the pod goes when its process has."""
    script = f"trap 'echo bye; exit 0' TERM; {FOREVER}"
    hook = {"preStop": {"exec": {"command": ["touch", "/hook/ran"]}}}
    lab.pod(
        "polite",
        sh(script, "lab-polite"),
        terminationGracePeriodSeconds=60,
        lifecycle=hook,
        volumes=[{"name": "hook", "hostPath": {"path": str(lab.directory / "hook")}}],
        volumeMounts=[{"name": "hook", "mountPath": "/hook"}],
    )
    lab.ready("polite")
    assert processes("lab-polite")
    lab.delete("polite")
    lab.until("its end", lambda: lab.get("polite") is None)
    assert lab.log("polite") == "bye\n"
    assert (lab.directory / "hook" / "ran").exists()
    assert not processes("lab-polite")


def test_a_pod_that_ignores_the_goodbye_is_killed(lab: Lab) -> None:
    """After its grace period the process is killed and the pod goes."""
    lab.pod("stubborn", sh(STUBBORN, "lab-stubborn"))
    lab.ready("stubborn")
    lab.delete("stubborn")
    lab.until("its end", lambda: lab.get("stubborn") is None)
    assert not processes("lab-stubborn")


def test_a_pod_deleted_without_grace_is_killed_at_once(lab: Lab) -> None:
    """A forced deletion does not wait for the grace period, here an hour."""
    lab.pod("forced", sh(STUBBORN, "lab-forced"), terminationGracePeriodSeconds=3600)
    lab.ready("forced")
    lab.delete("forced", gracePeriodSeconds=0)
    lab.until("the end of its process", lambda: not processes("lab-forced"))


def test_a_deletion_can_be_shortened(lab: Lab) -> None:
    """A second deletion with less grace counts while the first one still waits."""
    lab.pod("hurried", sh(STUBBORN, "lab-hurried"), terminationGracePeriodSeconds=3600)
    lab.ready("hurried")
    lab.delete("hurried")
    lab.until("the stop", lambda: lab.events("hurried", "Killing"))
    assert processes("lab-hurried")
    lab.delete("hurried", gracePeriodSeconds=1)
    lab.until("its end", lambda: lab.get("hurried") is None)
    assert not processes("lab-hurried")


def test_an_agent_that_dies_takes_its_processes_along(lab: Lab) -> None:
    """A killed agent leaves no process; the next one starts the same pods again and counts a restart."""
    lab.pod("survivor", sh(STUBBORN, "lab-survivor"))
    lab.ready("survivor")
    before = lab.container("survivor")["restartCount"]
    (old,) = processes("lab-survivor")
    lab.kill(signal.SIGKILL)
    lab.until("the end of its process", lambda: not processes("lab-survivor"))
    lab.start()
    lab.until("the restart", lambda: (lab.running("survivor") or {}).get("restartCount") == before + 1)
    assert processes("lab-survivor") != [old]
    assert lab.container("survivor")["lastState"]["terminated"]["exitCode"] == 255


def test_a_silent_node_loses_its_processes(lab: Lab) -> None:
    """Offline, the processes are dead, node and pod unready; back online, the pod's container is started again."""
    lab.pod("silent", sh(FOREVER, "lab-silent"), node="lab-silent")
    lab.ready("silent")
    node = "/api/v1/nodes/lab-silent"
    lab.merge(node, {"metadata": {"annotations": {"playground.modelrollout.io/offline": "true"}}})
    lab.until("the end of its process", lambda: not processes("lab-silent"))
    lab.until("the node is lost", lambda: lab.node_condition("lab-silent", "Ready") == "Unknown")
    lab.until("the pod is unready", lambda: lab.condition("silent") == "False")
    lab.merge(node, {"metadata": {"annotations": {"playground.modelrollout.io/offline": None}}})
    lab.until("the node is back", lambda: lab.node_condition("lab-silent", "Ready") == "True")
    lab.ready("silent")
    assert processes("lab-silent")
    assert lab.container("silent")["restartCount"] == 1


def test_a_deleted_node_loses_its_processes(lab: Lab) -> None:
    """A node that is deleted runs nothing any more, and is not made again."""
    lab.pod("orphan", sh(FOREVER, "lab-orphan"), node="lab-gone")
    lab.ready("orphan")
    lab.request("DELETE", "/api/v1/nodes/lab-gone")
    lab.until("the end of its process", lambda: not processes("lab-orphan"))


def test_a_pod_leaves_nothing_but_its_logs(lab: Lab) -> None:
    """The directory of a pod goes with it; its log stays."""
    lab.pod("tidy", sh("echo kept; sleep 600"), volumes=[{"name": "e", "emptyDir": {}}])
    lab.ready("tidy")
    pod = lab.get("tidy")
    assert pod is not None
    place = lab.directory / "run" / pod["metadata"]["uid"]
    assert place.exists()
    lab.delete("tidy")
    lab.until("its end", lambda: lab.get("tidy") is None and not place.exists())
    assert lab.log("tidy") == "kept\n"
