"""How a real process ends: stopped at any moment, also as the first process of a container, or by itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from captionless.runtime import termination_message
from captionless.runtime.env import METRICS_PORT, PROGRESS, TERMINATION_MESSAGE
from captionless.telemetry import progress
from tests import pace
from tests.flow.conftest import Finished, call, command, environment, write_spec
from tests.flow.kill import descendants
from tests.telemetry.test_server import scrape

pytestmark = pytest.mark.flow

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY"
STORAGE = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}


def _first_process() -> list[str]:
    """A prefix that makes a command the first process of a PID namespace of its own, as in a container."""
    prefix = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--pid", "--fork", "--mount-proc"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        warnings.warn(f"no PID namespaces here ({error}): signals are tested on ordinary processes", stacklevel=1)
        return []
    return prefix


class _Server:
    """Accepts connections and never answers, or closes them at once; counts them."""

    def __init__(self, answers: bool):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._answers = answers
        self._held: list[socket.socket] = []
        self.asked = threading.Event()
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                if self._answers:
                    connection.close()
                else:
                    self._held.append(connection)
                self.asked.set()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def silent() -> Iterator[_Server]:
    server = _Server(answers=False)
    yield server
    server.close()


@pytest.fixture
def broken() -> Iterator[_Server]:
    server = _Server(answers=True)
    yield server
    server.close()


_ATTEMPTS = 8


class _TooLate(AssertionError):
    """The command has finished before anybody saw the moment."""


def _stopped(
    tmp_path: Path, moment: Callable[[int], bool], arguments: list[str], number: int = signal.SIGTERM, **extra: str
) -> str:
    """Starts a command as a first process and signals it once it has come to a moment; returns its stderr.

    A command that has ended before it was signalled, since the machine is busy and looked too late, is tried again.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(_TooLate):
            return _stopped_once(tmp_path, moment, arguments, number, **extra)
        shutil.rmtree(tmp_path / "out" / arguments[0])
    return _stopped_once(tmp_path, moment, arguments, number, **extra)


def _stopped_once(
    tmp_path: Path, moment: Callable[[int], bool], arguments: list[str], number: int, **extra: str
) -> str:
    end = tmp_path / "end"
    prefix = _first_process()
    with subprocess.Popen(
        [*prefix, *command(*arguments)], cwd=tmp_path, env=environment(**{TERMINATION_MESSAGE: str(end)}, **extra),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        _until(lambda: _handles(inner := _inner(process.pid, bool(prefix))) and moment(inner), process)
        signalled = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(_inner(process.pid, bool(prefix)) or process.pid, number)
        _, error = pace.communicate(process, 60)
        took = time.monotonic() - signalled
    if process.returncode == 0:
        raise _TooLate(error)
    assert process.returncode == 75, error
    assert "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("captionless: ")]
    assert signal.Signals(number).name in line
    found = termination_message.read(str(end))
    assert found is not None
    assert (found.exit_code, found.kind) == (75, "Interrupted")
    print(f"ended after {took:.2f} s")
    return error


def _until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    def reached_at_work() -> bool:
        code = process.poll()
        if code == 0:
            raise _TooLate(process.communicate()[1])
        assert code is None, f"failed before that moment: {process.communicate()[1]}"
        return reached()

    try:
        pace.wait_for("the moment for the signal", reached_at_work, 240, every=0.005)
    except AssertionError:
        process.kill()
        process.wait()
        raise


def _inner(pid: int, wrapped: bool) -> int:
    """The command's process: the child of `unshare`, or the process itself; 0 while there is none."""
    return next(iter(descendants(pid)), 0) if wrapped else pid


def _handles(pid: int) -> bool:
    """Whether the process has a handler for SIGTERM, without which a first process never hears of it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)


def _maps(pid: int, library: str) -> bool:
    try:
        return library in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def _listed(tmp_path: Path, **changes: object) -> str:
    """A spec whose objects are listed."""
    spec = str(write_spec(tmp_path, **changes))
    assert call("list", spec, cwd=tmp_path).returncode == 0
    return spec


def test_as_soon_as_the_handler_is_there(tmp_path: Path) -> None:
    _stopped(tmp_path, lambda pid: True, ["list", str(write_spec(tmp_path))])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_while_libraries_are_imported(number: int, tmp_path: Path) -> None:
    spec = _listed(tmp_path)
    _stopped(tmp_path, lambda pid: _maps(pid, "libtorch_cpu"), ["landmarks", spec], number)
    assert call("landmarks", spec, cwd=tmp_path).returncode == 0


def test_between_work_items_and_within_them(tmp_path: Path) -> None:
    spec = _listed(tmp_path)
    parts = tmp_path / "out" / "pack" / "_parts"
    _stopped(tmp_path, lambda pid: any(parts.glob("[!.]*")), ["pack", spec])  # a record, not one being written
    assert not list((tmp_path / "out").rglob(".*.tmp"))
    assert any(parts.iterdir())
    assert not (tmp_path / "out" / "pack" / "manifest.json").exists()
    again = call("pack", spec, cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_while_an_endpoint_does_not_answer(silent: _Server, tmp_path: Path) -> None:
    endpoint = {
        "origin": "llm",
        "endpoint": f"http://127.0.0.1:{silent.port}/v1",
        "model": "m",
        "count": 4,
        "apiKeyEnv": "",
    }
    spec = _listed(tmp_path, landmarks=endpoint)
    _stopped(tmp_path, lambda pid: silent.asked.is_set(), ["landmarks", spec])


@pytest.mark.parametrize("stage", ["pack", "eval"])
def test_while_the_storage_is_away(stage: str, broken: _Server, tmp_path: Path) -> None:
    spec = str(write_spec(tmp_path, output="s3://bucket/tiny"))
    extra = {**STORAGE, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{broken.port}"}
    error = _stopped(tmp_path, lambda pid: broken.asked.is_set(), [stage, spec], **extra)
    assert SECRET not in error


def test_while_runs_are_evaluated(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished.folder / "out", out)
    shutil.rmtree(out / "eval")
    spec = str(write_spec(tmp_path))
    runs = out / "eval" / "runs"
    _stopped(tmp_path, lambda pid: runs.is_dir() and any(runs.glob("*.json")), ["eval", spec])
    assert not (out / "eval" / "results.json").exists()
    again = call("eval", spec, cwd=tmp_path, **{TERMINATION_MESSAGE: str(tmp_path / "end")})
    assert again.returncode == 0, again.stderr
    found = termination_message.read(str(tmp_path / "end"))
    assert found is not None
    assert list(found.figures)[:2] == ["avg-seed0/zero_shot/top1", "uniform-seed0/zero_shot/top1"]
    figures = finished.results["figures"]["runs"]
    for name, value in found.figures.items():
        run, *path = name.split("/")
        tree = figures[run.split("-")[0]][run.removeprefix(run.split("-")[0] + "-seed")]
        for step in path:
            tree = tree[step]
        assert value == round(100 * tree, 1)


def test_a_training_serves_its_progress_while_it_is_at_work(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished.folder / "out", out)
    shutil.rmtree(out / "train")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        command("train", str(write_spec(tmp_path)), "--weights", "avg", "--seed", "0", "--set", "train.steps=5000"),
        cwd=tmp_path, env=environment(**{METRICS_PORT: str(port)}), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        found: dict[str, tuple[dict[str, str], float]] = {}

        def trains() -> bool:
            with contextlib.suppress(OSError):
                found.update(scrape(port))
            return "captionless_train_loss" in found

        _until(trains, process)
        process.send_signal(signal.SIGTERM)
        _, error = pace.communicate(process, 120)
    assert process.returncode == 75, error
    stage = {"stage": "train-avg-seed0"}
    assert found["captionless_stage_units"] == ({**stage, "unit": "step"}, 5000)
    assert found["captionless_stage_units_done"][1] > 0
    assert found["captionless_train_loss"][0] == stage
    assert found["captionless_train_logit_scale"][1] > 0


def test_the_reader_of_the_output_may_close_the_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as output:
        done = subprocess.run(
            command("plan", str(write_spec(tmp_path)), "--json"),
            stdout=output,
            stderr=subprocess.PIPE,
            env=environment(),
        )
    assert done.returncode == 1
    assert done.stderr == b""


def test_a_training_reports_its_steps(finished: Finished, tmp_path: Path) -> None:
    done = call(
        "train",
        str(finished.spec),
        "--weights",
        "avg",
        "--seed",
        "0",
        cwd=tmp_path,
        **{TERMINATION_MESSAGE: str(tmp_path / "end")},
    )
    assert done.returncode == 0, done.stderr
    found = termination_message.read(str(tmp_path / "end"))
    assert found is not None
    assert found.facts["steps"] == 8
    assert found.facts["seconds"] > 0


def test_what_was_done_is_told_at_the_end(finished: Finished, tmp_path: Path) -> None:
    """To a controller that may not read the pod's metrics."""
    end = tmp_path / "end"
    variables = {TERMINATION_MESSAGE: str(end), PROGRESS: str(tmp_path / "progress.json")}
    assert call("pack", str(finished.spec), cwd=tmp_path, **variables).returncode == 0
    found = termination_message.read(str(end))
    assert found is not None
    state = progress.read(str(tmp_path / "progress.json"))
    assert state is not None
    assert found.done == state.done == state.total > 0


def test_every_failure_is_reported(tmp_path: Path) -> None:
    end = tmp_path / "end"

    def end_of(*arguments: str) -> termination_message.TerminationMessage:
        done = call(*arguments, cwd=tmp_path, **{TERMINATION_MESSAGE: str(end)})
        found = termination_message.read(str(end))
        assert found is not None
        assert found.exit_code == done.returncode
        assert found.message.partition("\n")[0] in done.stderr
        return found

    spec = str(write_spec(tmp_path))
    assert end_of("pack", "nowhere.yaml").kind == "SpecError"
    assert end_of("embed", spec).kind == "DataError"
    wrong = end_of("pack", spec, "--shard", "2")
    assert (wrong.kind, wrong.exit_code) == ("UsageError", 2)
    assert "--shard" in wrong.message
    assert "'2'" in wrong.message
    assert end_of("--version") == termination_message.TerminationMessage(0)


def test_a_bug_keeps_its_traceback_and_is_reported_in_a_line(tmp_path: Path) -> None:
    script = (
        "from captionless.spec import load\n"
        "from captionless.__main__ import main\n"
        "def stop(*_): raise ZeroDivisionError('by https://ann:pa55word@host/')\n"
        "load.load_spec = stop\n"
        "main()\n"
    )
    end = tmp_path / "end"
    done = subprocess.run(
        [sys.executable, "-c", script, "pack", "x.yaml"],
        env=environment(**{TERMINATION_MESSAGE: str(end)}), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "pa55word" not in done.stderr
    assert termination_message.read(str(end)) == termination_message.TerminationMessage(
        1, "crash", "ZeroDivisionError: by https://***@host/"
    )


@pytest.mark.parametrize(
    ("endpoint", "named"),
    [
        pytest.param("http://127.0.0.1:{}", "s3://bucket/tiny", id="an endpoint that is away"),
        pytest.param(
            "http://ann:pa55word@127.0.0.1:{}/?X-Amz-Signature=feedbeef", "URI", id="an endpoint with a password"
        ),
    ],
)
def test_no_secret_is_reported(endpoint: str, named: str, broken: _Server, tmp_path: Path) -> None:
    spec = str(write_spec(tmp_path, output="s3://bucket/tiny"))
    extra = {
        **STORAGE, "AWS_ENDPOINT_URL": endpoint.format(broken.port),
        "CAPTIONLESS_STORE_RETRY_SECONDS": "1", TERMINATION_MESSAGE: str(tmp_path / "end"),
    }  # fmt: skip
    for arguments in (["run", spec], ["pack", spec]):
        done = call(*arguments, cwd=tmp_path, **extra)
        assert done.returncode != 0
        written = [p.read_text() for p in tmp_path.rglob("*") if p.is_file()]
        for secret in (SECRET, "AKIDEXAMPLE", "pa55word", "feedbeef"):
            assert not any(secret in text for text in (done.stdout, done.stderr, *written)), secret
        assert (found := termination_message.read(str(tmp_path / "end"))) is not None
        assert named in found.message
        assert found.exit_code == done.returncode
