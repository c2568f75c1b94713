"""The figures of a finished run go to a Pushgateway whenever eval is called, also with nothing left to evaluate."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.eval.gateway import serving
from tests.flow.conftest import Finished, call

pytestmark = pytest.mark.flow

GROUP = "/metrics/job/captionless/alignment/tiny/namespace/lab"


def test_eval_pushes_again_after_a_failed_push(finished: Finished) -> None:
    with serving() as gateway:
        url = gateway.url.replace("//", "//me:let-me-in@")
        gateway.answers = [500] * 5

        def evaluated(*options: str, default: str = "") -> tuple[int, str]:
            extra = {"CAPTIONLESS_PUSHGATEWAY": default} if default else {}
            done = call("eval", str(finished.spec), *options, cwd=finished.folder, POD_NAMESPACE="lab", **extra)
            assert "Traceback" not in done.stderr
            return done.returncode, done.stderr

        code, shown = evaluated("--set", f"eval.pushgateway={url}")
        assert code == 0  # the results are stored: a run does not fail because its figures cannot be pushed
        assert "Pushgateway" in shown
        assert "let-me-in" not in shown
        assert len(gateway.seen) == 5
        assert not gateway.groups
        before = (finished.folder / "out" / "eval" / "results.json").stat().st_mtime_ns
        assert evaluated(default=url)[0] == 0
        assert (finished.folder / "out" / "eval" / "results.json").stat().st_mtime_ns == before
        families = text_string_to_metric_families(gateway.groups[GROUP].decode())
    samples = {(s.name, s.labels.get("run")): s.value for family in families for s in family.samples}
    for mode in ("uniform", "avg"):
        stored = finished.results["figures"]["runs"][mode]["0"]["zero_shot"]["top1"]
        assert samples["captionless_eval_zero_shot_top1_ratio", f"{mode}-seed0"] == stored
