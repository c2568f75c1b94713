"""What every encoder owes, whatever it is made of."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from captionless.errors import Interrupted, SpecError
from captionless.spec import load
from captionless.spec.encoder import EncoderSpec
from captionless.spec.train import TrainSpec
from captionless.store.embeddings import open_embeddings
from captionless.trainer import encoders, loop, model_file
from captionless.trainer.encoders import sparseconv
from captionless.trainer.infer import encode_points
from tests.trainer import synthetic
from tests.trainer.encoders.test_pointnext import clouds

TINY: dict[str, dict[str, Any]] = {
    "pointnext-s": {"width": 4, "nsample": 6, "radius": 0.6},
    "pointbert": {"width": 8, "depth": 2, "heads": 2, "groups": 8, "nsample": 6},
    "sparseconv": {"width": 4, "depth": 11, "voxel": 0.1},
}
RANDOM = {"pointnext-s": "dropout", "pointbert": "drop_path", "sparseconv": "dropout"}


def tiny(name: str, random: float = 0.0) -> encoders.Encoder:
    torch.manual_seed(0)
    return encoders.build(name, embed_dim=8, **TINY[name], **{RANDOM[name]: random})


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    """As training runs on a CPU: an operator without a deterministic form raises."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_the_spec_knows_every_encoder_with_its_options_and_defaults() -> None:
    assert set(EncoderSpec.OPTIONS) == set(encoders.names())
    for name, build in encoders.ENCODERS.items():
        spec = EncoderSpec.model_validate({"name": name})
        for option in set(EncoderSpec.OPTIONS[name]) - {"operators"}:
            assert inspect.signature(build).parameters[option].default == getattr(spec, option), (name, option)
    assert tuple(sparseconv._LAYERS) == EncoderSpec.DEPTHS


def test_todays_runs_keep_their_fingerprint_and_what_is_dumped_is_what_counts() -> None:
    """The fingerprint is of this dump (`TrainingJob.fingerprint`), the same as before there was a choice."""
    assert TrainSpec().model_dump(mode="json")["encoder"] == {
        "name": "pointnext-s",
        "width": 32,
        "nsample": 32,
        "in_channels": 3,
        "radius": 0.15,
        "dropout": 0.5,
    }
    for name, options in EncoderSpec.OPTIONS.items():
        spec = EncoderSpec.model_validate({"name": name})
        assert set(spec.model_dump()) == {"name", *options} - {"operators"}
        assert EncoderSpec.model_validate_json(spec.model_dump_json()) == spec
        assert EncoderSpec.model_validate(spec.model_dump(by_alias=True)) == spec
        written = {} if name == "pointnext-s" else {"name": name}
        assert EncoderSpec.model_validate(written).model_dump(exclude_unset=True) == written
    whole = load.build_spec({"data": {"source": {"kind": "parametric"}}}, ["train.encoder.name=pointbert"])
    assert whole.train.encoder.width == 384
    assert "radius" not in load.dump_spec(whole)


def test_an_option_of_another_encoder_is_refused_even_at_its_default() -> None:
    for name, options in EncoderSpec.OPTIONS.items():
        for option, field in EncoderSpec.model_fields.items():
            if option in ("name", *options):
                continue
            with pytest.raises(ValidationError, match=rf"{field.alias}: .*\b{name}\b.*\bwidth\b"):
                EncoderSpec.model_validate({"name": name, option: field.get_default()})


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"name": "pointbert", "radius": 0.2}, "train.encoder: radius: "),
        ({"name": "pointbert", "groups": 65}, "train: encoder.groups: 65 exceeds points: 64"),
        ({"name": "pointbert", "groups": 8, "nsample": 65}, "train: encoder.nsample: 65 exceeds points: 64"),
        ({"name": "pointbert", "heads": 5}, "train.encoder: width: 384 "),
        ({"name": "sparseconv", "depth": 50}, "train.encoder: depth: 50 is not one of 11, 18, 34"),
    ],
    ids=["another's option", "groups", "nsample", "heads", "depth"],
)
def test_a_mistake_is_one_line_that_names_the_field(encoder: dict[str, Any], message: str) -> None:
    document = {"data": {"source": {"kind": "parametric"}}, "train": {"points": 64, "encoder": encoder}}
    with pytest.raises(SpecError) as caught:
        load.build_spec(document)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", TINY)
def test_a_cloud_does_not_depend_on_its_batch_in_evaluation(name: str) -> None:
    model = tiny(name).eval()
    points = clouds(5, 64, 3)
    with torch.no_grad():
        together, alone = model(points), torch.cat([model(p[None]) for p in points])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TINY)
def test_clouds_of_one_point_many_times_have_a_result(name: str) -> None:
    """Alone in evaluation, and in training beside another; as extreme dropout of points may leave a cloud."""
    model = tiny(name)
    same = torch.full((1, 64, 3), 0.25)
    both = torch.cat([same, clouds(1, 64, 3)])
    model(both).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    with torch.no_grad():
        alone = model.eval()(same)
        assert bool(alone.isfinite().all())
        torch.testing.assert_close(model(both)[:1], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TINY)
def test_the_gradient_of_the_whole_is_its_slope(name: str) -> None:
    """By central differences along random directions, in training, where the norms' statistics move as well."""
    model = tiny(name).double()
    points = clouds(4, 48, 3, torch.float64)
    factors = torch.linspace(-1, 1, 32, dtype=torch.float64).view(4, 8)

    def value() -> torch.Tensor:
        return (model(points) * factors).sum()

    value().backward()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        step, start = 1e-8, parameter.detach().clone()
        ends = []
        with torch.no_grad():
            for sign in (1, -1):
                parameter.copy_(start + sign * step * direction)
                ends.append(float(value()))
            parameter.copy_(start)
        slope = (ends[0] - ends[1]) / (2 * step)
        assert parameter.grad is not None
        assert float((parameter.grad * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-4)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoders")
    synthetic.write(path, train=24)
    return path


@pytest.mark.parametrize("name", ["pointbert", "sparseconv"])
def test_it_is_trained_stopped_resumed_stored_and_read(root: Path, name: str) -> None:
    encoder = {"name": name, **TINY[name], RANDOM[name]: 0.3, "in_channels": 4}
    jobs = [synthetic.job(root, f"{name}-{run}", encoder=encoder) for run in ("whole", "stopped")]
    loop.train(jobs[0])
    asked = iter(range(1, 100))
    with pytest.raises(Interrupted):
        loop.train(jobs[1], lambda: next(asked) >= 3)
    loop.train(jobs[1])
    (model, meta), (again, _) = (model_file.load_model(job.run) for job in jobs)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    losses = json.loads((Path(jobs[0].run) / "history.json").read_text())["loss"]
    assert len(losses) == 6
    assert meta["train"]["encoder"] == jobs[0].train.encoder.model_dump(mode="json")
    data = open_embeddings(str(root / "embed"), "train")
    embedded = encode_points(model, data.points(range(len(data))), meta["points"])
    assert embedded.shape == (24, synthetic.FEATURES)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1.0, rtol=1e-5)
    assert np.linalg.matrix_rank(embedded) > 1


@pytest.mark.parametrize(
    "encoder",
    [{"name": "pointbert", "width": 32, "groups": 16}, {"name": "sparseconv"}],
    ids=lambda encoder: encoder["name"],
)
def test_it_learns_to_find_an_objects_own_image(tmp_path: Path, encoder: dict[str, Any]) -> None:
    synthetic.write(tmp_path, train=64)
    still = {"dropout": 0.0, "rotate_up": False, "shift": 0.0, "scale_low": 1.0, "scale_high": 1.0}
    job = synthetic.job(
        tmp_path,
        steps=50,
        batch_size=32,
        points=64,
        checkpoint_every=1000,
        encoder={**TINY[encoder["name"]], RANDOM[encoder["name"]]: 0.0, **encoder},
        augment={**still, "perturb_sigma": 0.0, "jitter_sigma": 0.0},
        optim={"lr": 3e-3, "warmup": 0.1},
    )
    loop.train(job)
    loss = json.loads((Path(job.run) / "history.json").read_text())["loss"]
    assert np.mean(loss[-5:]) < 0.92 * np.log(32)  # what chance has
