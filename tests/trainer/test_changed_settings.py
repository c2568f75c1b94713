"""A run whose settings have changed: what was there stays, is gone on with, or is replaced; see `train.onChange`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from captionless.errors import DataError, Interrupted, SpecError
from captionless.spec.load import build_spec
from captionless.spec.variant import training_variants
from captionless.stages import train as stage
from captionless.store.embeddings import open_embeddings
from captionless.trainer import changed_settings, loop, model_file
from captionless.trainer.run_folder import checkpoint_names, of_other_runs
from captionless.trainer.torch_documents import decode
from captionless.trainer.training_job import EARLIER
from tests.trainer import synthetic
from tests.trainer.test_loop import after, outcome


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("changed")
    synthetic.write(path, train=24)
    return path


def call(root: Path, run: str, stop: int | None = None, **train: Any) -> str:
    """What a call of the stage does with the folder `run`, in one rank of this process; the run's fingerprint."""
    job = synthetic.job(root, run, **train)
    data = open_embeddings(job.data, "train").digest
    fingerprint = job.fingerprint(data)
    if not stage._is_finished(job.run, fingerprint):
        job = stage._begun(job, (fingerprint, job.fingerprint(data, EARLIER)), job.settings(data))
        if stop is None:
            loop.train(job)
        else:
            with pytest.raises(Interrupted):
                loop.train(job, after(stop))
    return fingerprint


def steps(root: Path, run: str) -> dict[str, list[int]]:
    """The steps of the checkpoints in a folder, by run."""
    found: dict[str, list[int]] = {}
    for name in checkpoint_names(str(root / run)).values():
        found.setdefault(str(name.run), []).append(name.step)
    return found


def test_another_run_begins_beside_the_one_that_was_there_which_can_go_on(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    call(root, "whole")
    first = call(root, "beside", stop=3)
    capfd.readouterr()
    second = call(root, "beside", steps=8)
    told = capfd.readouterr().err
    assert "train.steps was 6 and is 8" in told
    assert "--extend" in told
    assert steps(root, "beside") == {first[:8]: [2, 3], second[:8]: [6, 8]}
    call(root, "beside")
    assert model_file.load_model(str(root / "beside"))[1]["fingerprint"] == first
    one, other = outcome(root, "beside"), outcome(root, "whole")
    assert all(torch.equal(one[0][name], other[0][name]) for name in other[0])
    assert one[1] == other[1]


def test_a_finished_model_is_kept_and_comes_back_without_a_step(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = call(root, "finished")
    model = (root / "finished" / "model.pt").read_bytes()
    second = call(root, "finished", optim={"lr": 1e-3})
    assert (root / "finished" / "earlier" / first[:8] / "model.pt").read_bytes() == model
    monkeypatch.setattr(loop.TrainingRun, "step", lambda _: pytest.fail("trains again"))
    assert call(root, "finished") == first
    assert (root / "finished" / "model.pt").read_bytes() == model
    assert call(root, "finished", optim={"lr": 1e-3}) == second
    assert model_file.load_model(str(root / "finished"))[1]["fingerprint"] == second


@pytest.mark.parametrize("stop", [3, None], ids=["stopped", "finished"])
def test_a_run_is_extended_and_its_model_says_which_steps_were_made_with_what(root: Path, stop: int | None) -> None:
    run = f"extended-{stop}"
    first = call(root, run, stop=stop)
    made = stop or 6
    before = json.loads((root / "whole" / "history.json").read_text()) if (root / "whole").exists() else None
    changed = {"steps": 9, "accumulate": 2, "optim": {"lr": 1e-3}, "validation": {"every": 3}}
    with pytest.raises(SpecError, match=r"train\.points is 16 and was 32"):
        call(root, run, on_change="extend", points=16, steps=9)
    with pytest.raises(SpecError, match=rf"train\.steps: {made - 1}, but .* has made {made}"):
        call(root, run, on_change="extend", steps=made - 1)
    second = call(root, run, stop=1, on_change="extend", **changed)
    assert steps(root, run)[second[:8]] == [made, made + 1]  # at once: it goes on whatever a later call says
    assert first[:8] in steps(root, run)
    call(root, run, **changed)
    about = model_file.load_model(str(root / run))[1]
    assert about["fingerprint"] == second
    parts = about["provenance"]["segments"]
    assert [part["first"] for part in parts] == [0, made]
    assert [part["settings"]["train.steps"] for part in parts] == [6, 9]
    assert [part["settings"]["train.accumulate"] for part in parts] == [1, 2]
    history = json.loads((root / run / "history.json").read_text())
    assert history["step"] == list(range(9))
    if before is not None:
        assert history["loss"][:made] == before["loss"][:made]


def test_a_run_is_extended_with_other_parameters_to_train_and_an_average(root: Path) -> None:
    call(root, "thawed", freeze=["stages"], stop=3)
    newest = sorted((root / "thawed" / "checkpoints").glob("step-*"))[-1]
    before = decode(newest.read_bytes())
    changed = {"freeze": ["head"], "ema": 0.5, "optim": {"lr": 5e-3, "groups": [{"match": "stages", "lr_factor": 0.1}]}}
    call(root, "thawed", on_change="extend", stop=1, **changed)
    call(root, "thawed", **changed)
    model, about = model_file.load_model(str(root / "thawed"))
    first, second = (part["settings"] for part in about["provenance"]["segments"])
    assert (first["train.freeze"], second["train.freeze"]) == (["stages"], ["head"])
    assert "train.ema" not in first
    assert second["train.ema"] == 0.5
    same = {name for name, value in model.state_dict().items() if torch.equal(value, before["encoder"][name])}
    assert same == {name for name in before["encoder"] if name.startswith("head.")}


def test_restart_replaces_what_was_there(root: Path) -> None:
    call(root, "restarted")
    call(root, "restarted", steps=4)
    last = call(root, "restarted", steps=5, on_change="restart")
    assert set(steps(root, "restarted")) == {last[:8]}
    assert not (root / "restarted" / "earlier").exists()
    assert [p.name for p in (root / "restarted").glob("settings-*")] == [f"settings-{last[:8]}.json"]


def test_what_changes_no_bit_is_no_change(root: Path) -> None:
    call(root, "operational", stop=3)
    call(root, "operational", checkpoint_every=1, keep_checkpoints=5, collective_timeout=60, on_change="restart")
    assert outcome(root, "operational")[1]["step"] == list(range(6))
    assert len(steps(root, "operational")) == 1


def test_a_run_does_not_begin_with_its_own_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for init in ("out/train/i2i-seed0", f"{tmp_path}/out/../out/train/i2i-seed0/model.pt"):
        spec = build_spec(
            {
                "output": "out",
                "data": {"source": {"kind": "folder", "url": "in"}},
                "train": {"weights": ["i2i"], "init": init},
            }
        )
        with pytest.raises(SpecError, match=r"train\.init: .* is the output of this very run \(i2i-seed0\)"):
            stage.refuse_own_model(spec, training_variants(spec))
    stage.refuse_own_model(spec.model_copy(update={"output": "other"}), training_variants(spec))


def test_a_run_under_the_name_of_an_earlier_release_is_not_made_again(root: Path) -> None:
    spec = build_spec(
        {
            "output": str(root / "earlier-name"),
            "data": {"source": {"kind": "folder", "url": "in"}},
            "train": {"weights": ["i2i"], "loss": "hcl"},
        }
    )
    [variant] = training_variants(spec)
    assert variant.name == "hcl-i2i-seed0"
    fingerprint = call(root, "earlier-name/train/i2i-seed0", loss="hcl")
    with pytest.raises(DataError, match=r"train/i2i-seed0: holds this very run.*rename the folder to hcl-i2i-seed0"):
        stage._refuse_earlier_name(spec, variant, [fingerprint])
    stage._refuse_earlier_name(spec, variant, ["0" * 64])
    (root / "earlier-name" / "train" / "i2i-seed0").rename(root / "earlier-name" / "train" / variant.name)
    stage._refuse_earlier_name(spec, variant, [fingerprint])


def test_changes_are_told_without_digests() -> None:
    before, now = {"data": "a" * 64, "train.steps": 4}, {"data": "b" * 64, "train.steps": 5}
    assert changed_settings.described(before, now) == "data is another, train.steps was 4 and is 5"


def test_files_are_told_apart_by_the_run_that_they_are_of(root: Path) -> None:
    own, other = "a" * 64, "b" * 64
    of_own = ["model.pt", "history.json", "manifest.json", "_parts/model.json", "settings-aaaaaaaa.json",
              "checkpoints/step-00000002-aaaaaaaa-0123456789abcdef.pt", "checkpoints/curve-aaaaaaaa-00000000.jsonl",
              "unfinished/aaaaaaaa/00000003-x/nearest.npy", "checkpoints/notes.txt"]  # fmt: skip
    of_other = [name.replace("aaaaaaaa", "bbbbbbbb") for name in of_own if "aaaaaaaa" in name]
    of_other += ["earlier/bbbbbbbb/model.pt", "checkpoints/step-00000002-0123456789abcdef.pt"]
    assert of_other_runs([*of_own, *of_other], own) == sorted(of_other)
    assert of_other[-1] in of_other_runs(of_other, other)  # of an earlier release


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'{"fingerprint": 3}', b'{"fingerprint": "x", "settings": 4', b"\xff"]
)
def test_damaged_settings_stop_nobody_but_who_would_extend(root: Path, content: bytes) -> None:
    run = f"damaged-{len(content)}"
    first = call(root, run, stop=2)
    (root / run / f"settings-{first[:8]}.json").write_bytes(content)
    with pytest.raises(SpecError, match="not stored, or damaged"):
        call(root, run, steps=7, on_change="extend")
    call(root, run, steps=7, stop=1)
    assert first[:8] in steps(root, run)


def test_checkpoints_of_an_earlier_release_are_resumed_or_told_of(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = call(root, "unnamed", stop=3)
    folder = root / "unnamed"
    (folder / f"settings-{first[:8]}.json").unlink()
    for path in (folder / "checkpoints").glob("step-*"):
        path.rename(path.with_name(path.name.replace(f"-{first[:8]}", "")))
    with pytest.raises(SpecError, match="not stored, or damaged"):
        call(root, "unnamed", steps=9, on_change="extend")
    capfd.readouterr()
    call(root, "unnamed", stop=1, steps=8)
    assert "not the run that was here before; it begins beside" in capfd.readouterr().err
    call(root, "unnamed")
    assert "resuming after step 3 of 6" in capfd.readouterr().err
    assert (folder / f"settings-{first[:8]}.json").exists()
