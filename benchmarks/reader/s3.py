"""An S3 server on this machine, in a process of its own: the server of the tests, moto's."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import s3fs

BUCKET = "bench"


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """The endpoint's URL; this process's environment leads there, and the bucket is empty."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    variables = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        os.environ.update(variables)
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
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
