"""The tools, each built from a pinned version into a separate folder in the cache.

A folder's name contains a digest of all that the tool is made from, and it appears by one rename: a
folder that exists is whole. Two Go modules pin (and by go.sum verify) what is built: `controlplane` has
the components of one Kubernetes version and what compiles against the same; `tools` has the rest.
Tools of one module share compiled packages, which is most of the work.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster import layout, schemas
from hack.cluster.steps import CACHED, Failed, Log, Step

PACKAGES = (
    "containerd", "runc", "containernetworking-plugins", "iptables", "conntrack", "socat", "iproute2", "openssl",
    "ca-certificates", "buildah", "debootstrap", "zstd", "prometheus", "prometheus-pushgateway",
)  # fmt: skip
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")


@dataclass(frozen=True)
class Go:
    """A binary: the module that pins it, the package, the names it is called by, and build tags."""

    name: str
    module: str
    package: str
    names: tuple[str, ...] = ()
    tags: str = ""


BINARIES = (
    Go("controlplane", "controlplane", ".", COMPONENTS),
    Go("coredns", "tools", "./coredns"),
    Go("pause", "tools", "./pause"),
    Go("versitygw", "tools", "github.com/versity/versitygw/cmd/versitygw"),
    Go("toxiproxy", "tools", "github.com/Shopify/toxiproxy/v2/cmd/server"),
    Go("jobset", "tools", "sigs.k8s.io/jobset"),
    # Debian's own has no discovery through Kubernetes; this one has that and no clouds'.
    Go(
        "prometheus",
        "tools",
        "github.com/prometheus/prometheus/cmd/prometheus",
        tags="remove_all_sd,enable_kubernetes_sd",
    ),
    Go("helm", "tools", "helm.sh/helm/v3/cmd/helm"),
    Go("helm-unittest", "tools", "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"),
    Go("kubeconform", "tools", "github.com/yannh/kubeconform/cmd/kubeconform"),
    Go("kube-score", "kube-score", "github.com/zegl/kube-score/cmd/kube-score"),
    Go("kstatus", "kstatus", "."),
)
NODE_BINARIES = ("controlplane", "coredns", "pause", "versitygw", "toxiproxy", "prometheus", "jobset")


def digest(*parts: str | bytes | Path) -> str:
    """Twelve hex digits over strings and the names and contents of files and folders."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for file in [part] if part.is_file() else sorted(p for p in part.rglob("*") if p.is_file()):
                sha.update(str(file.relative_to(part.parent)).encode() + b"\0" + file.read_bytes() + b"\0")
        else:
            sha.update((part.encode() if isinstance(part, str) else part) + b"\0")
    return sha.hexdigest()[:12]


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A scratch folder that becomes `folder` by one rename when the block ends well, and is removed otherwise."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        scratch.chmod(0o755)
        yield scratch
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def cached(name: str, key: str) -> Path:
    return layout.CACHE / f"{name}-{key}"


def go_folder(binary: Go) -> Path:
    module = layout.HERE / binary.module
    own = module / binary.package if binary.package.startswith("./") else module / "main.go"
    sources = [module / "go.mod", module / "go.sum", *([own] if own.exists() else [])]
    return cached(binary.name, digest(binary.package, *binary.names, binary.tags, *sources))


def build(binary: Go) -> Callable[[Log], None]:
    def action(log: Log) -> None:
        folder = go_folder(binary)
        if folder.exists():
            log.note = CACHED
            return
        if shutil.which("go") is None:
            raise Failed("building the cluster's tools requires Go 1.26 or newer, but `go` is not in PATH")
        flags = "-s -w"
        if binary.name == "controlplane":
            major, minor, _ = layout.KUBERNETES.removeprefix("v").split(".")
            version = "k8s.io/component-base/version"
            flags += f" -X {version}.gitVersion={layout.KUBERNETES} -X {version}.gitMajor={major}"
            flags += f" -X {version}.gitMinor={minor}"
        with whole(folder) as scratch:
            # What debuggers want is not compiled, as it is not linked either (-s -w).
            lean = ("-trimpath", "-gcflags=all=-dwarf=false", "-tags", binary.tags, "-ldflags", flags)
            options = ("-mod=readonly", *lean)
            # The compiler is a short-lived program with memory to spare: collecting its garbage less often is time won.
            where, static = layout.HERE / binary.module, {**os.environ, "CGO_ENABLED": "0", "GOGC": "400"}
            log.run("go", "build", *options, "-o", scratch / binary.name, binary.package, cwd=where, env=static)
            for name in binary.names:
                (scratch / name).symlink_to(binary.name)

    return action


def packages(log: Log) -> None:
    """Debian's packages; nothing is fetched when all are there. Their services are not started."""
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f=${Package} ${Status}\n", *PACKAGES], capture_output=True, text=True
    )
    installed = {line.split()[0] for line in listed.stdout.splitlines() if line.endswith("install ok installed")}
    if missing := sorted(set(PACKAGES) - installed):
        # Debian's way to keep a package's daemon from starting: https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
        policy = Path("/usr/sbin/policy-rc.d")
        ours = not policy.exists()
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        apt = ("apt-get", "-o", "DPkg::Lock::Timeout=300")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        try:
            log.run(*apt, "update", "-qq", env=quiet)
            log.run(*apt, "install", "-y", "-qq", "--no-install-recommends", *missing, env=quiet)
        finally:
            if ours:
                policy.unlink()
    else:
        log.note = CACHED


def linters_folder() -> Path:
    return cached("linters", digest(layout.HERE / "linters.txt"))


def linters(log: Log) -> None:
    """checkov, hadolint, yamllint and kubernetes-validate in an environment of their own: their pins are not ours."""
    if (folder := linters_folder()).exists():
        log.note = CACHED
        return
    with whole(folder) as scratch:
        log.run("python3", "-m", "venv", scratch / "venv")
        log.run(
            scratch / "venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv==0.13.8"
        )
        log.run(
            scratch / "venv/bin/uv", "pip", "install", "--quiet", "--python", scratch / "venv/bin/python",
            "--require-hashes", "-r", layout.HERE / "linters.txt",
        )  # fmt: skip
        # A console script names its interpreter by path, and the folder is about to be renamed.
        (scratch / "bin").mkdir()
        for script in ("checkov", "hadolint", "yamllint", "kubernetes-validate"):
            target = scratch / "venv/bin" / script
            text = target.read_bytes()
            target.write_bytes(text.replace(str(scratch).encode(), str(folder).encode()))
            (scratch / "bin" / script).symlink_to(f"../venv/bin/{script}")


def module(name: str, version: str) -> Path:
    """The folder of a Go module of which we need files only; checked by Go's checksum database."""
    with tempfile.TemporaryDirectory() as nowhere:
        done = subprocess.run(
            ["go", "mod", "download", "-json", f"{name}@{version}"], cwd=nowhere, capture_output=True, text=True
        )
    if done.returncode:
        raise Failed(f"go mod download {name}@{version}: {(done.stdout + done.stderr).strip()[-500:]}")
    return Path(json.loads(done.stdout)["Dir"])


def crds_folder() -> Path:
    return cached(
        "crds",
        digest(layout.JOBSET, image_name(binary("jobset")), layout.PROMETHEUS_OPERATOR, layout.HERE / "config/jobset"),
    )


def crds(log: Log) -> None:
    """Manifests of others: JobSet's controller with its CRD, and the CRDs of prometheus-operator's monitors."""
    if (folder := crds_folder()).exists():
        log.note = CACHED
        return
    kubectl = go_folder(BINARIES[0]) / "kubectl"
    with whole(folder) as scratch, tempfile.TemporaryDirectory() as overlay:
        shutil.copytree(layout.HERE / "config/jobset", overlay, dirs_exist_ok=True)
        shutil.copytree(module("sigs.k8s.io/jobset", layout.JOBSET) / "config", Path(overlay) / "upstream")
        name, tag = image_name(binary("jobset")).split(":")
        kustomization = Path(overlay) / "kustomization.yaml"
        kustomization.write_text(kustomization.read_text().replace("$IMAGE", name).replace("$TAG", tag))
        log.run(kubectl, "kustomize", overlay, "-o", scratch / "jobset.yaml")
        monitors = module("github.com/prometheus-operator/prometheus-operator", layout.PROMETHEUS_OPERATOR)
        for kind in ("podmonitors", "servicemonitors", "prometheusrules"):
            name = f"monitoring.coreos.com_{kind}.yaml"
            shutil.copyfile(monitors / "example/prometheus-operator-crd" / name, scratch / name)


def schema_folder(version: str) -> Path:
    return cached(f"schemas-{version}", digest(layout.HERE / "schemas.py"))


def kubernetes_schemas(version: str) -> Callable[[Log], None]:
    def action(log: Log) -> None:
        if (folder := schema_folder(version)).exists():
            log.note = CACHED
            return
        swagger = module("k8s.io/kubernetes", version) / "api/openapi-spec/swagger.json"
        with whole(folder) as scratch:
            schemas.from_swagger(json.loads(swagger.read_bytes()), scratch)

    return action


def crd_schemas_folder() -> Path:
    return cached("schemas-crds", digest(crds_folder().name, layout.HERE / "schemas.py"))


def crd_schemas(log: Log) -> None:
    if (folder := crd_schemas_folder()).exists():
        log.note = CACHED
        return
    with whole(folder) as scratch:
        for file in sorted(crds_folder().glob("*.yaml")):
            schemas.from_crds(manifests(file), scratch)


def manifests(file: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file, read where a YAML library is: in the linters' environment."""
    script = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout, default=str)"
    python = linters_folder() / "venv/bin/python"
    done = subprocess.run([python, "-c", script, file], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{file}: {done.stderr.strip().splitlines()[-1]}")
    return list(json.loads(done.stdout))


def helm_plugins_folder() -> Path:
    """A helm plugin folder for helm-unittest, in the place that HELM_PLUGINS names."""
    return cached("helm-plugins", digest(go_folder(binary("helm-unittest")).name))


def helm_plugins(log: Log) -> None:
    if (folder := helm_plugins_folder()).exists():
        log.note = CACHED
        return
    with whole(folder) as scratch:
        (scratch / "unittest").mkdir()
        program = go_folder(binary("helm-unittest")) / "helm-unittest"
        (scratch / "unittest/plugin.yaml").write_text(
            f'name: "unittest"\nversion: "{layout.HELM_UNITTEST.removeprefix("v")}"\n'
            f'usage: "unittest for helm charts"\ndescription: "Unit tests of charts"\ncommand: "{program}"\n'
        )


def binary(name: str) -> Go:
    return next(b for b in BINARIES if b.name == name)


def image_name(program: Go) -> str:
    """The name of the image of one program: its digest is the tag, so that a new one is another image."""
    return f"localhost/{program.name}:{go_folder(program).name.removeprefix(f'{program.name}-')}"


def link(target: Path) -> None:
    """Links every program that there is already into the folder `target`."""
    for folder in [*(go_folder(b) for b in BINARIES), linters_folder() / "bin"]:
        for program in folder.iterdir() if folder.exists() else ():
            place = target / program.name
            place.unlink(missing_ok=True)
            place.symlink_to(program)


def steps() -> list[Step]:
    """Every tool. The control plane is built first: it takes longest, and the node needs it."""
    return [
        Step("packages", packages),
        *(Step(f"build {b.name}", build(b), lane="go") for b in BINARIES),
        Step("linters", linters),
        Step("crds", crds, ("build controlplane",)),
        *(Step(f"schemas {v}", kubernetes_schemas(v), ("build controlplane",)) for v in layout.SCHEMA_VERSIONS),
        Step("schemas crds", crd_schemas, ("crds", "linters")),
        Step("helm plugins", helm_plugins, ("build helm-unittest",)),
    ]
