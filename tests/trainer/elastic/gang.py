"""A Job of `captionless train` on this machine: each pod a real command in a session of its own, with a pod's
environment. A pod dies as a container does, all its processes at once."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from captionless.runtime import env
from captionless.spec.load import build_spec
from captionless.stages import chain
from captionless.store.manifest import InputRecord, MadeFrom
from captionless.store.packed import embedded_rows
from tests import pace
from tests.embedded import publish
from tests.flow.kill import descendants

TRAIN: dict[str, Any] = {
    "weights": ["i2i"],
    "steps": 400,
    "batchSize": 8,
    "points": 32,
    "checkpointEvery": 5,
    "encoder": {"width": 4, "nsample": 4, "radius": 0.4, "dropout": 0.3},
    "optim": {"lr": 5e-3, "warmup": 0.1},
    "collectiveTimeout": pace.scaled(8),
}


def prepare(
    folder: Path,
    data: Path | None,
    output: str = "",
    nodes: int = 2,
    resources: dict[str, Any] | None = None,
    **train: Any,
) -> Path:
    """A spec in `folder` that trains on what `synthetic.write` left in `data`, or on what is at `output` already."""
    folder.mkdir(parents=True, exist_ok=True)
    if data is not None:
        for name in ("embed", "similarity"):
            (folder / name).symlink_to(data / name)
    spec = {**_spec(output or str(folder)), "train": {**TRAIN, **train}}
    spec["resources"] = {"nodes": nodes, "processes": 1, **(resources or {})}
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def _spec(output: str) -> dict[str, Any]:
    data = {"source": {"kind": "parametric"}}
    return {"name": "tiny", "output": output, "data": data, "clip": {"model": "captionless-demo"}}


def vouch(data: Path) -> None:
    """States that what `synthetic.write` left in `data` was made by the stages before training, for specs of
    `prepare`."""
    spec = build_spec({**_spec(str(data)), "train": TRAIN})
    inputs = {name: InputRecord(chain.settings(spec, name), "") for name in ("list", "pack")}
    embed = str(data / "embed")
    publish(embed, embedded_rows, earlier=True, made_from=MadeFrom(chain.settings(spec, "embed"), inputs))
    for metric in ("i2i", "i2l"):
        made_from = MadeFrom(chain.settings(spec, f"similarity-{metric}"), chain.recorded({"embed": embed}))
        publish(str(data / "similarity" / metric), made_from=made_from)


def steps(folder: Path) -> list[int]:
    """The steps of the stored checkpoints."""
    names = [path.name for path in folder.glob("train/i2i-seed0/checkpoints/step-*")]
    return sorted(int(name.split("-")[1]) for name in names)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Pods:
    """The pods of a training Job, by index."""

    spec: Path
    environ: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for index in list(self.running):
            self.kill(index)

    def log(self, index: int) -> Path:
        return self.spec.parent / f"pod-{index}.log"

    def said(self, index: int) -> str:
        """What all pods with this index have written."""
        return self.log(index).read_text()

    def start(self, index: int) -> None:
        """Start the pod, or the one that replaces it."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("CAPTIONLESS_")}
        environ |= self.environ
        environ |= {env.RENDEZVOUS: f"127.0.0.1:{self.port}", env.INDEX: str(index)}
        environ[env.PARENT] = str(os.getpid())  # killed tests leave no pods behind
        command = [sys.executable, "-m", "captionless", "train", str(self.spec), "--weights", "i2i", "--seed", "0"]
        with open(self.log(index), "ab") as log:
            self.running[index] = subprocess.Popen(
                command, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def kill(self, index: int) -> None:
        """Kill every process of the pod, as the end of its container does."""
        pod = self.running.pop(index)
        for pid in [pod.pid, *descendants(pod.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        pod.wait()

    def terminate(self, index: int) -> int:
        """SIGTERM to the pod's first process, as its deletion sends it; returns the exit code."""
        self.running[index].send_signal(signal.SIGTERM)
        return self.wait(index)

    def wait(self, index: int) -> int:
        """The exit code of the pod, once it has ended."""
        code = self.running[index].wait(pace.seconds(120))
        del self.running[index]
        return code

    def ranks(self, index: int) -> list[int]:
        """Process ids of the pod's ranks."""
        found = []
        for pid in descendants(self.running[index].pid):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"captionless.trainer.worker" in words and b"torch.distributed.run" not in words:
                    found.append(pid)
        return found

    def rounds(self, index: int) -> int:
        """How many rounds pods with this index have begun."""
        return len(re.findall(r"^train i2i seed 0: round \d+ as node", self.said(index), re.M))

    def listens(self) -> bool:
        """Whether node 0 can be reached."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def await_checkpoint(self) -> None:
        """Until there is a newer checkpoint than now."""
        now = max(steps(self.spec.parent), default=0)
        pace.wait_for("a newer checkpoint", lambda: max(steps(self.spec.parent), default=0) > now, 120)
