"""The whole flow over S3 on the wire, against moto's server: same results, and its errors."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.flow.conftest import Finished, call, comparable, write_spec
from tests.store.faulty_s3 import FaultyS3

pytestmark = pytest.mark.flow

BUCKET = "captionless-tests"


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """A real HTTP server that speaks S3, and the environment that leads to it."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}".replace("0.0.0.0", "127.0.0.1"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = boto3.client(
        "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], aws_access_key_id="test", aws_secret_access_key="test",
        region_name="us-east-1",
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    yield environment
    server.stop()


def test_a_missing_bucket_is_reported_at_once(s3: dict[str, str], tmp_path: Path) -> None:
    spec = write_spec(tmp_path, output="s3://no-such-bucket/tiny")
    done = call("run", str(spec), cwd=tmp_path, **s3)
    assert done.returncode == 64, done.stderr
    assert "no-such-bucket" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_away_is_retried_and_then_reported(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, output=f"s3://{BUCKET}/tiny")
    away = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1", "CAPTIONLESS_STORE_RETRY_SECONDS": "2",
    }  # fmt: skip
    done = call("run", str(spec), cwd=tmp_path, **away)
    assert done.returncode == 1, done.stderr
    assert f"s3://{BUCKET}/tiny" in done.stderr
    assert "2 s" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.soak
def test_the_flow_over_s3_gives_the_same_results_through_outages(finished: Finished, tmp_path: Path) -> None:
    """The port is closed for two seconds again and again, and connections are refused; a second run writes nothing."""
    server = FaultyS3()
    server.start()
    away = threading.Lock()
    outages = []

    def back() -> None:
        server.answer()
        away.release()

    def on_request(count: int) -> None:
        if count % 150 == 0 and away.acquire(blocking=False):
            outages.append(server.requests[-1][1])
            server.refuse()
            threading.Timer(2, back).start()

    def stamps() -> dict[str, Any]:
        listed = server.client.list_objects_v2(Bucket=BUCKET, Prefix="tiny/")["Contents"]
        return {o["Key"]: o["LastModified"] for o in listed}

    server.client.create_bucket(Bucket=BUCKET)
    server.on_request = on_request
    try:
        spec = write_spec(tmp_path, output=f"s3://{BUCKET}/tiny")
        done = call("run", str(spec), cwd=tmp_path, **server.environment)
        assert done.returncode == 0, done.stderr
        server.on_request = lambda count: None
        with away:  # the last outage is over
            body = server.client.get_object(Bucket=BUCKET, Key="tiny/eval/results.json")["Body"].read()
        assert comparable(body) == finished.results
        assert len({path.removeprefix(f"/{BUCKET}/tiny/").split("/")[0] for path in outages}) >= 2
        before = stamps()
        assert {k.split("/")[1] for k in before} == {
            "list",
            "pack",
            "embed",
            "landmarks",
            "similarity",
            "train",
            "eval",
        }
        assert os.listdir(tmp_path / "runs" / "tiny" / "logs")
        again = call("run", str(spec), cwd=tmp_path, **server.environment)
        assert again.returncode == 0, again.stderr
        assert stamps() == before
    finally:
        with away:
            server.stop()
