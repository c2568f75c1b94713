"""Masks that follow from samples' keys: the same bits as plain Python's integers give, and as good as random."""

import numpy as np
import pytest
import torch

from captionless.trainer.ops.keyed_dropout import KeyedDropout, keep, new_keys, random_words

CPU = torch.device("cpu")


def mixed(x: int) -> int:
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x2C1B3C6D % 2**32
    return x ^ x >> 16


def test_words_are_those_of_plain_integers() -> None:
    """Of the greatest keys and layers, too: nothing overflows, whatever a device does then."""
    keys = [0, 1, 2**32 - 1, 2**32, 2**63 - 1, 0x123456789ABCDEF]
    for layer in (0, 3, 2**15 - 1):
        got = random_words(torch.tensor(keys), layer, 5).tolist()
        for key, row in zip(keys, got, strict=True):
            counters = [((layer << 16) + c) * 0x9E3779B1 % 2**32 for c in range(5)]
            assert row == [mixed(mixed(c ^ key % 2**32) ^ key >> 32) for c in counters]


@pytest.mark.parametrize("keys", [torch.arange(2048), torch.arange(2048) << 32], ids=["low", "high"])
def test_masks_are_independent_between_samples_channels_and_layers(keys: torch.Tensor) -> None:
    """Even of neighbouring keys, which those of a training are not. Bounds are five standard deviations."""
    drop = 0.3
    masks = torch.stack([keep(keys, layer, 256, drop) for layer in (0, 1)]).double()
    count = masks[0].numel()
    assert abs(float(masks[0].mean()) - (1 - drop)) < 5 * (drop * (1 - drop) / count) ** 0.5
    z = (masks - (1 - drop)) / (drop * (1 - drop)) ** 0.5
    assert abs(float((z[0] * z[1]).mean())) < 5 / count**0.5
    for rows in (z[0].T, z[0][:256]):  # channels with channels, samples with samples
        products = (rows @ rows.T / rows.shape[1]).fill_diagonal_(0)
        assert float(products.abs().max()) < 5.5 / rows.shape[1] ** 0.5
    words = random_words(keys, 2, 256).numpy()
    counts = np.bincount((words >> 24).ravel(), minlength=256)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 255 + 5 * (2 * 255) ** 0.5


def test_a_sample_loses_the_same_in_any_company() -> None:
    dropout, keys = KeyedDropout(0.4).train(), new_keys(9, CPU)
    x = torch.rand(9, 5, 32) + 1
    whole = dropout(x, keys, 2)
    torch.testing.assert_close(whole[whole != 0], (x / 0.6)[whole != 0])
    assert bool(((whole == 0).all(1) == (whole == 0).any(1)).all())  # a channel, along the dimension between
    order = torch.tensor([3, 8, 0])
    assert torch.equal(dropout(x[order], keys[order], 2), whole[order])
    assert not torch.equal(dropout(x, keys, 3), whole)
    assert not torch.equal(dropout(x, new_keys(9, CPU), 2), whole)


def test_a_whole_sample_is_left_out_or_none_of_it() -> None:
    drop_path, x = KeyedDropout(0.5, whole=True).train(), torch.ones(64, 3, 8)
    found = drop_path(x, torch.arange(64), 1)
    assert set(found.flatten(1).sum(1).tolist()) == {0.0, 48.0}
    assert torch.equal(drop_path.eval()(x, torch.arange(64), 1), x)


def test_nothing_is_dropped_with_a_share_of_0_and_another_share_is_refused() -> None:
    x = torch.rand(3, 4)
    assert KeyedDropout(0.0).train()(x, torch.arange(3)) is x
    for drop in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"\[0, 1\)"):
            KeyedDropout(drop)
