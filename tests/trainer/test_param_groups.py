"""Which parameters patterns mean, how groups of them are updated, and what stays as it is of what is frozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from captionless.errors import SpecError
from captionless.spec.train import OptimSpec
from captionless.trainer import encoders, param_groups
from captionless.trainer.optim import Adam
from captionless.trainer.param_groups import Share
from tests.trainer.test_optim import plain_update

NAMES = ["stem.weight", "stem.bias", "blocks.1.norm.weight", "blocks.1.norm.bias", "blocks.10.mlp.weight", "log_scale"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("stem.*", {"stem.weight", "stem.bias"}),
        ("stem", {"stem.weight", "stem.bias"}),
        ("blocks.1", {"blocks.1.norm.weight", "blocks.1.norm.bias"}),
        ("blocks.1?", {"blocks.10.mlp.weight"}),
        ("*.norm.*", {"blocks.1.norm.weight", "blocks.1.norm.bias"}),
        ("*.bias", {"stem.bias", "blocks.1.norm.bias"}),
        ("log_scale", {"log_scale"}),
        ("*", set(NAMES)),
        ("Stem", set()),
    ],
)
def test_a_pattern_is_a_glob_over_names_of_parameters_or_their_modules(pattern: str, found: set[str]) -> None:
    assert param_groups.matched(NAMES, pattern) == found


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in ((4, 3), (4,), (3,), (3,), (5, 2), ())]


def test_the_first_group_that_matches_says_how_a_parameter_is_updated() -> None:
    spec = OptimSpec.model_validate(
        {
            "weightDecay": 0.3,
            "groups": [
                {"match": "stem.*", "lrFactor": 0.1},
                {"match": "*.weight", "lrFactor": 2, "weightDecay": 0},
            ],
        }
    )
    found = param_groups.shares(parameters(), NAMES, spec, "train.optim")
    assert found == [Share(0.1, 0.3), Share(0.1, 0), Share(2, 0), Share(1, 0), Share(2, 0), Share(1, 0)]
    alike = param_groups.shares(parameters(), NAMES, OptimSpec(weight_decay=0.3), "train.optim")
    assert alike == [Share(1, 0.3), Share(1, 0), Share(1, 0), Share(1, 0), Share(1, 0.3), Share(1, 0)]


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (["stam"], r'optim\.groups\[0\]\.match: \'stam\' matches no parameter; did you mean "stem"\?; there are'),
        (["stem", "stem.weight"], r"groups\[1\]\.match: all that 'stem\.weight' matches is in groups before it"),
    ],
)
def test_a_group_of_nothing_is_refused(groups: list[str], said: str) -> None:
    spec = OptimSpec.model_validate({"groups": [{"match": match} for match in groups]})
    with pytest.raises(SpecError, match=said):
        param_groups.shares(parameters(), NAMES, spec, "train.optim")


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_groups_are_updated_by_plain_arithmetic_at_their_own_rates(name: str) -> None:
    spec = OptimSpec.model_validate({"name": name, "weightDecay": 0.3, "groups": [{"match": "stem", "lrFactor": 0.25}]})
    of_stem = spec.model_copy(update={"weight_decay": 0.3})
    ours, theirs = parameters(), [p.detach().double() for p in parameters()]
    ours[3].requires_grad_(False)
    optimizer = Adam(ours, spec, param_groups.shares(ours, NAMES, spec, "train.optim"))
    moments = [(torch.zeros_like(q), torch.zeros_like(q)) for q in theirs]
    for step in range(1, 6):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            if i != 3:
                p.grad = torch.randn(p.shape)
                rate = 0.1 * (0.25 if i < 2 else 1)
                plain_update(name, of_stem, rate, step, q, p.grad.double(), *moments[i])
        optimizer.step(0.1)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p.detach().double(), q, rtol=1e-5, atol=1e-6)


def test_what_is_trained_later_begins_with_no_moments_and_the_others_go_on() -> None:
    first = parameters()
    first[0].requires_grad_(False)
    optimizer = Adam(first, OptimSpec())
    for p in first[1:]:
        p.grad = torch.ones_like(p)
    optimizer.step(0.1)
    state = optimizer.state_dict()
    assert state["steps"] == 1
    assert state["first"][0] is None
    later = Adam(parameters(), OptimSpec())
    later.load_state_dict(state)
    assert later.state_dict()["steps"] == [0, 1, 1, 1, 1, 1]
    assert torch.equal(later.state_dict()["first"][0], torch.zeros(4, 3))
    assert torch.equal(later.state_dict()["first"][1], state["first"][1])
    again = Adam(parameters(), OptimSpec())
    again.load_state_dict(later.state_dict())
    assert again.state_dict()["steps"] == [0, 1, 1, 1, 1, 1]
    back = Adam(first, OptimSpec())
    back.load_state_dict(again.state_dict())
    assert back.state_dict()["steps"] == 1


@pytest.mark.parametrize("name", ["pointnext-s", "pointbert", "sparseconv"])
def test_frozen_modules_keep_weights_and_statistics(name: str) -> None:
    small = {
        "pointnext-s": {"width": 4, "nsample": 4, "radius": 0.4},
        "pointbert": {"width": 8, "depth": 2, "heads": 2, "groups": 4, "nsample": 4},
        "sparseconv": {"width": 4, "depth": 11, "voxel": 0.3},
    }
    model = encoders.build(name, embed_dim=8, **small[name])
    pattern = {"pointnext-s": "stages.[12]", "pointbert": "tokens", "sparseconv": "stages"}[name]
    frozen = param_groups.freeze(model, {}, [pattern], "train.freeze")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    for module in frozen:
        module.eval()
    torch.manual_seed(0)
    model(torch.randn(3, 32, 3)).square().sum().backward()
    for key, value in model.named_parameters():
        assert (value.grad is None) == bool(param_groups.matched([key], pattern)), key
    statistics = [key for key in before if key.endswith("running_mean")]
    kept = {key for key in statistics if torch.equal(before[key], model.state_dict()[key])}
    assert kept == param_groups.matched(statistics, pattern)
    assert 0 < len(kept) < len(statistics) or name == "pointbert"


def test_patterns_that_freeze_nothing_or_everything_are_refused() -> None:
    model, scale = encoders.build("pointnext-s", width=4, embed_dim=8), nn.Parameter(torch.zeros(()))
    with pytest.raises(SpecError, match=r"train\.freeze\[1\]: 'stage\.0' matches no parameter.*are stem, stages\.0"):
        param_groups.freeze(model, {}, ["stem", "stage.0"], "train.freeze")
    with pytest.raises(SpecError, match=r"train\.freeze: \* leaves no parameter"):
        param_groups.freeze(model, {}, ["*"], "train.freeze")
    model = encoders.build("pointnext-s", width=4, embed_dim=8)
    assert param_groups.freeze(model, {"log_scale": scale}, ["log_scale"], "train.freeze") == []
    assert not scale.requires_grad
    assert param_groups.freeze(model, {}, ["stem", "head.0"], "train.freeze") == [model.stem, model.head[0]]
