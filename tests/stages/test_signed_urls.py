"""Signed URLs of manifests and meshes: they are read, and their signatures are stored nowhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from captionless.errors import DataError, SpecError
from captionless.runtime.redaction import redacted
from captionless.spec import load
from captionless.stages import listing, pack
from captionless.stages.remedies import broken_objects
from tests.meshes import VALID

SECRET = "5ecre7f00d"
PAGES: dict[str, bytes] = {}


class _Signed(BaseHTTPRequestHandler):
    """Serves PAGES to those who have the signature."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        known = PAGES.get(path.rpartition("/")[2])
        status = 403 if f"X-Amz-Signature={SECRET}" not in query else 404 if known is None else 200
        content = known or b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if status == 200 else 0))
        self.send_header("ETag", f'"{hash(content)}"')
        self.end_headers()
        if status == 200 and self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Not on the tests' stderr."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Signed)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    PAGES.clear()


def test_their_signatures_are_used_and_not_stored(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    signed = f"?X-Amz-Date=20260101&X-Amz-Signature={SECRET}&X-Amz-Expires=600"
    PAGES.update(VALID["obj"]())
    PAGES["broken.glb"] = b"glTF"
    meshes = {
        "good": f"{address}/in/x.obj{signed}",
        "broken": f"{address}/in/broken.glb{signed}",
        "gone": f"{address}/in/gone.glb{signed}",
        "unknown": f"{address.replace('//', f'//user:{SECRET}@')}/in/x.txt{signed}",
        "private": f"http://127.0.0.2:9/x.obj{signed}",
    }
    told = {"licence": f"see {address}/terms{signed}", "text": f"a box of {address}/x{signed}"}
    lines = [
        {"key": key, "category": "box", "mesh": url, "source": url, **told, "attributes": {"picture": url}}
        for key, url in {**meshes, f"{address}/page{signed}": meshes["good"]}.items()  # the last is left out by its key
    ]
    PAGES["list.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    spec = load.build_spec(
        {
            "output": str(tmp_path / "out"),
            "data": {
                "source": {"kind": "manifest", "url": f"{address}/list.jsonl{signed}"}, "testFraction": 0,
                "views": 1, "imageSize": 16, "points": 32, "maxSkipped": 4,
            },
            "train": {"weights": ["uniform"], "points": 32},
        }
    )  # fmt: skip
    listing.run(spec)
    outcome = pack.run(spec)
    assert (outcome.made, outcome.skipped) == (1, 4)
    reasons = {each.key: each.reason for each in broken_objects(f"{tmp_path}/out/pack")}
    assert "not a public address" in reasons["private"]
    assert "no such file" in reasons["gone"]
    assert (pack.run(spec).made, listing.run(spec).made) == (0, 0)
    with pytest.raises(DataError) as caught:
        pack.run(spec.model_copy(update={"data": spec.data.model_copy(update={"max_skipped": 0})}), retry=True)
    for text in (str(caught.value), capfd.readouterr().err, caplog.text, *map(_text, (tmp_path / "out").rglob("*"))):
        assert SECRET not in text


def test_a_line_is_named_by_its_number_whatever_follows_the_path(address: str, tmp_path: Path) -> None:
    PAGES["list.jsonl"] = b'{"key": 1}\n'
    url = f"{address}/list.jsonl?X-Amz-Date=20260101&X-Amz-Signature={SECRET}"
    data = {"source": {"kind": "manifest", "url": url}}
    with pytest.raises(SpecError) as caught:
        listing.run(load.build_spec({"output": str(tmp_path), "data": data, "train": {"weights": ["uniform"]}}))
    assert "Signature=***:1: key: " in redacted(str(caught.value))


def _text(path: Path) -> str:
    """What a file says, of a table the values of its cells."""
    if path.suffix == ".parquet":
        return json.dumps(pq.read_table(path).to_pylist(), default=str)
    return path.read_bytes().decode("latin1") if path.is_file() else ""
