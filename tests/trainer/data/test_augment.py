import numpy as np
import pytest
import torch

from captionless.spec.train import AugmentSpec
from captionless.trainer.data import augment
from captionless.trainer.seeds import generator, number

pytestmark = pytest.mark.usefixtures("many_parts")

OFF = {
    "dropout": 0.0, "scale_low": 1.0, "scale_high": 1.0, "shift": 0.0,
    "perturb_sigma": 0.0, "rotate_up": False, "jitter_sigma": 0.0,
}  # fmt: skip


def cloud(n: int = 200) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (n, 3)).astype(np.float32)


def only(**fields: float | bool) -> AugmentSpec:
    return AugmentSpec.model_validate({**OFF, **fields})


def many(spec: AugmentSpec, count: int = 200) -> list[np.ndarray]:
    return [augment.augment(cloud(), spec, generator("test", i)) for i in range(count)]


def test_nothing_asked_for_changes_nothing() -> None:
    np.testing.assert_array_equal(augment.augment(cloud(), only(), generator("x")), cloud())


def test_dropped_points_become_the_first_and_the_ratio_stays_within_bounds() -> None:
    before, ratios = cloud(), []
    for after in many(only(dropout=0.875)):
        kept = (after == before).all(1)
        np.testing.assert_array_equal(after[~kept], np.broadcast_to(before[0], after[~kept].shape))
        ratios.append(1 - kept.mean())
    assert max(ratios) < 0.95
    assert 0.35 < np.mean(ratios) < 0.53  # uniform on [0, 0.875]: 0.4375


def test_scale_and_shift() -> None:
    scales = [np.linalg.norm(after) / np.linalg.norm(cloud()) for after in many(only(scale_low=0.8, scale_high=1.25))]
    assert 0.8 <= min(scales) < 0.83
    assert 1.22 < max(scales) <= 1.25
    shifts = np.array([(after - cloud()).mean(0) for after in many(only(shift=0.1))])
    assert np.abs(shifts).max() <= 0.1 + 1e-6
    assert np.ptp(shifts, axis=0).min() > 0.18


@pytest.mark.parametrize(
    ("fields", "largest"),
    [({"rotate_up": True}, np.pi), ({"perturb_sigma": 0.06}, 0.18 * 3)],
    ids=["about the up axis", "perturbation"],
)
def test_rotations_keep_distances_and_their_bounds(fields: dict, largest: float) -> None:
    angles = []
    for after in many(only(**fields)):
        rotation = np.linalg.lstsq(cloud().astype(np.float64), after.astype(np.float64), rcond=None)[0]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(rotation) > 0
        if "rotate_up" in fields:
            np.testing.assert_allclose(rotation[1], [0, 1, 0], atol=1e-5)  # y is up and stays
        angles.append(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
    assert max(angles) <= largest + 1e-3
    assert max(angles) > 0.9 * np.pi if "rotate_up" in fields else max(angles) > 0.15


def test_jitter_is_clipped() -> None:
    noise = np.array([after - cloud() for after in many(only(jitter_sigma=0.03, jitter_clip=0.05), 50)])
    assert np.abs(noise).max() <= 0.05 + 1e-6
    assert 0.025 < noise.std() < 0.03


def test_a_sample_depends_on_its_own_generator_only() -> None:
    stored = np.stack([cloud(), cloud()[::-1]]).astype(np.float16)
    spec = AugmentSpec()
    both = augment.training_clouds(stored, 50, spec, [generator("a"), generator("b")])
    assert both.shape == (2, 50, 3)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both[1:], augment.training_clouds(stored[1:], 50, spec, [generator("b")]))
    assert not np.array_equal(both[1:], augment.training_clouds(stored[1:], 50, spec, [generator("c")]))


def test_training_takes_a_well_spread_subset_of_the_stored_points() -> None:
    stored = cloud(400)[None]
    taken = augment.training_clouds(stored, 100, only(), [generator("a")])[0]
    rows = {tuple(p) for p in stored[0]}
    assert {tuple(p) for p in taken} <= rows
    assert len({tuple(p) for p in taken}) == 100


def test_evaluation_takes_the_prefix_and_height_is_above_the_lowest() -> None:
    stored = cloud()[None].astype(np.float16)
    clouds = augment.evaluation_clouds(stored, 64)
    np.testing.assert_array_equal(clouds, stored[:, :64].astype(np.float32))
    assert augment.with_channels(clouds, 3) is clouds
    four = augment.with_channels(clouds, 4)
    np.testing.assert_array_equal(four[..., 3], clouds[..., 1] - clouds[..., 1].min())
    with pytest.raises(ValueError, match="300 points"):
        augment.evaluation_clouds(stored, 300)


def test_generators_are_the_same_everywhere() -> None:
    assert number("init", 0) == number("init", 0) != number("init", 1)
    assert generator("sample", 0, 1, "a").integers(1 << 30) == 99116949  # recorded once


@pytest.mark.parametrize(
    "spec",
    [AugmentSpec(), only(), AugmentSpec(jitter_sigma=0), AugmentSpec(rotate_up=False, dropout=0.0)],
    ids=["all", "nothing", "no jitter", "no turn"],
)
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("m", [32, 150])  # of a subset, and of all points
def test_a_device_makes_the_clouds_that_the_processor_makes(spec: AugmentSpec, channels: int, m: int) -> None:
    stored = np.random.default_rng(1).uniform(-1, 1, (5, 200, 6)).astype(np.float16)
    expected = augment.training_clouds(stored, m, spec, [generator("s", i) for i in range(5)])
    drawn = augment.drawn_clouds(stored, m, spec, [generator("s", i) for i in range(5)])
    found = augment.on_device(drawn, torch.device("cpu"), channels)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), augment.with_channels(expected, channels), rtol=0, atol=1e-6)


def test_draws_for_a_device_refuse_too_few_points() -> None:
    with pytest.raises(ValueError, match="cannot sample 201 of 200"):
        augment.drawn_clouds(np.zeros((1, 200, 3)), 201, AugmentSpec(), [generator("s", 0)])
