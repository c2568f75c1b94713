"""Images without a registry: built by buildah, handed to containerd.

The base cannot be pulled everywhere, so it is Debian by debootstrap. Between buildah and containerd is an
OCI layout: a folder of blobs by digest. Only layers that containerd does not have are in it, so a change of
the code moves megabytes past gigabytes of dependencies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hack.cluster import layout, processes, tools
from hack.cluster.steps import CACHED, Failed, Log, Step

_INCOMING = "localhost/captionless:incoming"
_BASE = "localhost/debian-python:bookworm"
_PACKAGE = "localhost/captionless-package:dev"
_PACKAGES = ("ca-certificates", "python3", "python3-venv")
_LAYOUT = layout.CACHE / "oci"
_LAYERS = layout.CACHE / "layers.json"
_STORE = layout.CONTAINERD_ROOT / "io.containerd.content.v1.content/blobs/sha256"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_NEEDED = 20 * 2**30
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def _buildah(log: Log, *arguments: str | Path, cwd: Path | None = None) -> None:
    log.run(
        *_command(*arguments), cwd=cwd, env={**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}
    )


def _command(*arguments: str | Path) -> list[str]:
    store = ("--root", layout.BUILDAH / "root", "--runroot", layout.BUILDAH / "run")
    return [str(a) for a in ("buildah", *store, *arguments)]


def _has(name: str) -> bool:
    return subprocess.run(_command("inspect", "--type", "image", name), capture_output=True).returncode == 0


def space(log: Log) -> None:
    """Fails if the image would fill the disk: the dependencies exist as layer, blob and snapshot."""
    layout.CACHE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(layout.CACHE).free
    if not _known() and free < _NEEDED:
        raise Failed(
            f"{layout.CACHE}: the image needs {_NEEDED >> 30} GB of free space, but only {free >> 30} are available; "
            "free some, or set CAPTIONLESS_CLUSTER_CACHE to another disk"
        )


def base(log: Log) -> None:
    """Debian with Python as an image: what `python:slim` is where images can be pulled."""
    name = f"{_BASE}-{tools.digest(*_PACKAGES)}"
    if _has(name):
        log.note = CACHED
        return
    with tempfile.TemporaryDirectory(dir=layout.CACHE) as scratch:
        root = Path(scratch) / "root"
        log.run("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", "bookworm", root)
        for left in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / left)
            (root / left).mkdir()
        log.run("tar", "--create", "--file", Path(scratch) / "root.tar", "--directory", root, ".")
        shutil.rmtree(root)
        (Path(scratch) / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
        _buildah(log, "bud", "--quiet", "--tag", name, scratch)


def build(log: Log) -> None:
    """The project's image, from the repository's Dockerfile; unchanged layers are taken from buildah's store.

    The stage that holds the package alone has a name too, so that pruning spares what it can be renewed
    from, and drops the gigabytes of dependencies that were.
    """
    _buildah(log, "rm", "--all")  # what an interrupted build left
    volumes = ("--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro") if _CERTIFICATES.exists() else ()
    based = ("--build-arg", f"BASE_IMAGE={_BASE}-{tools.digest(*_PACKAGES)}")
    for target, name in (("slim", layout.IMAGE), ("package", _PACKAGE)):
        options = ("--layers", "--network", "host", "--target", target, "--tag", name)
        _buildah(log, "bud", *options, *based, *volumes, layout.REPOSITORY)
    _buildah(log, "rmi", "--prune", "--force")


def export(log: Log) -> None:
    """The image in an OCI layout, its layers compressed, without those that containerd has.

    buildah takes a file named by a layer's uncompressed digest for that layer and does not write it again.
    So an empty file stands for each layer that containerd has, and in the manifest its place is then given
    to what that layer was compressed to when it was brought.
    """
    shutil.rmtree(_LAYOUT, ignore_errors=True)
    (_LAYOUT / "blobs/sha256").mkdir(parents=True)
    known = {plain: layer for plain, layer in _known().items() if _STORE.joinpath(_hex(layer["digest"])).exists()}
    for plain in known:
        _blob(plain).touch()
    compression = ("--compression-format", "zstd", "--compression-level", "1")
    _buildah(log, "push", "--quiet", "--format", "oci", *compression, layout.IMAGE, f"oci:{_LAYOUT}:dev")
    index = json.loads((_LAYOUT / "index.json").read_bytes())
    manifest = json.loads(_blob(index["manifests"][0]["digest"]).read_bytes())
    plain_digests = json.loads(_blob(manifest["config"]["digest"]).read_bytes())["rootfs"]["diff_ids"]
    layers = [known.get(layer["digest"], layer) for layer in manifest["layers"]]
    body = json.dumps({**manifest, "layers": layers}).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    _blob(digest).write_bytes(body)
    described = {"mediaType": _MANIFEST, "digest": digest, "size": len(body)}
    named = {**described, "annotations": {"io.containerd.image.name": _INCOMING}}
    (_LAYOUT / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    _LAYERS.write_text(json.dumps(dict(zip(plain_digests, layers, strict=True))))


def bring(log: Log) -> None:
    """Hands containerd the blobs that it does not have, and names the image once it is unpacked.

    A pod that started from an image which has its name but is not unpacked yet would unpack all of it by itself.
    """
    manifest = json.loads((_LAYOUT / "index.json").read_bytes())["manifests"][0]["digest"]
    content = json.loads(_blob(manifest).read_bytes())
    wanted = [manifest, content["config"]["digest"], *(layer["digest"] for layer in content["layers"])]
    blobs = [_blob(digest) for digest in wanted if _blob(digest).exists()]
    files = [_LAYOUT / "oci-layout", *blobs, _LAYOUT / "index.json"]
    command, pipe, quiet = [*_CTR, "images", "import", "-"], subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=quiet, stderr=pipe) as importer:
        assert importer.stdin is not None
        assert importer.stderr is not None
        with contextlib.suppress(BrokenPipeError), tarfile.open(fileobj=importer.stdin, mode="w|") as tar:
            for file in files:
                tar.add(file, arcname=str(file.relative_to(_LAYOUT)))
        with contextlib.suppress(BrokenPipeError):
            importer.stdin.close()
        said = importer.stderr.read().decode().strip()
    if importer.returncode:
        raise Failed(f"containerd could not import the image: {said}")
    moved = sum(file.stat().st_size for file in blobs)
    log.note = f"{layout.IMAGE}, {moved / 1e6:.1f} MB imported"
    log.run(*_CTR, "images", "tag", "--force", _INCOMING, layout.IMAGE)
    _forget_earlier(log)
    shutil.rmtree(_LAYOUT)


def _forget_earlier(log: Log) -> None:
    """Lets containerd drop what only earlier images are made of: gigabytes each.

    The kubelet's side of containerd names every image by its digest too and keeps that name when the tag
    moves on; an import that was interrupted leaves a lease on what it had brought.
    """
    listed = [line.split() for line in ctr_lines("images", "list")[1:]]
    tags = {digest for name, _, digest, *_ in listed if not name.startswith("sha256:") and name != _INCOMING}
    log.run(*_CTR, "images", "remove", *(name for name, _, digest, *_ in listed if digest not in tags), _INCOMING)
    if leases := ctr("leases", "list", "--quiet"):
        log.run(*_CTR, "leases", "remove", *leases)


def _known() -> dict[str, dict[str, Any]]:
    """What each layer of the last image was compressed to, by its uncompressed digest."""
    return dict(json.loads(_LAYERS.read_text())) if _LAYERS.exists() else {}


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _blob(digest: str) -> Path:
    return _LAYOUT / "blobs/sha256" / _hex(digest)


_CTR = ("ctr", "--address", str(layout.CONTAINERD_SOCKET), "--namespace", "k8s.io")


def ctr_lines(*arguments: str) -> list[str]:
    """The lines that containerd's client prints; none when there is no containerd."""
    return subprocess.run([*_CTR, *arguments], capture_output=True, text=True).stdout.splitlines()


def ctr(*arguments: str) -> list[str]:
    """The words of those lines."""
    return " ".join(ctr_lines(*arguments)).split()


def program(log: Log, binary: tools.Go, path: str) -> None:
    """An image of one static program, in containerd."""
    name = tools.image_name(binary)
    if name in ctr("images", "list", "--quiet"):
        return
    with tempfile.TemporaryDirectory(dir=layout.CACHE) as scratch:
        shutil.copy(tools.go_folder(binary) / binary.name, Path(scratch) / "program")
        (Path(scratch) / "Dockerfile").write_text(
            f'FROM scratch\nCOPY program {path}\nUSER 65535:65535\nENTRYPOINT ["{path}"]\n'
        )
        archive = Path(scratch) / "archive"
        _buildah(log, "bud", "--quiet", "--tag", name, scratch)
        _buildah(log, "push", "--quiet", "--format", "oci", name, f"oci-archive:{archive}:{name}")
        log.run(*_CTR, "images", "import", archive)


def steps() -> list[Step]:
    return [
        Step("disk space", space),
        Step("image base", base, ("packages", "disk space")),
        Step("image build", build, ("image base",), lane="buildah"),
        Step("image export", export, ("image build",), lane="buildah"),
        Step("image import", bring, ("image export", "containerd")),
    ]


def inside() -> bool:
    """Whether containerd has the project's image."""
    return processes.running("containerd") is not None and layout.IMAGE in ctr("images", "list", "--quiet")
