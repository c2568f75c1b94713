"""helm test: waits for the Alignment to end, then checks that it succeeded and that its results are complete."""

import os
import time

from kubernetes import client, config

NAME, NAMESPACE, SECONDS = os.environ["ALIGNMENT"], os.environ["POD_NAMESPACE"], float(os.environ["SECONDS"])


def status():
    return (
        client.CustomObjectsApi()
        .get_namespaced_custom_object("captionless.dev", "v1alpha1", NAMESPACE, "alignments", NAME)
        .get("status", {})
    )


def summary(found):
    return next((c for c in found.get("conditions", []) if c["type"] == "Succeeded"), {"status": "Unknown"})


config.load_incluster_config()
deadline, printed = time.monotonic() + SECONDS, ""
while (condition := summary(found := status()))["status"] == "Unknown":
    line = f"{condition.get('reason', 'not started')}: {found.get('stage', '')} {found.get('progress', '')}"
    if line != printed:
        print(line, flush=True)
        printed = line
    if time.monotonic() > deadline:
        raise SystemExit(f"FAILED: alignment {NAME} did not end within {SECONDS:.0f} s ({line})")
    time.sleep(2)
if condition["status"] != "True":
    raise SystemExit(f"FAILED: alignment {NAME}: {condition['reason']}: {condition['message']}")
undone = [s["name"] for s in found["stages"] if s["state"] != "Succeeded"]
if undone:
    raise SystemExit(f"FAILED: alignment {NAME} succeeded, but its stages did not:  {', '.join(undone)}")
trained = {s["name"].removeprefix("train-") for s in found["stages"] if s["name"].startswith("train-")}
figures = {r["run"]: {f["name"]: float(f["value"]) for f in r.get("figures", [])} for r in found.get("results", [])}
for run in sorted(trained):
    if not 0 <= figures.get(run, {}).get("zero_shot/top1", -1) <= 100:
        raise SystemExit(f"FAILED: alignment {NAME}: no zero_shot/top1 of {run}, only {figures.get(run)}")
    print(f"ok: {run}: " + ", ".join(f"{name} {value:g}" for name, value in figures[run].items()))
