import pytest
import torch

from captionless.errors import SpecError
from captionless.trainer import encoders
from captionless.trainer.encoders import pointnext
from captionless.trainer.ops import set_abstraction


def clouds(batch: int, n: int, channels: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x = torch.randn(batch, n, channels, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return x / x.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize(
    ("in_channels", "encoder", "features", "whole"),
    [(3, 968_480, 1_363_232, 1_494_304), (4, 968_512, 1_363_264, 1_494_336)],
)
def test_parameter_counts(in_channels: int, encoder: int, features: int, whole: int) -> None:
    model = encoders.build("pointnext-s", in_channels=in_channels)
    counts = dict.fromkeys(("stem", "stages", "head", "projection"), 0)
    for name, parameter in model.named_parameters():
        counts[name.split(".")[0]] += parameter.numel()
    assert counts["stem"] + counts["stages"] == encoder
    assert encoder + counts["head"] == features
    assert features + counts["projection"] == whole
    assert [s.radius for s in model.stages] == pytest.approx([0.15, 0.225, 0.3375, 0.50625, None])


def straightforward(model: torch.nn.Module, points: torch.Tensor) -> torch.Tensor:
    """PointNeXt-S as its paper writes it: everything grouped, then concatenated, then convolved; dropout off."""
    xyz, features = points[..., :3], model.stem(points)
    for stage in model.stages:
        if stage.radius is None:
            centers, grouped_xyz, own = xyz[:, :1] * 0, xyz.unsqueeze(1), None
            grouped_features = features.unsqueeze(1)
        else:
            m = xyz.shape[1] // 2
            row = torch.arange(len(xyz))[:, None]
            sample = torch.stack([_farthest(x, m) for x in xyz])
            centers, own = xyz[row, sample], features[row, sample]
            index = torch.stack([_ball(x, c, stage.radius, stage.nsample) for x, c in zip(xyz, centers, strict=True)])
            row = row[..., None]
            grouped_xyz = (xyz[row, index] - centers.unsqueeze(2)) / stage.radius
            grouped_features = features[row, index]
        x = torch.cat([grouped_xyz, grouped_features], dim=-1)
        for i, layer in enumerate(stage.layers):
            x = layer.norm(layer.linear(x))
            x = x if i == len(stage.layers) - 1 else torch.relu(x)
        x = x.amax(2)
        features = torch.relu(x if own is None else x + stage.skip(own))
        xyz = centers
    x = features.squeeze(1)
    for layer in model.head:
        x = torch.relu(layer.norm(layer.linear(x)))
    return model.projection(x)


def _farthest(x: torch.Tensor, m: int) -> torch.Tensor:
    chosen = [0]
    while len(chosen) < m:
        chosen.append(int(((x[:, None] - x[chosen]) ** 2).sum(-1).amin(1).argmax()))
    return torch.tensor(chosen)


def _ball(x: torch.Tensor, centers: torch.Tensor, radius: float, nsample: int) -> torch.Tensor:
    rows = []
    for c in centers:
        hits = torch.nonzero(((x - c) ** 2).sum(-1) < radius**2).flatten()[:nsample]
        rows.append(torch.cat([hits, hits[:1].expand(nsample - len(hits))]))
    return torch.stack(rows)


@pytest.mark.parametrize(("in_channels", "sa_layers"), [(3, 2), (4, 3)])
def test_forward_and_gradients_equal_the_straightforward_encoder(in_channels: int, sa_layers: int) -> None:
    torch.manual_seed(0)
    options = {"in_channels": in_channels, "width": 8, "nsample": 8, "radius": 0.4, "head": (24, 16), "embed_dim": 12}
    model = encoders.build("pointnext-s", sa_layers=sa_layers, dropout=0.0, **options).double()
    points = clouds(4, 64, in_channels, torch.float64)
    for training in (True, False):
        gradients = []
        for forward in (model.train(training), lambda x: straightforward(model, x)):
            model.zero_grad()
            out = forward(points)
            (out * torch.linspace(-1, 1, 12, dtype=torch.float64)).sum().backward()
            gradients.append([out.detach(), *(p.grad.clone() for p in model.parameters())])
        for got, expected in zip(*gradients, strict=True):
            assert (got - expected).norm() <= 1e-9 * max(float(expected.norm()), 1e-3)


def test_the_torch_path_of_other_devices_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = encoders.build("pointnext-s", width=16, nsample=16, embed_dim=32, dropout=0.0)
    points = clouds(8, 128, 3)
    fused = model(points)
    monkeypatch.setattr(pointnext, "set_abstraction", set_abstraction.set_abstraction_torch)
    plain = model(points)
    assert (fused - plain).norm() <= 1e-4 * plain.norm()


def test_a_cloud_does_not_depend_on_its_batch_in_evaluation() -> None:
    model = encoders.build("pointnext-s", width=8, nsample=8, embed_dim=16).eval()
    points = clouds(5, 64, 3)
    with torch.no_grad():
        together, alone = model(points), torch.cat([model(p[None]) for p in points])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_bad_options_are_reported() -> None:
    with pytest.raises(SpecError, match='did you mean "pointnext-s"'):
        encoders.build("pointnext_s")
    with pytest.raises(SpecError, match="in_channels must be 3"):
        encoders.build("pointnext-s", in_channels=6)
    with pytest.raises(SpecError, match="unexpected keyword"):
        encoders.build("pointnext-s", widht=16)
    with pytest.raises(ValueError, match=r"\(B, N, 3\)"):
        encoders.build("pointnext-s", width=8)(clouds(1, 32, 4))
