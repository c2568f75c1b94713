"""The values of the charts, as classes: from them come values.yaml, values.schema.json and the table of the README.

A run's values are the spec's fields (`AlignmentSpec`) and, beside them, those of `RunValues`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from captionless.spec.quantities import ObjectName


class Values(BaseModel):
    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )


class Image(Values):
    """The image of the controller, and of runs' pods unless `pods.image` is set."""

    repository: str = "ghcr.io/captionless/captionless"
    tag: str = ""
    """Defaults to the chart's appVersion."""
    digest: str = Field("", pattern=r"^(sha256:[0-9a-f]{64})?$")
    """`sha256:...`; takes precedence over the tag."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"


class Crds(Values):
    """The CustomResourceDefinition of Alignment."""

    enabled: bool = True
    """Installs it with this release; if `false`, apply k8s/crd.yaml yourself."""
    keep: bool = True
    """Keeps it, and with it every Alignment, when the release is uninstalled."""


class Pushgateway(Values):
    url: str = Field("", pattern=r"^(https?://.+)?$")
    """The Pushgateway for the metrics of runs that do not set `eval.pushgateway`."""


class JobSet(Values):
    enabled: bool = False
    """Allows JobSets (`train.engine: jobset`). The JobSet controller must be installed."""


class OperatorAccount(Values):
    create: bool = True
    name: str = ""
    """Defaults to the release's full name."""
    annotations: dict[str, str] = {}


class Rbac(Values):
    create: bool = True
    """Creates the controller's roles."""
    user_roles: bool = True
    """Extends the cluster roles view, edit and admin to Alignments."""


class OperatorPolicy(Values):
    """Restricts the controller's network access to what it needs. On by default, since it can create Jobs in every
    namespace. It has no effect if the cluster's network does not enforce policies."""

    enabled: bool = True
    api_server_ports: list[int] = [443, 6443]
    """The ports of the API server's endpoints."""
    egress: list[dict[str, Any]] = []
    """Additional rules (networking.k8s.io/v1 NetworkPolicyEgressRule), e.g. for a Pushgateway that only specs name."""


class Monitor(Values):
    enabled: bool = False
    labels: dict[str, str] = {}
    """Labels by which your Prometheus selects monitors."""
    interval: str = Field("15s", pattern=r"^[0-9]+(ms|s|m)$")


class Rules(Values):
    enabled: bool = False
    labels: dict[str, str] = {}
    """Labels by which your Prometheus selects rules."""
    runbook: str = "docs/runbook.md"
    """The URL at which you serve docs/runbook.md: each alert has that of its section as `runbook_url`."""


class Dashboards(Values):
    enabled: bool = False
    labels: dict[str, str] = {"grafana_dashboard": "1"}
    """Labels by which Grafana's sidecar finds the ConfigMap."""
    annotations: dict[str, str] = {}


class Monitoring(Values):
    """For prometheus-operator and Grafana. Off by default, since the cluster may have neither."""

    pod_monitor: Monitor = Monitor()
    """For the pods of runs."""
    service_monitor: Monitor = Monitor()
    """For the controller."""
    rules: Rules = Rules()
    """Alerting rules."""
    dashboards: Dashboards = Dashboards()


class OperatorValues(Values):
    name_override: str = Field("", max_length=50)
    fullname_override: str = Field("", max_length=50)
    image: Image = Image()
    image_pull_secrets: list[ObjectName] = []
    """Names of image pull Secrets."""
    watch_namespaces: list[ObjectName] = []
    """The namespaces to watch, with a Role in each. Defaults to all namespaces, with a ClusterRole."""
    pushgateway: Pushgateway = Pushgateway()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    lease_seconds: int = Field(15, ge=10, le=120)
    """Duration of the leader election Lease. A longer one tolerates a slower API server, but after a crash the next
    controller takes over later."""
    jobset: JobSet = JobSet()
    allow_pod_patches: bool = False
    """Allows runs to patch their Jobs and pods (`pods.patch`). Whoever may create an Alignment can then have any
    kind of pod made by the controller: allow it where they may create pods anyway, or where the pod security standards
    of the namespaces bound them."""
    crds: Crds = Crds()
    service_account: OperatorAccount = OperatorAccount()
    rbac: Rbac = Rbac()
    network_policy: OperatorPolicy = OperatorPolicy()
    monitoring: Monitoring = Monitoring()
    resources: dict[str, Any] = {
        "requests": {"cpu": "50m", "memory": "192Mi", "ephemeral-storage": "16Mi"},
        "limits": {"memory": "512Mi", "ephemeral-storage": "128Mi"},
    }
    """The controller's resources; its needs grow slowly with the number of Alignments."""
    priority_class_name: ObjectName = ""
    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    affinity: dict[str, Any] = {}
    pod_labels: dict[str, str] = {}
    pod_annotations: dict[str, str] = {}
    extra_env: list[dict[str, Any]] = []
    """Additional environment variables of the controller (core/v1 EnvVar)."""


class RunAccount(Values):
    """The service account of the run's pods, for access to the storage by workload identity. Not created if
    `pods.serviceAccount` is set."""

    create: bool = True
    name: ObjectName = ""
    """Defaults to the run's name."""
    annotations: dict[str, str] = {}
    """E.g. `eks.amazonaws.com/role-arn: arn:aws:iam::123456789012:role/shapes`."""


class RunPolicy(Values):
    """Restricts access to the run's pods: its own pods on any port (the ranks of a training choose theirs), everybody
    on the metrics port."""

    enabled: bool = True
    egress: list[dict[str, Any]] = []
    """What the pods may connect to besides DNS and one another (networking.k8s.io/v1 NetworkPolicyEgressRule): your
    storage. Empty: anything, since only you know your storage's address."""


class RunTest(Values):
    """`helm test`: waits for the run to end and checks its results."""

    image: str = ""
    """An image with captionless. Defaults to `pods.image`, or else to the release of the chart's appVersion."""
    timeout_seconds: int = Field(3600, ge=1)
    """How long to wait for the run to end; use at least the same `--timeout` for helm."""


class RunValues(Values):
    name_override: str = Field("", pattern=r"^([a-z]([a-z0-9-]*[a-z0-9])?)?$", max_length=40)
    """The run's name. Defaults to the release's."""
    service_account: RunAccount = RunAccount()
    credentials: dict[str, str] = {}
    """Environment variables (AWS_ACCESS_KEY_ID etc.) from which a Secret for the pods is created, if there is no
    workload identity. To keep them out of the values, use `pods.credentialsSecret`, the name of your own Secret."""
    network_policy: RunPolicy = RunPolicy()
    test: RunTest = RunTest()
