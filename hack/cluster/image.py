"""Images without a registry: built by buildah, handed to containerd.

The base cannot be pulled everywhere, so it is Debian by debootstrap. Between buildah and containerd is an
OCI layout: a folder of blobs by digest. Only blobs that containerd does not have travel, so a change of
the code moves kilobytes past gigabytes of dependencies, and what it has is kept once, as a hard link.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from hack.cluster import layout, processes, tools
from hack.cluster.steps import Failed, Log, Step

_BASE = "localhost/debian-python:bookworm"
_PACKAGES = ("ca-certificates", "python3", "python3-venv")
_LAYOUT = layout.CACHE / "oci"
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
    """Refuses to begin what would fill the disk: the dependencies exist as layer, blob and snapshot."""
    layout.CACHE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(layout.CACHE).free
    have = sum(f.stat().st_size for f in _LAYOUT.glob("blobs/sha256/*")) if _LAYOUT.exists() else 0
    if not have and free < _NEEDED:
        raise Failed(
            f"{layout.CACHE}: the image needs {_NEEDED >> 30} GB free, and there are {free >> 30}; "
            "free some or set CAPTIONLESS_CLUSTER_CACHE to another disk"
        )


def base(log: Log) -> None:
    """Debian with Python as an image: what `python:slim` is where images can be pulled."""
    name = f"{_BASE}-{tools.digest(*_PACKAGES)}"
    if _has(name):
        log.note = "cached"
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
    """The project's image, from the repository's Dockerfile; unchanged layers are taken from buildah's store."""
    volumes = [f"{_CERTIFICATES}:{_CERTIFICATES}:ro"] if _CERTIFICATES.exists() else []
    _buildah(
        log, "bud", "--layers", "--network", "host", "--target", "slim", "--tag", layout.IMAGE,
        "--build-arg", f"BASE_IMAGE={_BASE}-{tools.digest(*_PACKAGES)}",
        *(part for v in volumes for part in ("--volume", v)), layout.REPOSITORY,
    )  # fmt: skip


def export(log: Log) -> None:
    """The image as blobs; the dependencies' layer is compressed once."""
    _buildah(
        log, "push", "--quiet", "--format", "oci", "--compression-format", "zstd", "--compression-level", "1",
        layout.IMAGE, f"oci:{_LAYOUT}:dev",
    )  # fmt: skip


def bring(log: Log) -> None:
    """Hands containerd the blobs that it does not have and names the image."""
    index = json.loads((_LAYOUT / "index.json").read_bytes())
    manifest = index["manifests"][-1]
    manifest.setdefault("annotations", {})["io.containerd.image.name"] = layout.IMAGE
    wanted = [manifest, *_content(manifest)]
    have = set(ctr("content", "list", "--quiet"))
    process = subprocess.Popen(
        [*_CTR, "images", "import", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    moved = 0
    try:
        with tarfile.open(fileobj=process.stdin, mode="w|") as tar:
            _add(tar, "oci-layout", (_LAYOUT / "oci-layout").read_bytes())
            for blob in wanted:
                # Manifest and configuration always travel: the importer reads them first.
                if blob["digest"] not in have or blob["size"] < 2**20:
                    tar.add(_blob(blob["digest"]), arcname=f"blobs/{blob['digest'].replace(':', '/')}")
                    moved += blob["size"]
            _add(tar, "index.json", json.dumps({**index, "manifests": [manifest]}).encode())
        process.stdin.close()
    except BrokenPipeError:
        pass
    said = process.stdout.read().decode()
    if process.wait():
        raise Failed(f"containerd did not take the image: {said.strip()}")
    log.note = f"{layout.IMAGE}, {moved / 1e6:.1f} MB moved"
    _tidy({b["digest"] for b in wanted})


def _content(manifest: dict[str, str]) -> list[dict[str, object]]:
    document = json.loads(_blob(manifest["digest"]).read_bytes())
    return [document["config"], *document["layers"]]


def _blob(digest: str) -> Path:
    return _LAYOUT / "blobs" / digest.replace(":", "/")


def _add(tar: tarfile.TarFile, name: str, body: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(body)
    tar.addfile(entry, io.BytesIO(body))


def _tidy(current: set[str]) -> None:
    """Drops blobs of images that were, and keeps what containerd has too as one file."""
    store = layout.CONTAINERD_ROOT / "io.containerd.content.v1.content/blobs/sha256"
    for blob in (_LAYOUT / "blobs/sha256").iterdir():
        twin = store / blob.name
        if f"sha256:{blob.name}" not in current:
            blob.unlink()
        elif twin.exists() and not twin.samefile(blob):
            blob.unlink()
            blob.hardlink_to(twin)


_CTR = ("ctr", "--address", str(layout.CONTAINERD_SOCKET), "--namespace", "k8s.io")


def ctr(*arguments: str) -> list[str]:
    """The words that containerd's client prints; none when there is no containerd."""
    return subprocess.run([*_CTR, *arguments], capture_output=True, text=True).stdout.split()


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
