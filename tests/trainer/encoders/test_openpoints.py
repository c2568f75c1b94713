"""State dicts of openpoints' shape: read, written, with errors that name what is wrong."""

from __future__ import annotations

import pytest
import torch

from captionless.errors import DataError
from captionless.trainer.encoders.openpoints import load_openpoints, to_openpoints
from captionless.trainer.encoders.pointnext import PointNext

SHAPES = {  # as openpoints' PointNeXt-S for 512-d ULIP prints them
    "encoder.encoder.0.0.convs.0.0.weight": (32, 3, 1),
    "encoder.encoder.0.0.convs.0.0.bias": (32,),
    "encoder.encoder.1.0.skipconv.0.weight": (64, 32, 1),
    "encoder.encoder.1.0.skipconv.0.bias": (64,),
    "encoder.encoder.1.0.convs.0.0.weight": (32, 35, 1, 1),
    "encoder.encoder.1.0.convs.0.1.running_var": (32,),
    "encoder.encoder.1.0.convs.1.0.weight": (64, 32, 1, 1),
    "encoder.encoder.4.0.convs.1.0.weight": (512, 256, 1, 1),
    "encoder.encoder.5.0.convs.0.0.weight": (512, 515, 1, 1),
    "encoder.encoder.5.0.convs.1.1.num_batches_tracked": (),
    "prediction.head.0.0.weight": (512, 512),
    "prediction.head.2.0.weight": (256, 512),
    "prediction.head.2.1.bias": (256,),
    "pc_projection": (256, 512),
}


def model(seed: int) -> PointNext:
    torch.manual_seed(seed)
    found = PointNext()
    for buffer in found.buffers():
        buffer.copy_(torch.rand(buffer.shape) + 1)
    return found


@pytest.fixture(scope="module")
def theirs() -> dict[str, torch.Tensor]:
    return to_openpoints(model(0))


def test_names_and_shapes_are_theirs(theirs: dict[str, torch.Tensor]) -> None:
    for name, shape in SHAPES.items():
        assert theirs[name].shape == shape
    assert len(theirs) == len(model(0).state_dict())


@pytest.mark.parametrize(("prefix", "of_projection"), [("", ""), ("module.point_encoder.", "module.")])
def test_round_trip(theirs: dict[str, torch.Tensor], prefix: str, of_projection: str) -> None:
    state = {prefix + name: value for name, value in theirs.items() if name != "pc_projection"}
    state[of_projection + "pc_projection"] = theirs["pc_projection"]
    state["module.logit_scale"] = torch.tensor(1.0)
    loaded = model(1)
    assert load_openpoints(loaded, state) == ["module.logit_scale"]
    for name, value in model(0).state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_classifier_has_no_projection_and_one_layer_more(theirs: dict[str, torch.Tensor]) -> None:
    state = {name: value for name, value in theirs.items() if name != "pc_projection"}
    state["prediction.head.4.0.weight"] = torch.zeros(40, 256)
    loaded, before = model(1), model(1).projection.weight
    assert load_openpoints(loaded, state) == ["prediction.head.4.0.weight"]
    assert torch.equal(loaded.projection.weight, before)
    assert torch.equal(loaded.stem.weight, model(0).stem.weight)


def test_what_does_not_fit_is_named(theirs: dict[str, torch.Tensor]) -> None:
    name = "encoder.encoder.2.0.convs.1.1.weight"
    missing = {key: value for key, value in theirs.items() if key != name}
    with pytest.raises(DataError, match=rf"{name} .*stages\.1\.layers\.1\.norm\.weight"):
        load_openpoints(model(1), missing)
    with pytest.raises(DataError, match=r"convs\.0\.0\.weight .*\(32, 3, 1\).*stem\.weight.*\(32, 4\)"):
        load_openpoints(PointNext(in_channels=4), theirs)
    with pytest.raises(DataError, match=r"encoder\.encoder\.0\.0\.convs\.0\.0\.weight"):
        load_openpoints(model(1), {"visual.proj": torch.zeros(2)})
