"""Weights that are replaced behind their name are noticed and fetched: behind a URL, in a folder, on the Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from captionless.clip import checkpoints, file_digests
from captionless.clip.checkpoints import fetch, identity
from captionless.clip.file_digests import file_digest
from captionless.errors import Retryable, SpecError

MODEL = "ViT-B-32"


class Web(ThreadingHTTPServer):
    """Serves one checkpoint, and says of it what `headers` are."""

    daemon_threads = True

    def __init__(self) -> None:
        web = self
        self.content, self.status, self.gets = b"first", 200, 0
        self.headers: dict[str, str] = {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                self.send_response(web.status)
                for name, value in web.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(web.content)))
                self.end_headers()
                if self.command == "GET":
                    web.gets += 1
                    self.wfile.write(web.content)

            do_GET = do_HEAD = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights/model.safetensors"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Web]:
    monkeypatch.setenv("CAPTIONLESS_CACHE", str(tmp_path / "cache"))
    server = Web()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("said", ["ETag", "Last-Modified"])
def test_a_checkpoint_on_the_web_is_fetched_again_when_it_is_replaced(web: Web, said: str) -> None:
    versions = {
        "ETag": ('"1"', '"2"'),
        "Last-Modified": ("Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"),
    }
    web.headers = {said: versions[said][0]}
    first = identity(MODEL, web.url)
    assert Path(fetch(web.url)).read_bytes() == b"first"
    assert Path(fetch(web.url)).suffix == ".safetensors"
    assert identity(MODEL, web.url) == first
    assert web.gets == 1
    web.content, web.headers = b"other", {said: versions[said][1]}  # of the same size
    assert identity(MODEL, web.url) != first
    assert Path(fetch(web.url)).read_bytes() == b"other"
    assert web.gets == 2


def test_what_the_web_says_nothing_of_is_known_by_its_bytes_once_a_process(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = identity(MODEL, web.url)
    assert Path(fetch(web.url)).read_bytes() == b"first"
    assert web.gets == 1
    web.content = b"other"
    monkeypatch.setattr(checkpoints, "_contents", {})  # as in another process
    assert identity(MODEL, web.url) != first
    assert Path(fetch(web.url)).read_bytes() == b"other"
    assert web.gets == 2


def test_another_signature_of_the_same_file_is_the_same_version(web: Web) -> None:
    web.headers = {"ETag": '"1"'}
    signed = [f"{web.url}?X-Amz-Signature={digit * 64}" for digit in "12"]
    assert identity(MODEL, signed[0]) == identity(MODEL, signed[1])
    assert fetch(signed[0]) == fetch(signed[1])
    assert web.gets == 1


@pytest.mark.parametrize(
    ("status", "error"), [(404, SpecError), (403, SpecError), (401, SpecError), (500, Retryable), (503, Retryable)]
)
def test_a_server_s_answer_says_whether_to_try_again(web: Web, status: int, error: type[Exception]) -> None:
    web.status = status
    for call in (fetch, lambda url: identity(MODEL, url)):
        with pytest.raises(error, match=web.url):
            call(web.url)


def test_a_file_that_is_replaced_while_it_is_fetched_is_not_taken_for_the_one_before(web: Web) -> None:
    web.headers = {"ETag": '"1"'}
    real = checkpoints._Remote.get

    def replaced(self: checkpoints._Remote, path: Path) -> None:
        real(self, path)
        web.headers = {"ETag": '"2"'}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints._Remote, "get", replaced)
        with pytest.raises(Retryable, match=web.url):
            fetch(web.url)
    assert not list((Path(os.environ["CAPTIONLESS_CACHE"]) / "checkpoints").iterdir())


# -- files


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """How many files were hashed, in a fresh process with an empty cache."""
    monkeypatch.setenv("CAPTIONLESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_digests, "_known", {})
    counted: list[int] = []
    real = file_digests.hashlib.file_digest

    def counting(file: Any, name: str) -> Any:
        counted.append(1)
        return real(file, name)

    monkeypatch.setattr(file_digests.hashlib, "file_digest", counting)
    return counted


def test_a_file_is_hashed_once_by_all_processes_until_it_changes(
    reads: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_digests, "_SETTLED_SECONDS", -1.0)
    path = tmp_path / "model.pt"
    path.write_bytes(b"one")
    first = {file_digest(path) for _ in range(3)}
    assert len(reads) == 1
    monkeypatch.setattr(file_digests, "_known", {})  # another process
    assert {file_digest(path)} == first
    assert len(reads) == 1
    stat = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the same size and time
    assert {file_digest(path)} != first
    assert len(reads) == 2


def test_a_file_that_has_just_been_written_is_not_remembered_for_others(
    reads: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_digests, "_SETTLED_SECONDS", 3600.0)
    path = tmp_path / "model.pt"
    path.write_bytes(b"one")
    for _ in range(2):
        file_digest(path)
        monkeypatch.setattr(file_digests, "_known", {})
    assert len(reads) == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    reads: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_digests, "_SETTLED_SECONDS", -1.0)
    monkeypatch.setenv("CAPTIONLESS_CACHE", "/proc/none")
    path = tmp_path / "model.pt"
    path.write_bytes(b"one")
    assert file_digest(path) == file_digest(path)
    assert len(reads) == 1


# -- the Hub


_IN_A_PROCESS = """
import json, sys
from captionless.clip import openclip
from captionless.clip.checkpoints import identity
from captionless.errors import CaptionlessError
def found(model):
    try:
        loaded = openclip.load(model)
        return [identity(model, None), loaded.digest, loaded.revision]
    except CaptionlessError as error:
        return [type(error).__name__, str(error)]
print(json.dumps([found(model) for model in sys.argv[1:]]))
"""
OLD, NEW = "1" * 40, "2" * 40


@pytest.fixture
def cached(tmp_path: Path, make: Callable[..., str]) -> Path:
    """The Hub's cache with two commits of a model, of which `main` is the newer."""
    repository = tmp_path / "hub" / "models--some--model"
    for seed, commit in enumerate((OLD, NEW)):
        folder = Path(make(f"of-{commit}", seed=seed).removeprefix("local-dir:"))
        (repository / "snapshots").mkdir(parents=True, exist_ok=True)
        folder.rename(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(NEW)
    return tmp_path / "hub"


def test_a_model_of_the_hub_is_a_commit(cached: Path) -> None:
    names = ["some/model", f"some/model@{NEW}", f"some/model@{OLD}", "other/model"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cached)}  # read when it is imported
    command = [sys.executable, "-c", _IN_A_PROCESS, *(f"hf-hub:{name}" for name in names)]
    newest, new, old, other = json.loads(
        subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    )
    assert newest == new
    assert [new[2], old[2]] == [NEW, OLD]
    assert new[0] != old[0]
    assert new[1] != old[1]
    assert other[0] == "Retryable"
    assert "hf-hub:other/model" in other[1]


@pytest.mark.parametrize("model", ["hf-hub:model", "hf-hub:", "hf-hub:some/model@", "hf-hub:a/b/c"])
def test_what_is_no_name_of_the_hub(model: str) -> None:
    with pytest.raises(SpecError, match=r"clip\.model"):
        identity(model, None)
