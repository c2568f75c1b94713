"""The node: the control plane, a container runtime, a kubelet, and the other services that the tests need.

Each component is a process of the host. A step starts a component that is not running and waits until it
serves, so running the steps twice changes nothing, and running them after everything was killed restores
it: etcd's data is in the run folder, and the kubelet adopts the pods that it finds.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from hack.cluster import image, layout, machine, processes, tools
from hack.cluster.steps import Failed, Log, Step


def kubectl(*arguments: str) -> str:
    """What kubectl prints to the cluster's admin; Failed with what it complains of."""
    command = [str(layout.BIN / "kubectl"), "--kubeconfig", str(layout.KUBECONFIG), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


# Whether something serves.


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500  # an S3 server denies the anonymous, and that is an answer
    except OSError:
        return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def _says(wanted: str, *arguments: str) -> bool:
    try:
        return kubectl(*arguments).strip() == wanted
    except Failed:
        return False


def _resolves(name: str) -> bool:
    """Whether the DNS server has an address for the name: one question in the wire format of RFC 1035."""
    labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split("."))
    question = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(0.5)
        try:
            asked.sendto(question, (layout.NODE_IP, 53))
            answer = asked.recv(512)
        except OSError:
            return False
    return answer[3] & 0x0F == 0 and int.from_bytes(answer[6:8], "big") > 0


# The components, from the bottom up.

_PATIENCE = 300.0
"""Seconds that a component may take to serve: on an idle machine it takes a few, and a busy one is no failure."""


def _component(name: str, *command: str | Path, ready: Callable[[], bool], **env: str) -> Callable[[Log], None]:
    """A step that starts the process and waits until it serves."""

    def action(log: Log) -> None:
        if not processes.start(name, command, env):
            log.note = "running"
        processes.wait_for(name, ready, _PATIENCE, name)

    return action


def _etcd() -> Callable[[Log], None]:
    peer = "http://127.0.0.1:12380"
    return _component(
        "etcd",
        layout.BIN / "etcd",
        f"--data-dir={layout.RUN}/etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls={layout.ETCD}",
        f"--advertise-client-urls={layout.ETCD}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--auto-compaction-retention=1",
        "--log-level=warn",
        ready=lambda: _answers(f"{layout.ETCD}/health"),
    )


def _apiserver() -> Callable[[Log], None]:
    certs = layout.CERTS
    return _component(
        "kube-apiserver",
        layout.BIN / "kube-apiserver",
        f"--etcd-servers={layout.ETCD}",
        f"--advertise-address={layout.NODE_IP}",
        f"--bind-address={layout.NODE_IP}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={layout.SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--profiling=false",
        f"--client-ca-file={certs}/ca.crt",
        f"--tls-cert-file={certs}/apiserver.crt",
        f"--tls-private-key-file={certs}/apiserver.key",
        f"--kubelet-certificate-authority={certs}/ca.crt",
        f"--kubelet-client-certificate={certs}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={certs}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-signing-key-file={certs}/service-account.key",
        f"--service-account-key-file={certs}/service-account.pub",
        f"--audit-policy-file={layout.CONFIG}/audit-policy.yaml",
        f"--audit-log-path={layout.AUDIT_LOG}",
        "--audit-log-maxsize=1000",
        "--audit-log-maxbackup=1",
        ready=lambda: _says("ok", "get", "--raw=/readyz"),
    )


def _controller_manager() -> Callable[[Log], None]:
    return _component(
        "kube-controller-manager",
        layout.BIN / "kube-controller-manager",
        f"--kubeconfig={layout.CERTS}/kube-controller-manager.kubeconfig",
        f"--service-account-private-key-file={layout.CERTS}/service-account.key",
        f"--root-ca-file={layout.CERTS}/ca.crt",
        "--use-service-account-credentials=true",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        # Its many controllers otherwise wait for one another at 20 calls a second.
        "--kube-api-qps=100",
        "--kube-api-burst=200",
        # The only node is not lost because it is busy.
        "--node-monitor-grace-period=5m",
        ready=lambda: _listens(10257),
    )


def _scheduler() -> Callable[[Log], None]:
    return _component(
        "kube-scheduler",
        layout.BIN / "kube-scheduler",
        f"--kubeconfig={layout.CERTS}/kube-scheduler.kubeconfig",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        ready=lambda: _listens(10259),
    )


def _containerd(log: Log) -> None:
    """The container runtime; the first time after `down`, without the containers of an earlier cluster in its root."""
    first = not (layout.RUN / "containerd").exists()
    start = _component(
        "containerd",
        "containerd",
        "--config",
        layout.CONFIG / "containerd.toml",
        ready=lambda: "Server:" in image.ctr("version"),
    )
    start(log)
    if first and (left := image.ctr("containers", "list", "--quiet")):
        image.ctr("containers", "remove", *left)
        processes.stop(["containerd"])
        start(log)


def _programs(log: Log) -> None:
    """The node's own programs in its folder."""
    tools.link(layout.BIN)


def _images(log: Log) -> None:
    """Those that are in no registry: what holds a pod's namespaces, and JobSet's controller."""
    image.program(log, tools.binary("pause"), "/pause")
    image.program(log, tools.binary("jobset"), "/manager")


def _kubelet() -> Callable[[Log], None]:
    status = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    return _component(
        "kubelet",
        layout.BIN / "kubelet",
        f"--config={layout.CONFIG}/kubelet.yaml",
        f"--kubeconfig={layout.CERTS}/kubelet.kubeconfig",
        f"--root-dir={layout.RUN}/kubelet",
        f"--cert-dir={layout.RUN}/kubelet/pki",
        f"--node-ip={layout.NODE_IP}",
        f"--hostname-override={layout.NODE_NAME}",
        ready=lambda: _says("True", "get", "node", layout.NODE_NAME, "-o", status),
    )


def _proxy() -> Callable[[Log], None]:
    return _component(
        "kube-proxy",
        layout.BIN / "kube-proxy",
        f"--config={layout.CONFIG}/kube-proxy.yaml",
        ready=lambda: _answers("http://127.0.0.1:10256/livez"),
    )


def _dns() -> Callable[[Log], None]:
    return _component(
        "coredns",
        layout.BIN / "coredns",
        "-conf",
        layout.CONFIG / "Corefile",
        ready=lambda: _resolves("s3.storage.svc.cluster.local"),
    )


def _versitygw(log: Log) -> None:
    """The S3 server, with a user who may do nothing: for tests of denied access."""
    users = layout.RUN / "s3-users"
    users.mkdir(exist_ok=True)
    program, credentials = layout.BIN / "versitygw", (layout.S3_ACCESS_KEY, layout.S3_SECRET_KEY)
    serve = _component(
        "versitygw",
        program,
        "--port",
        layout.S3_BACKEND,
        "--iam-dir",
        users,
        "--quiet",
        "posix",
        layout.S3_DATA,
        ready=lambda: _answers(f"http://{layout.S3_BACKEND}"),
        **dict(zip(("ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"), credentials, strict=True)),
    )
    serve(log)
    admin = (program, "admin", "--endpoint-url", f"http://{layout.S3_BACKEND}")
    keys = {**os.environ, **dict(zip(("ADMIN_ACCESS_KEY", "ADMIN_SECRET_KEY"), credentials, strict=True))}
    listed = subprocess.run([*admin, "list-users"], env=keys, capture_output=True, text=True).stdout
    if layout.S3_DENIED_KEY not in listed.split():
        stranger = ("--access", layout.S3_DENIED_KEY, "--secret", layout.S3_DENIED_SECRET, "--role", "user")
        log.run(*admin, "create-user", *stranger, env=keys)


def _s3(log: Log) -> None:
    """S3 as everybody reaches it: through a proxy that can be cut."""
    host, _, port = layout.TOXIPROXY.partition(":")
    proxy = (layout.BIN / "toxiproxy", "-host", host, "-port", port)
    _component("toxiproxy", *proxy, ready=lambda: _answers(f"http://{layout.TOXIPROXY}/version"))(log)
    listen = layout.S3.removeprefix("http://")
    _toxiproxy("populate", [{"name": "s3", "listen": listen, "upstream": layout.S3_BACKEND, "enabled": True}])
    s3(True)
    processes.wait_for("S3", lambda: _answers(layout.S3), _PATIENCE, "toxiproxy")


def s3(on: bool) -> None:
    """Lets S3 answer, or refuses every connection to it and ends those there are."""
    _toxiproxy("proxies/s3", {"enabled": on})


def _toxiproxy(path: str, body: object) -> None:
    url, kind = f"http://{layout.TOXIPROXY}/{path}", {"Content-Type": "application/json"}
    try:
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), kind), timeout=5).close()
    except OSError as error:
        raise Failed(f"S3's proxy does not answer at {layout.TOXIPROXY} ({error}); is the cluster up?") from error


def _prometheus() -> Callable[[Log], None]:
    return _component(
        "prometheus",
        layout.BIN / "prometheus",
        f"--config.file={layout.CONFIG}/prometheus.yml",
        f"--storage.tsdb.path={layout.RUN}/prometheus",
        f"--web.listen-address={layout.NODE_IP}:9090",
        "--web.enable-lifecycle",
        "--log.level=warn",
        ready=lambda: _answers(f"{layout.PROMETHEUS}/-/ready"),
    )


def _pushgateway() -> Callable[[Log], None]:
    return _component(
        "pushgateway",
        "prometheus-pushgateway",
        f"--web.listen-address={layout.NODE_IP}:9091",
        "--persistence.file=",  # Debian's default keeps groups beyond the cluster's life
        ready=lambda: _answers(f"{layout.PUSHGATEWAY}/-/ready"),
    )


def _objects(log: Log) -> None:
    """What the host's services are called in the cluster, what they may read, and others' definitions."""
    kubectl_ = (layout.BIN / "kubectl", "--kubeconfig", layout.KUBECONFIG)
    given = ("-f", layout.CONFIG / "manifests", "-f", tools.crds_folder())
    log.run(*kubectl_, "apply", "--server-side", "--force-conflicts", *given)


def _jobset(log: Log) -> None:
    """JobSet's controller serves its webhooks, so that a JobSet can be made."""
    deployment = ("-n", "jobset-system", "deployment/jobset-controller-manager")
    kubectl("wait", "--for=condition=Available", f"--timeout={_PATIENCE:.0f}s", *deployment)


def steps() -> list[Step]:
    """What needs none of the programs that are built comes first: the image goes into containerd beside the builds."""
    built = (f"build {name}" for name in tools.NODE_BINARIES)
    return [
        Step("machine", machine.prepare, ("packages",)),
        Step("programs", _programs, ("machine", *built)),
        Step("etcd", _etcd(), ("programs",)),
        Step("apiserver", _apiserver(), ("etcd",)),
        Step("controller-manager", _controller_manager(), ("apiserver",)),
        Step("scheduler", _scheduler(), ("apiserver",)),
        Step("containerd", _containerd, ("machine",)),
        Step("node images", _images, ("containerd", "build pause", "build jobset"), lane="buildah"),
        Step("kubelet", _kubelet(), ("apiserver", "node images")),
        Step("kube-proxy", _proxy(), ("kubelet",)),
        Step("objects", _objects, ("apiserver", "crds")),
        Step("dns", _dns(), ("objects",)),
        Step("versitygw", _versitygw, ("programs",)),
        Step("s3", _s3, ("versitygw",)),
        Step("prometheus", _prometheus(), ("apiserver",)),
        Step("pushgateway", _pushgateway(), ("machine",)),
        Step("jobset", _jobset, ("objects", "kubelet", "kube-proxy", "controller-manager", "scheduler", "dns")),
    ]


# What is told of it.


def status() -> dict[str, str]:
    """What is running, by component."""
    found = {n: f"pid {pid}" if (pid := processes.running(n)) else "not running" for n in processes.noted()}
    if processes.running("kube-apiserver"):
        found["node"] = kubectl("get", "nodes", "--no-headers").strip() or "none"
    return found or {"cluster": "down"}


def environment() -> dict[str, str]:
    """The variables for access to the cluster; docs/cluster.md lists them."""
    return {
        "KUBECONFIG": str(layout.KUBECONFIG),
        "PATH": f"{layout.BIN}:$PATH",
        "HELM_PLUGINS": str(tools.helm_plugins_folder()),
        "AWS_ENDPOINT_URL": layout.S3,
        "AWS_ACCESS_KEY_ID": layout.S3_ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": layout.S3_SECRET_KEY,
        "AWS_DEFAULT_REGION": layout.S3_REGION,
        "CAPTIONLESS_TEST_IMAGE": layout.IMAGE,
        "CAPTIONLESS_TEST_BUCKET": layout.S3_BUCKET,
        "CAPTIONLESS_TEST_S3_IN_CLUSTER": layout.S3_IN_CLUSTER,
        "CAPTIONLESS_TEST_DENIED_KEY": layout.S3_DENIED_KEY,
        "CAPTIONLESS_TEST_DENIED_SECRET": layout.S3_DENIED_SECRET,
        "CAPTIONLESS_TEST_TOXIPROXY": f"http://{layout.TOXIPROXY}",
        "CAPTIONLESS_TEST_PROMETHEUS": layout.PROMETHEUS,
        "CAPTIONLESS_TEST_PROMETHEUS_RULES": str(layout.RULES),
        "CAPTIONLESS_TEST_PUSHGATEWAY": layout.PUSHGATEWAY,
        "CAPTIONLESS_TEST_AUDIT_LOG": str(layout.AUDIT_LOG),
        "CAPTIONLESS_TEST_SCHEMAS": ":".join(str(tools.schema_folder(v)) for v in layout.SCHEMA_VERSIONS),
        "CAPTIONLESS_TEST_CRD_SCHEMAS": str(tools.crd_schemas_folder()),
    }
