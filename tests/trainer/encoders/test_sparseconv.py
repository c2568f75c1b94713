import pytest
import torch
from torch import Tensor
from torch.nn import functional

from captionless.errors import SpecError
from captionless.trainer import encoders
from captionless.trainer.encoders import sparseconv
from captionless.trainer.ops.voxels import Grid
from tests.trainer.encoders.test_pointnext import clouds

TINY = {"width": 2, "depth": 11, "voxel": 0.1, "embed_dim": 6}


def count(channels: int, width: int, blocks: tuple[int, ...], embed_dim: int) -> int:
    """By hand: a kernel is its volume times both channels, a norm twice its channels."""
    whole, inputs = 125 * channels * width + 2 * width, width
    for outputs, times in zip((width, 2 * width, 4 * width, 8 * width), blocks, strict=True):
        whole += 8 * inputs * inputs + 2 * inputs
        whole += 27 * inputs * outputs + (2 * times - 1) * 27 * outputs**2 + 2 * times * 2 * outputs
        whole += inputs * outputs + 2 * outputs if inputs != outputs else 0
        inputs = outputs
    whole += 27 * 15 * width * 16 * width + 2 * 16 * width + 27 * 16 * width * 32 * width + 2 * 32 * width
    whole += 64 * width * 32 * width + 32 * width * 32 * width + 2 * 2 * 32 * width
    return whole + 32 * width * embed_dim + embed_dim


@pytest.mark.parametrize(
    ("options", "whole"),
    [
        ({}, 40_527_904),
        ({"in_channels": 4}, 40_531_904),
        ({"depth": 11, "width": 16}, 7_198_736),
        ({"depth": 18}, 32_948_640),
    ],
    ids=["defaults", "with height", "depth 11", "depth 18"],
)
def test_parameter_counts(options: dict[str, int], whole: int) -> None:
    model = encoders.build("sparseconv", **options)
    sizes = {"in_channels": 3, "width": 32, "depth": 34, **options}
    assert sum(p.numel() for p in model.parameters()) == whole
    blocks = {11: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[sizes["depth"]]
    assert count(sizes["in_channels"], sizes["width"], blocks, 512) == whole


def test_openshapes_count() -> None:
    """41.3 M, with its six channels and the 1280 of its CLIP."""
    assert count(6, 32, (3, 4, 6, 3), 1280) == 41_327_104


def straightforward(model: sparseconv.SparseConv, points: Tensor) -> Tensor:
    """The same network over dense space: every convolution is `conv3d`, read where there are voxels."""
    half = 16  # voxels from the middle to the border; stays whole in all five halvings
    space: dict[tuple[int, ...], list[Tensor]] = {}
    for b, rows in enumerate(points):
        for p in rows:
            space.setdefault((b, *(int(c) + half for c in (p[:3] / model.voxel).floor())), []).append(p)
    at = [torch.tensor(sorted(space))]
    for _ in range(4):
        halves = torch.cat([at[-1][:, :1], at[-1][:, 1:] // 2], dim=1)
        at.append(halves.unique(dim=0))
    x = torch.stack([torch.stack(space[tuple(v)]).mean(0) for v in at[0].tolist()])

    def conv(layer: sparseconv.ConvNorm, x: Tensor, source: int, target: int) -> Tensor:
        kernel = round(len(layer.weight) ** (1 / 3))
        side = 2 * half >> source
        whole = x.new_zeros(len(points), side, side, side, x.shape[1]).index_put(tuple(at[source].t()), x)
        filters = layer.weight.view(kernel, kernel, kernel, *layer.weight.shape[1:]).permute(4, 3, 0, 1, 2)
        stride, padding = 1 + target - source, (kernel - 1) // 2
        out = functional.conv3d(whole.movedim(-1, 1), filters, stride=stride, padding=padding)
        return layer.norm(out.movedim(1, -1)[tuple(at[target].t())])

    x = torch.relu(conv(model.stem, x, 0, 0))
    scales = []
    for level, stage in enumerate(model.stages):
        x = torch.relu(conv(stage.down, x, level, level + 1))
        for block in stage.blocks:
            skip = x if block.skip is None else block.skip.norm(block.skip.linear(x))
            y = torch.relu(conv(block.first, x, level + 1, level + 1))
            x = torch.relu(conv(block.second, y, level + 1, level + 1) + skip)
        row = {tuple(v): i for i, v in enumerate(at[level + 1].tolist())}
        around = [row[b, *(c >> level + 1 for c in v)] for b, *v in at[0].tolist()]
        scales.append(x[torch.tensor(around)])
    x = torch.cat(scales, dim=1)
    for level, layer in enumerate(model.joint):
        x = functional.leaky_relu(conv(layer, x, level, level + 1))
    rows = [x[at[2][:, 0] == b] for b in range(len(points))]
    x = torch.stack([torch.cat([r.amax(0), r.mean(0)]) for r in rows])
    for layer in model.head:
        x = functional.leaky_relu(layer.norm(layer.linear(x)))
    return model.projection(x)


@pytest.mark.parametrize("in_channels", [3, 4])
def test_forward_and_gradients_equal_the_dense_network(in_channels: int) -> None:
    torch.manual_seed(0)
    model = encoders.build("sparseconv", in_channels=in_channels, dropout=0.0, **TINY).double()
    points = clouds(4, 60, in_channels, torch.float64)
    for training in (True, False):
        gradients = []
        for forward in (model.train(training), lambda x: straightforward(model, x)):
            model.zero_grad()
            out = forward(points)
            (out * torch.linspace(-1, 1, 6, dtype=torch.float64)).sum().backward()
            gradients.append([out.detach(), *(p.grad.clone() for p in model.parameters())])
        for got, expected in zip(*gradients, strict=True):
            assert (got - expected).norm() <= 1e-8 * max(float(expected.norm()), 1e-3)


def test_points_in_any_order_give_the_same() -> None:
    model = encoders.build("sparseconv", **TINY).double().eval()
    points = clouds(3, 40, 3, torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(points[:, torch.randperm(40)]), model(points), rtol=1e-10, atol=1e-12)


def test_it_moves_with_its_cloud_by_voxels_of_the_coarsest_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the points carry being the same."""
    model = encoders.build("sparseconv", **{**TINY, "voxel": 0.125}).double().eval()
    points = clouds(3, 40, 3, torch.float64)
    plain = sparseconv.voxelise

    def moved(step: float) -> Tensor:
        def voxelise(xyz: Tensor, features: Tensor, edge: float) -> tuple[Grid, Tensor]:
            return plain(xyz + step, features, edge)

        monkeypatch.setattr(sparseconv, "voxelise", voxelise)
        with torch.no_grad():
            return model(points)

    assert torch.equal(moved(16 * 0.125), moved(0.0))
    assert torch.equal(moved(-48 * 0.125), moved(0.0))
    assert not torch.equal(moved(0.125), moved(0.0))


def test_bad_options_and_clouds_are_reported() -> None:
    with pytest.raises(SpecError, match="depth must be one of 11, 18, 34, not 50"):
        encoders.build("sparseconv", depth=50)
    with pytest.raises(SpecError, match="must be positive"):
        encoders.build("sparseconv", voxel=0.0)
    model = encoders.build("sparseconv", **TINY)
    with pytest.raises(ValueError, match=r"points must be finite and at most 16384 voxels of 0\.1"):
        model(clouds(2, 32, 3) * 1e4)
    with pytest.raises(ValueError, match=r"\(B, N, 3\)"):
        model(clouds(1, 32, 4))
