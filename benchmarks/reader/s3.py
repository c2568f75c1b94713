"""An S3 server on this machine, in a separate process: the test cluster's, versitygw, which supports range reads."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import s3fs
from botocore.config import Config

from hack.cluster import layout, tools
from hack.cluster.steps import Log

BUCKET = "bench"
_KEY, _SECRET = "bench", "bench-secret"


def program() -> Path:
    """versitygw: the one in PATH, or the test cluster's, built if it is not there yet."""
    found = shutil.which("versitygw")
    if found:
        return Path(found)
    binary = next(b for b in tools.BINARIES if b.name == "versitygw")
    layout.STEP_LOGS.mkdir(parents=True, exist_ok=True)
    tools.build(binary)(Log(layout.STEP_LOGS / "build-versitygw.log"))
    return tools.go_folder(binary) / binary.name


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """The endpoint's URL; this process's environment leads there, and the bucket is empty."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    endpoint = f"http://127.0.0.1:{port}"
    variables = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with tempfile.TemporaryDirectory(prefix="captionless-s3-") as folder:
        users, data = Path(folder, "users"), Path(folder, "data")
        (data / BUCKET).mkdir(parents=True)
        users.mkdir()
        server = subprocess.Popen(
            [program(), "--port", f"127.0.0.1:{port}", "--iam-dir", users, "--quiet", "posix", data],
            env={**os.environ, "ROOT_ACCESS_KEY": _KEY, "ROOT_SECRET_KEY": _SECRET},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            os.environ.update(variables)
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if server.poll() is not None:
                    raise RuntimeError(f"versitygw ended with {server.returncode}")
                time.sleep(0.05)
            s3fs.S3FileSystem.clear_instance_cache()
            yield endpoint
        finally:
            for name in variables:
                os.environ.pop(name, None)
            server.kill()
            server.wait()


def upload(folder: Path) -> str:
    """Copies a folder into the bucket; its URL there."""
    client = boto3.client("s3")
    for path in folder.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), BUCKET, f"{folder.name}/{path.relative_to(folder)}")
    return f"s3://{BUCKET}/{folder.name}"


def link(key: str) -> str:
    """A URL by which anybody may read an object of the bucket, for an hour."""
    params = {"Bucket": BUCKET, "Key": key}
    client = boto3.client("s3", config=Config(signature_version="s3v4"))
    return str(client.generate_presigned_url("get_object", Params=params, ExpiresIn=3600))
