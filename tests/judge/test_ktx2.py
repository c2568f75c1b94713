"""KTX2 textures are read texel for texel as Basis Universal's transcoder, which three.js brings, reads them."""

from __future__ import annotations

import numpy as np
import pytest

from captionless.precompute.meshes import ktx2
from tests.judge.ktx2 import OPTIONS, SIZES, blocks, encoded, pictures, transcoded

pytestmark = pytest.mark.judge


@pytest.mark.parametrize("how", OPTIONS)
def test_pictures_of_every_kind(how: str) -> None:
    jobs = [(f"{kind} {size}", texels, OPTIONS[how]) for size in SIZES for kind, texels in pictures(*size).items()]
    for sample in encoded(jobs):
        np.testing.assert_array_equal(ktx2.read(sample.data), sample.texels, sample.name)


def test_blocks_of_chance_in_every_mode() -> None:
    (like,) = encoded([("like", pictures(4, 4)["opacity"], OPTIONS["uastc"])])
    for seed in range(1, 5):
        sample = transcoded("blocks", *blocks(like.data, 256, seed))
        np.testing.assert_array_equal(ktx2.read(sample.data), sample.texels)
