"""The node agent against a real control plane: what a pod on one of its nodes notices."""

from __future__ import annotations

from typing import Any

from tests.playground.node_agent_lab import FOREVER, Lab, sh


def config_volume(name: str, where: str) -> dict[str, Any]:
    """A ConfigMap mounted at `where`."""
    return {
        "volumes": [{"name": "config", "configMap": {"name": name}}],
        "volumeMounts": [{"name": "config", "mountPath": where}],
    }


def test_a_pod_gets_address_environment_and_volumes(lab: Lab) -> None:
    """The process sees its address, its own name and its ConfigMap at a path that this machine does not have."""
    lab.config_map("plain", greeting="hello")
    name_field = {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    lab.pod(
        "plain",
        sh(f"cat /etc/somewhere/greeting; echo; echo $NAME $POD_IP $1; {FOREVER}"),
        args=["$(NAME)"],
        env=[name_field],
        **config_volume("plain", "/etc/somewhere"),
    )
    lab.ready("plain")
    pod = lab.get("plain")
    assert pod is not None
    address = pod["status"]["podIP"]
    assert address.startswith("10.244.91.")
    lab.until("its output", lambda: lab.log("plain") == f"hello\nplain {address} plain\n")


def test_a_crashing_container_is_restarted_with_pauses(lab: Lab) -> None:
    """Restarts are counted; the wait and the last end, with the end of the log, are in the status."""
    lab.pod("crash", sh("echo no model; exit 7"), terminationMessagePolicy="FallbackToLogsOnError")

    def looping() -> dict[str, Any] | None:
        status = lab.container("crash")
        waits = status.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff"
        return status if waits and status["restartCount"] >= 2 else None

    last = lab.until("a crash loop", looping)["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (7, "Error", "no model\n")
    pod = lab.get("crash")
    assert pod is not None
    assert pod["status"]["phase"] == "Running"
    assert lab.condition("crash") == "False"
    assert lab.events("crash", "BackOff")


def test_a_program_that_does_not_exist_is_named(lab: Lab) -> None:
    """The container ends with 128, and its message names the program."""
    lab.pod("absent", ["/no/such/program"], restartPolicy="Never")
    lab.until("the failure", lambda: (lab.get("absent") or {}).get("status", {}).get("phase") == "Failed")
    ended = lab.container("absent")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "/no/such/program" in ended["message"]


def test_an_unknown_image_is_never_pulled(lab: Lab) -> None:
    """The container waits with the kubelet's words."""
    lab.pod("stranger", ["x"], image="nginx:latest")
    lab.until(
        "the back-off",
        lambda: lab.container("stranger").get("state", {}).get("waiting", {}).get("reason") == "ImagePullBackOff",
    )


def test_a_pod_waits_for_its_volumes(lab: Lab) -> None:
    """A missing ConfigMap is told by an event and keeps the container from being made until it exists."""
    lab.pod("early", sh(FOREVER), **config_volume("late", "/etc/late"))
    (message, *_) = lab.until("an event", lambda: lab.events("early", "FailedMount"))
    assert message == 'MountVolume.SetUp failed for volume "config" : configmap "late" not found'
    assert lab.container("early")["state"]["waiting"]["reason"] == "ContainerCreating"
    lab.config_map("late", key="value")
    lab.ready("early")


def test_a_changed_config_map_is_slow_unless_hastened(lab: Lab) -> None:
    """A pod whose annotation is changed sees the new ConfigMap at once, another one still has the old one."""
    lab.config_map("slow", text="old")
    for name in ("hastened", "patient"):
        lab.pod(name, sh("while true; do cat /config/text; echo; sleep 0.1; done"), **config_volume("slow", "/config"))
        lab.ready(name)
    lab.config_map("slow", text="new")
    lab.merge("/api/v1/namespaces/default/pods/hastened", {"metadata": {"annotations": {"x/refresh": "1"}}})
    lab.until("the new text", lambda: "new" in lab.log("hastened"))
    assert "old" in lab.log("patient")
    assert "new" not in lab.log("patient")


def test_a_restarted_container_reads_the_old_copy(lab: Lab) -> None:
    """A restart does not hasten the ConfigMap: the new process comes up on what the agent had written."""
    lab.config_map("stale", text="old")
    lab.pod("stale", sh("cat /config/text; echo; sleep 0.5"), **config_volume("stale", "/config"))
    lab.until("the first start", lambda: "old" in lab.log("stale"))
    lab.config_map("stale", text="new")
    count = lab.container("stale").get("restartCount", 0)
    lab.until("a restart", lambda: lab.container("stale")["restartCount"] > count)
    assert "new" not in lab.log("stale")


def test_a_claim_shows_its_volume_read_only(lab: Lab) -> None:
    """A bound claim is its volume's directory, here a part of it, and cannot be written where it is mounted so."""
    (lab.state.models / "lab").mkdir(parents=True)
    (lab.state.models / "lab" / "weights").write_text("42")
    storage = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadOnlyMany"], "storageClassName": "lab"}
    volume = {"metadata": {"name": "lab"}, "spec": {**storage, "hostPath": {"path": "/models"}}}
    lab.request("POST", "/api/v1/persistentvolumes", volume)
    wanted = {"requests": {"storage": "1Gi"}}
    claim = {"accessModes": ["ReadOnlyMany"], "storageClassName": "lab", "resources": wanted}
    lab.request(
        "POST",
        "/api/v1/namespaces/default/persistentvolumeclaims",
        {"metadata": {"name": "lab"}, "spec": {**claim, "volumeName": "lab"}},
    )
    lab.pod(
        "claimant",
        sh(f"cat /models/weights; touch /models/more || echo ' refused'; {FOREVER}"),
        volumes=[{"name": "m", "persistentVolumeClaim": {"claimName": "lab"}}],
        volumeMounts=[{"name": "m", "mountPath": "/models", "subPath": "lab", "readOnly": True}],
    )
    lab.until("its output", lambda: "42" in lab.log("claimant") and "refused" in lab.log("claimant"))
    assert not (lab.state.models / "lab" / "more").exists()


def test_a_readiness_probe_decides_about_ready(lab: Lab) -> None:
    """The pod is Ready while its port answers, and not when it does not; the container is not restarted for it."""
    server = "import os,sys;from http.server import *;HTTPServer((os.environ['POD_IP'],8090),SimpleHTTPRequestHandler)"
    lab.pod(
        "probed",
        sh(f'echo ok > /state/health; cd /state; exec python3 -c "{server}.serve_forever()"'),
        readinessProbe={"httpGet": {"path": "/health", "port": "web"}, "periodSeconds": 1, "failureThreshold": 1},
        ports=[{"name": "web", "containerPort": 8090}],
        volumes=[{"name": "state", "hostPath": {"path": str(lab.directory / "probed")}}],
        volumeMounts=[{"name": "state", "mountPath": "/state"}],
    )
    lab.ready("probed")
    (lab.directory / "probed" / "health").unlink()
    lab.until("unready", lambda: lab.condition("probed") == "False")
    assert lab.container("probed")["restartCount"] == 0
    assert "statuscode: 404" in str(lab.until("an event", lambda: lab.events("probed", "Unhealthy")))


def test_a_readiness_gate_holds_ready_back(lab: Lab) -> None:
    """Ready containers are not enough: the pod turns Ready when somebody sets the gate's condition."""
    lab.pod("gated", sh(FOREVER), readinessGates=[{"conditionType": "x.example/ok"}])
    lab.until("ready containers", lambda: lab.condition("gated", "ContainersReady") == "True")
    assert lab.condition("gated") == "False"
    lab.request(
        "PATCH",
        "/api/v1/namespaces/default/pods/gated/status",
        {"status": {"conditions": [{"type": "x.example/ok", "status": "True"}]}},
        "application/strategic-merge-patch+json",
    )
    lab.ready("gated")


def test_a_failing_liveness_probe_restarts_the_container(lab: Lab) -> None:
    """Too many failures end the process, which is started again."""
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    lab.pod("sick", sh(FOREVER), livenessProbe=probe)
    lab.until("a restart", lambda: lab.container("sick").get("restartCount", 0) >= 1)
    assert lab.container("sick")["lastState"]["terminated"]["exitCode"] in (137, 143)
    assert lab.events("sick", "Killing") == ["Container main failed liveness probe, will be restarted"]


def test_a_probe_that_cannot_run_is_a_failed_probe(lab: Lab) -> None:
    """An exec probe whose program does not exist keeps the container unready and alive."""
    lab.pod("probeless", sh(FOREVER), readinessProbe={"exec": {"command": ["/no/such/probe"]}, "periodSeconds": 1})
    assert "/no/such/probe" in str(lab.until("an event", lambda: lab.events("probeless", "Unhealthy")))
    assert lab.running("probeless")
    assert lab.condition("probeless") == "False"
