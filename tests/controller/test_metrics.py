from __future__ import annotations

from prometheus_client import CollectorRegistry

from captionless.controller.cache import Cache
from captionless.controller.metrics import AlignmentCollector, Metrics
from tests.controller.world import Controller, World


def test_the_state_of_alignments_is_collected_from_the_cache() -> None:
    world = World()
    world.align()
    world.align("wrong", listed=False, output="/home")
    controller = Controller(world)
    controller.work()
    controller.see()
    registry = CollectorRegistry()
    registry.register(AlignmentCollector(controller.cache))
    get = registry.get_sample_value
    assert get("captionless_alignments", {"condition": "Succeeded", "status": "Unknown"}) == 1
    assert get("captionless_alignments", {"condition": "Succeeded", "status": "False"}) == 1
    one = {"namespace": "lab", "alignment": "wrong"}
    labels = {**one, "condition": "Succeeded", "status": "False", "reason": "SpecInvalid"}
    assert get("captionless_alignment_condition", labels) == 1
    labels = {"namespace": "lab", "alignment": "shapes", "stage": "pack", "state": "Running"}
    assert get("captionless_alignment_stage_state", labels) == 1
    del world.objects[("Alignment", "lab", "wrong")]
    controller.see()
    assert get("captionless_alignments", {"condition": "Succeeded", "status": "False"}) is None


def test_what_the_controller_counts_has_the_names_of_the_alerts() -> None:
    registry = CollectorRegistry()
    counted = Metrics(registry)
    counted.errors.labels("Conflict").inc()
    counted.seconds.observe(0.1)
    assert registry.get_sample_value("captionless_reconcile_errors_total", {"error": "Conflict"}) == 1
    assert registry.get_sample_value("captionless_reconcile_seconds_count") == 1
    assert registry.get_sample_value("captionless_work_queue_length") == 0
    assert list(AlignmentCollector(Cache()).collect())
