"""Trainings on two nodes: real commands that are killed, stopped and evicted as pods are."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from captionless.runtime.processes import is_alive
from captionless.trainer import model_file
from tests import pace
from tests.store.faulty_s3 import FaultyS3
from tests.trainer import synthetic
from tests.trainer.elastic.gang import TRAIN, Pods, prepare, steps, vouch

pytestmark = pytest.mark.flow

STEPS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gang") / "data"
    synthetic.write(path, train=24)
    vouch(path)
    return path


@pytest.fixture(scope="module")
def undisturbed(data: Path) -> Path:
    """The same spec on a single machine: one node with two processes."""
    folder = data.parent / "undisturbed"
    spec = prepare(folder, data, nodes=1, resources={"processes": 2}, steps=STEPS)
    subprocess.run([sys.executable, "-m", "captionless", "train", str(spec)], check=True)
    return folder / "train" / "i2i-seed0"


@pytest.mark.soak
def test_disturbed_in_every_way_it_ends_with_the_bits_of_one_machine(data: Path, undisturbed: Path) -> None:
    folder = data.parent / "disturbed"
    with Pods(prepare(folder, data, steps=STEPS)) as pods:
        pods.start(1)
        pods.start(0)
        for index in (1, 0):  # a node is lost
            pods.await_checkpoint()
            pods.kill(index)
            pods.start(index)
        for index in (1, 0):  # a pod is deleted or evicted: nothing is lost
            pods.await_checkpoint()
            assert pods.terminate(index) == 75
            step = re.findall(r"captionless: .*stopped after step (\d+) of", pods.said(index))[-1]
            assert int(step) == steps(folder)[-1]
            pods.start(index)
        pods.await_checkpoint()
        before, stopped = pods.rounds(1), pods.ranks(1)
        os.kill(stopped[0], signal.SIGSTOP)  # neither fails nor ends
        pace.wait_for("node 1 to start another round", lambda: pods.rounds(1) > before, 120)
        assert not is_alive(stopped[0])
        assert [pods.wait(1), pods.wait(0)] == [0, 0]
        assert "node 1 was lost" in pods.said(0)
        assert "the connection to node 0 was lost" in pods.said(1)
        assert re.search(r"made no progress for \d+ s|timed out", pods.said(0) + pods.said(1), re.IGNORECASE)

        run = folder / "train" / "i2i-seed0"
        (whole, meta), (again, _) = model_file.load_model(str(undisturbed)), model_file.load_model(str(run))
        for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
            assert torch.equal(a, b)
        assert meta["provenance"]["processes"] == 2
        histories = [json.loads((path / "history.json").read_text()) for path in (undisturbed, run)]
        assert all(history.pop("seconds") > 0 for history in histories)
        assert histories[0] == histories[1]

        for index in (0, 1):  # what is finished needs no other node
            pods.start(index)
            assert pods.wait(index) == 0


@pytest.mark.soak
def test_a_gang_that_never_gets_further_gives_up_and_names_the_cause(data: Path, tmp_path: Path) -> None:
    with Pods(prepare(tmp_path, data, nodes=1)) as pods:
        pods.start(0)
        for _ in range(3):  # as the kernel does that has no memory left
            pace.wait_for("a rank to start", lambda: pods.ranks(0), 120, every=0.02)
            killed = pods.ranks(0)[0]
            os.kill(killed, signal.SIGKILL)
            pace.wait_for("the rank to be gone", lambda gone=killed: not is_alive(gone), 120)
        assert pods.wait(0) == 1
        assert pods.rounds(0) == 3
        last = pods.said(0).strip().splitlines()[-1]
        assert "a rank was lost" in last
        assert "3 rounds" in last


def test_missing_nodes_are_waited_for_until_patience_ends_or_a_signal_comes(data: Path, tmp_path: Path) -> None:
    impatient = Pods(prepare(tmp_path / "impatient", data, peerTimeout=1))
    patient = Pods(prepare(tmp_path / "patient", data))
    with impatient, patient:
        impatient.start(1)
        patient.start(0)
        assert impatient.wait(1) == 1
        assert re.search(rf"node 0 .*127\.0\.0\.1:{impatient.port}.* 2 nodes", impatient.said(1))
        impatient.start(0)
        assert impatient.wait(0) == 1
        assert re.search(r"1 of 2 nodes.*missing: 1$", impatient.said(0), re.MULTILINE)
        pace.wait_for("node 0 to wait for the other", patient.listens, 120)
        assert patient.terminate(0) == 75
        assert "Traceback" not in patient.said(0)


def test_a_wrong_spec_ends_all_nodes_with_its_code_and_line(data: Path, tmp_path: Path) -> None:
    with Pods(prepare(tmp_path, data, points=65)) as pods:
        pods.start(0)
        pods.start(1)
        assert {pods.wait(0), pods.wait(1)} == {64}
        for index in (0, 1):
            assert "train.points: 65" in pods.said(index)


def test_a_replaced_node_0_publishes_what_is_already_stored(data: Path, undisturbed: Path, tmp_path: Path) -> None:
    with Pods(prepare(tmp_path, data, steps=STEPS)) as pods:
        run = tmp_path / "train" / "i2i-seed0"
        run.mkdir(parents=True)
        for name in ("model.pt", "history.json"):
            (run / name).write_bytes((undisturbed / name).read_bytes())
        pods.start(1)
        pods.start(0)
        assert [pods.wait(0), pods.wait(1)] == [0, 0]
        assert pods.rounds(0) == pods.rounds(1) == 0
        assert (run / "manifest.json").exists()


@pytest.mark.soak
@pytest.mark.parametrize("reading", [False, True], ids=["a checkpoint is stored", "batches are read"])
def test_a_storage_that_is_away_is_no_hang(data: Path, tmp_path: Path, reading: bool) -> None:
    server = FaultyS3()
    server.start()
    try:
        server.client.create_bucket(Bucket="bucket")
        for path in (path for path in data.rglob("*") if path.is_file()):
            server.client.upload_file(str(path), "bucket", f"run/{path.relative_to(data)}")
        train = {"steps": 60, "checkpointEvery": 100} if reading else {"steps": 12, "checkpointEvery": 1}
        spec = prepare(tmp_path, None, "s3://bucket/run", resources={"dataMemory": "0"} if reading else None, **train)
        with Pods(spec, server.environment) as pods:
            pods.start(0)
            pods.start(1)
            if reading:  # that of the first steps, and more
                pace.wait_for(
                    "batches to be read",
                    lambda: sum(path.endswith(".tar") for _, path in server.requests) > 20,
                    120,
                    every=0.02,
                )
            else:
                pace.wait_for(
                    "a checkpoint to be stored", lambda: "PUT" in {m for m, _ in server.requests}, 120, every=0.02
                )
            server.refuse()
            time.sleep(1.4 * TRAIN["collectiveTimeout"])  # for longer than a step may take
            server.answer()
            assert [pods.wait(0), pods.wait(1)] == [0, 0]
            assert pods.rounds(0) == pods.rounds(1) == 1
    finally:
        server.stop()
