import pytest
import torch
from torch import Tensor
from torch.nn import functional

from captionless.errors import SpecError
from captionless.trainer import encoders
from tests.trainer.encoders.test_pointnext import clouds
from tests.trainer.ops.test_point_sets import naive_farthest, naive_nearest

TINY = {"width": 16, "depth": 3, "heads": 2, "groups": 12, "nsample": 8, "embed_dim": 10}


def count(channels: int, width: int, depth: int, embed_dim: int) -> int:
    """By hand: the group's layers 128, 256, 512, 256 with two norms, to the width; the class vectors; the position's
    128; in a block two norms, queries, keys and values without bias, the way out, four times as wide and back; a norm;
    the projection of two vectors side by side."""
    group = channels * 128 + 2 * 128 + 128 * 256 + 512 * 512 + 2 * 512 + (512 * 256 + 256) + (256 * width + width)
    position = (3 * 128 + 128) + (128 * width + width)
    block = 2 * width + 3 * width**2 + (width**2 + width) + 2 * width + (8 * width**2 + 4 * width + width)
    return group + 2 * width + position + depth * block + 2 * width + 2 * width * embed_dim


@pytest.mark.parametrize(
    ("options", "whole"),
    [
        ({}, 22_251_136),  # ULIP's: without the projection 21.9 M
        ({"in_channels": 4}, 22_251_264),
        ({"depth": 18}, 32_891_008),  # ULIP-2's
        ({"width": 512, "heads": 8, "groups": 384, "nsample": 64}, 38_962_560),  # the sizes of OpenShape's
    ],
    ids=["ULIP", "with height", "ULIP-2", "OpenShape"],
)
def test_parameter_counts(options: dict[str, int], whole: int) -> None:
    model = encoders.build("pointbert", **options)
    sizes = {"in_channels": 3, "width": 384, "depth": 12, **options}
    assert sum(p.numel() for p in model.parameters()) == whole
    assert count(sizes["in_channels"], sizes["width"], sizes["depth"], 512) == whole


def straightforward(model: torch.nn.Module, points: Tensor) -> Tensor:
    """As the papers write it: everything grouped, concatenated, then convolved; attention by its formula."""
    xyz, row = points[..., :3], torch.arange(len(points))[:, None]
    index = torch.tensor([naive_farthest(x.numpy(), model.groups) for x in xyz])
    centers = xyz[row, index]
    near = [
        [naive_nearest(x.numpy(), c.numpy(), model.nsample) for c in cs] for x, cs in zip(xyz, centers, strict=True)
    ]
    grouped = points[row[..., None], torch.tensor(near)]
    x = torch.cat([grouped[..., :3] - centers.unsqueeze(2), grouped[..., 3:]], dim=-1)
    part = model.tokens
    x = part.lift(torch.relu(part.point_norm(part.point(x))))
    x = torch.cat([x.amax(2, keepdim=True).expand_as(x), x], dim=-1)
    x = part.reduce(part.last(torch.relu(part.joint_norm(part.joint(x)))).amax(2))
    x = torch.cat([model.class_token.expand(len(x), 1, -1), x], dim=1)
    position = torch.cat([model.class_position.expand(len(x), 1, -1), model.position(centers)], dim=1)
    for block in model.blocks:
        x = x + position
        y = block.attention_norm(x)
        heads = []
        for q, k, v in zip(*(w.split(x.shape[-1] // block.heads, -1) for w in block.qkv(y).chunk(3, -1)), strict=True):
            heads.append(torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1) @ v)
        x = x + block.out(torch.cat(heads, dim=-1))
        y = functional.gelu(block.mlp[0](block.mlp_norm(x)))
        x = x + block.mlp[2](y)
    x = model.norm(x)
    return model.projection(torch.cat([x[:, 0], x[:, 1:].amax(1)], dim=-1))


@pytest.mark.parametrize("in_channels", [3, 4])
def test_forward_and_gradients_equal_the_straightforward_encoder(in_channels: int) -> None:
    torch.manual_seed(0)
    model = encoders.build("pointbert", in_channels=in_channels, drop_path=0.0, **TINY).double()
    torch.nn.init.normal_(model.class_token)
    points = clouds(4, 48, in_channels, torch.float64)
    for training in (True, False):
        gradients = []
        for forward in (model.train(training), lambda x: straightforward(model, x)):
            model.zero_grad()
            out = forward(points)
            (out * torch.linspace(-1, 1, 10, dtype=torch.float64)).sum().backward()
            gradients.append([out.detach(), *(p.grad.clone() for p in model.parameters())])
        for got, expected in zip(*gradients, strict=True):
            assert (got - expected).norm() <= 1e-9 * max(float(expected.norm()), 1e-3)


def test_the_last_block_is_left_out_most_often() -> None:
    torch.manual_seed(0)
    model = encoders.build("pointbert", drop_path=0.5, **TINY)
    assert [block.drop_path.drop for block in model.blocks] == pytest.approx([0, 0.25, 0.5])
    block, x, keys = model.blocks[2], torch.randn(4000, 2, 16), torch.arange(4000)
    with torch.no_grad():
        added = block.train()(x, keys) - x
        left_out = (added == 0).flatten(1).all(1).float().mean()  # both halves are
        ratio = block.drop_path(torch.ones(4000, 1, 1), keys).mean()
        torch.testing.assert_close(block.eval()(x, keys), block.eval()(x, keys + 1))
    assert 0.22 < left_out < 0.28
    assert 0.95 < ratio < 1.05  # what stays makes up for it


def test_points_in_any_order_behind_the_first_give_the_same() -> None:
    model = encoders.build("pointbert", **TINY).double().eval()
    points = clouds(3, 40, 3, torch.float64)
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(39)])
    with torch.no_grad():
        torch.testing.assert_close(model(points[:, order]), model(points), rtol=1e-10, atol=1e-12)


def test_bad_options_and_clouds_are_reported() -> None:
    with pytest.raises(SpecError, match=r"width: 100 .*heads: 6"):
        encoders.build("pointbert", width=100)
    with pytest.raises(SpecError, match="must be positive"):
        encoders.build("pointbert", depth=0)
    with pytest.raises(SpecError, match="drop_path"):
        encoders.build("pointbert", drop_path=1.0)
    model = encoders.build("pointbert", **TINY)
    with pytest.raises(ValueError, match=r"11 points .*12 groups of 8"):
        model(clouds(1, 11, 3))
    with pytest.raises(ValueError, match=r"\(B, N, 3\)"):
        model(clouds(1, 32, 4))
