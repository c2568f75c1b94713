"""What the node takes of the machine: an address, folders, a cgroup, rules; and giving all of it back."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import string
import subprocess
import time
from pathlib import Path

from hack.cluster import layout, pki, processes, tools
from hack.cluster.steps import Failed, Log

_CGROUPS = Path("/sys/fs/cgroup")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_TEMPLATES = layout.HERE / "config"


def prepare(log: Log) -> None:
    """Folders, configuration, certificates, address, forwarding, cgroup.

    A cluster does not change while it is in use: one with other versions or another configuration is kept as it is
    until `down`. One that was not completed is created again.
    """
    if os.geteuid() != 0:
        raise Failed("the node uses this machine's network and cgroups: run as root")
    stamp = layout.RUN / "made-from"
    made_from = tools.digest(_TEMPLATES, *_binaries(), str(_settings()))
    if stamp.exists() and stamp.read_text() != made_from:
        log.note = "its versions or configuration differ from this checkout's; run `cluster down` first to replace it"
        return
    if layout.RUN.exists() and not stamp.exists():
        give_back()
    for folder in (layout.BIN, layout.LOGS, layout.RULES, layout.S3_DATA / layout.S3_BUCKET):
        folder.mkdir(parents=True, exist_ok=True)
    for template in (t for t in _TEMPLATES.rglob("*") if t.is_file() and "jobset" not in t.parts):
        target = layout.CONFIG / template.relative_to(_TEMPLATES)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = string.Template(template.read_text()).substitute(_settings())
        # Left alone when it is right: kube-proxy ends itself when its configuration is written.
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
    pki.make()
    log.run("ip", "address", "replace", f"{layout.NODE_IP}/32", "dev", "lo")
    was = layout.RUN / "ip_forward"
    if not was.exists():
        was.write_text(_FORWARDING.read_text())
    _FORWARDING.write_text("1")
    for cgroup in _cgroups():
        cgroup.mkdir(exist_ok=True)
        # A new cgroup weighs as much as one process of the host; a node's pods are not to starve beside the tests.
        for name, weight in (("cpu.shares", 8192), ("cpu.weight", 800)):
            if (cgroup / name).exists():
                (cgroup / name).write_text(str(weight))
    stamp.write_text(made_from)


def _settings() -> dict[str, str]:
    """What the templates may name: the constants of the layout, and the image that holds a pod's namespaces."""
    constants = {k: str(v) for k, v in vars(layout).items() if k.isupper()}
    return {**constants, "PAUSE_IMAGE": tools.image_name(tools.binary("pause"))}


def _binaries() -> list[str]:
    """The programs that the node runs; other versions of other tools do not require a new node."""
    return [tools.go_folder(tools.binary(name)).name for name in tools.NODE_BINARIES]


def _cgroups() -> list[Path]:
    """Our cgroup in every hierarchy there is: one per controller in version 1, one in all in version 2."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS / layout.CGROUP]
    roots = (d for d in _CGROUPS.iterdir() if not d.is_symlink() and (d / "cgroup.procs").exists())
    return [root / layout.CGROUP for root in roots]


def give_back() -> None:
    """Ends every process of the cluster, its pods' too, and removes what it made; the cache stays.

    In an order in which nothing restarts what was just ended. Right at any moment: also in the middle of
    coming up, after everything was killed, and twice.
    """
    processes.stop([n for n in processes.noted() if n != "containerd"])
    _kill_pods()
    processes.stop(["containerd"])
    _unmount(layout.RUN)
    for link in (*_pod_links(), layout.BRIDGE):
        subprocess.run(["ip", "link", "delete", link], capture_output=True)
    subprocess.run(["ip", "address", "delete", f"{layout.NODE_IP}/32", "dev", "lo"], capture_output=True)
    for family in ("iptables", "ip6tables"):
        _remove_rules(family)
    for cgroup in _cgroups():
        for folder, _, _ in os.walk(cgroup, topdown=False):
            Path(folder).rmdir()
    for left in Path("/var/lib/cni/results").glob("captionless-cluster-*"):
        left.unlink()
    was = layout.RUN / "ip_forward"
    if was.exists():
        _FORWARDING.write_text(was.read_text())
    if layout.RUN.exists():
        shutil.rmtree(layout.RUN)


def _kill_pods() -> None:
    """Ends what runs in our cgroup, and the shims next to it, even if containerd is not running."""
    deadline = time.monotonic() + 120
    while found := [p for p in _pods_processes() if processes.began(p) is not None]:
        for pid in found:
            processes.send(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise Failed(f"these processes of pods do not exit: {found}")
        time.sleep(0.1)


def _pods_processes() -> set[int]:
    members = (file for cgroup in _cgroups() for file in cgroup.rglob("cgroup.procs"))
    found = {int(pid) for file in members for pid in file.read_text().split()}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"containerd-shim" in words[0] and str(layout.CONTAINERD_SOCKET).encode() in words:
            found.add(int(process.name))
    return found


def _unmount(folder: Path) -> None:
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], capture_output=True)


def _pod_links() -> list[str]:
    """Host ends of pods' network pairs on our bridge; they go with the pods' namespaces, but not at once."""
    command = ["ip", "-json", "link", "show", "master", layout.BRIDGE]
    listed = subprocess.run(command, capture_output=True, text=True)
    return [link["ifname"] for link in json.loads(listed.stdout or "[]")] if listed.returncode == 0 else []


def _remove_rules(family: str) -> None:
    """Leaves the machine's rules without the chains of kube-proxy, the kubelet and the CNI plugins."""
    if shutil.which(f"{family}-save") is None:
        return
    saved = subprocess.run([f"{family}-save"], capture_output=True, text=True).stdout.splitlines(keepends=True)
    ours = re.compile(r"(^:|-A |-j |-g )(KUBE-|CNI-)")
    kept = [line for line in saved if not ours.search(line)]
    if len(kept) < len(saved):
        subprocess.run([f"{family}-restore"], input="".join(kept), text=True, check=True, capture_output=True)
