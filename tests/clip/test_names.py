"""Names of models and weights: known ones pass, wrong ones are named, and neither needs torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from captionless.clip import openclip
from captionless.clip.checkpoints import identity
from captionless.clip.demo import NAME as DEMO
from captionless.clip.names import check
from captionless.errors import SpecError


@pytest.mark.parametrize(
    ("model", "pretrained", "field", "named"),
    [
        pytest.param("ViT-B33", "openai", "clip.model", ['"ViT-B33"', '"ViT-B-32"'], id="unknown model"),
        pytest.param("captionless-dem", None, "clip.model", ['"captionless-demo"'], id="misspelt demo"),
        pytest.param("ViT-B-32", "laion2b_s34b_b79", "clip.pretrained", ['"laion2b_s34b_b79k"'], id="unknown tag"),
        pytest.param("ViT-B-32", None, "clip.pretrained", ['"ViT-B-32"'], id="no weights"),
        pytest.param("ViT-B-32", "/nowhere/model.pt", "clip.pretrained", ['"/nowhere/model.pt"'], id="missing file"),
        pytest.param(DEMO, "openai", "clip.pretrained", [DEMO, '"openai"'], id="weights for the demo"),
        pytest.param("local-dir:/nowhere", None, "clip.model", ["open_clip_config.json"], id="missing folder"),
    ],
)
def test_what_cannot_work_fails_before_loading(
    model: str, pretrained: str | None, field: str, named: list[str]
) -> None:
    for function in (check, openclip.load, identity):
        with pytest.raises(SpecError) as caught:
            function(model, pretrained)
        assert str(caught.value).startswith(f"{field}: ")
        assert all(name in str(caught.value) for name in named)
        assert "\n" not in str(caught.value)


def test_known_names_pass_the_check() -> None:
    check("ViT-B-32", "laion2b_s34b_b79k")
    check("ViT-B/32", "openai")
    check("ViT-B-32", "s3://bucket/model.pt")
    check("hf-hub:some/model", None)
    check(DEMO, None)


def test_a_models_name_is_checked_without_torch() -> None:
    program = (
        "import sys\nfrom captionless.clip.names import check\nfrom captionless.errors import SpecError\n"
        "check('captionless-demo', None)\ncheck('ViT-B-32', 's3://bucket/model.pt')\n"
        "try: check('ViT-B33', 'openai')\n"
        "except SpecError: print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
