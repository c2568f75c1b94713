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
    """The image of the controller, and of a run's pods where its `pods.image` is empty."""

    repository: str = "ghcr.io/captionless/captionless"
    tag: str = ""
    """Empty: the chart's appVersion."""
    digest: str = Field("", pattern=r"^(sha256:[0-9a-f]{64})?$")
    """As `sha256:...`; goes before the tag."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"


class Crds(Values):
    """The CustomResourceDefinition of Alignment."""

    enabled: bool = True
    """Part of this release; with `false` apply k8s/crd.yaml yourself."""
    keep: bool = True
    """Stays when the release is uninstalled, and every Alignment with it."""


class Pushgateway(Values):
    url: str = Field("", pattern=r"^(https?://.+)?$")
    """The Pushgateway that gets the figures of runs whose `eval.pushgateway` is empty."""


class JobSet(Values):
    enabled: bool = False
    """May the controller make JobSets (`train.engine: jobset`)? Their controller must be installed."""


class OperatorAccount(Values):
    create: bool = True
    name: str = ""
    """Empty: the release's full name."""
    annotations: dict[str, str] = {}


class Rbac(Values):
    create: bool = True
    """The controller's roles."""
    user_roles: bool = True
    """Let the cluster's roles view, edit and admin hold for Alignments too."""


class OperatorPolicy(Values):
    """Whom the controller's pod may talk to. On by default: it may make Jobs in every namespace, and what it needs is
    known. It has no effect where the network does not enforce policies."""

    enabled: bool = True
    api_server_ports: list[int] = [443, 6443]
    """The ports on which the API server's own addresses listen."""
    egress: list[dict[str, Any]] = []
    """Further rules (networking.k8s.io/v1 NetworkPolicyEgressRule), as for a Pushgateway that only runs name."""


class Monitor(Values):
    enabled: bool = False
    labels: dict[str, str] = {}
    """Labels that your Prometheus selects monitors by."""
    interval: str = Field("15s", pattern=r"^[0-9]+(ms|s|m)$")


class Rules(Values):
    enabled: bool = False
    labels: dict[str, str] = {}
    """Labels that your Prometheus selects rules by."""


class Dashboards(Values):
    enabled: bool = False
    labels: dict[str, str] = {"grafana_dashboard": "1"}
    """Labels by which Grafana's sidecar finds the ConfigMap."""
    annotations: dict[str, str] = {}


class Monitoring(Values):
    """For prometheus-operator and Grafana; all off, since the cluster may have neither."""

    pod_monitor: Monitor = Monitor()
    """The pods of runs."""
    service_monitor: Monitor = Monitor()
    """The controller."""
    rules: Rules = Rules()
    """Alerts."""
    dashboards: Dashboards = Dashboards()


class OperatorValues(Values):
    name_override: str = Field("", max_length=50)
    fullname_override: str = Field("", max_length=50)
    image: Image = Image()
    image_pull_secrets: list[ObjectName] = []
    """Names of Secrets."""
    watch_namespaces: list[ObjectName] = []
    """Look after these namespaces only, with a Role in each; empty: all of them, with a ClusterRole."""
    pushgateway: Pushgateway = Pushgateway()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    lease_seconds: int = Field(15, ge=10, le=120)
    """How long a controller that does not answer keeps its Lease, so that no other acts. More makes it outlast an API
    server that is slow for longer, and the next controller wait longer after a crash."""
    jobset: JobSet = JobSet()
    crds: Crds = Crds()
    service_account: OperatorAccount = OperatorAccount()
    rbac: Rbac = Rbac()
    network_policy: OperatorPolicy = OperatorPolicy()
    monitoring: Monitoring = Monitoring()
    resources: dict[str, Any] = {
        "requests": {"cpu": "50m", "memory": "192Mi", "ephemeral-storage": "16Mi"},
        "limits": {"memory": "512Mi", "ephemeral-storage": "128Mi"},
    }
    """The controller's; what it needs grows slowly with the number of Alignments."""
    priority_class_name: ObjectName = ""
    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    affinity: dict[str, Any] = {}
    pod_labels: dict[str, str] = {}
    pod_annotations: dict[str, str] = {}
    extra_env: list[dict[str, Any]] = []
    """Further environment variables of the controller (core/v1 EnvVar)."""


class RunAccount(Values):
    """The service account of the run's pods, by which workload identity gives them the storage. With
    `pods.serviceAccount` that one is used and none is made."""

    create: bool = True
    name: ObjectName = ""
    """Empty: the run's name."""
    annotations: dict[str, str] = {}
    """As `eks.amazonaws.com/role-arn: arn:aws:iam::123456789012:role/shapes`."""


class RunPolicy(Values):
    """Who may talk to the run's pods: its own, by any port (a training's ranks choose theirs), and everybody
    to the port of the metrics."""

    enabled: bool = True
    egress: list[dict[str, Any]] = []
    """Where the pods may go besides names and one another (networking.k8s.io/v1 NetworkPolicyEgressRule): your storage.
    Empty: anywhere, since only you know your storage's address."""


class RunTest(Values):
    """`helm test`: waits for the run and checks its figures."""

    image: str = ""
    """Any image with captionless; empty: `pods.image`, or the release of the chart's appVersion."""
    timeout_seconds: int = Field(3600, ge=1)
    """How long it waits for the run to end; give helm at least the same `--timeout`."""


class RunValues(Values):
    name_override: str = Field("", pattern=r"^([a-z]([a-z0-9-]*[a-z0-9])?)?$", max_length=40)
    """The run's name; empty: the release's."""
    service_account: RunAccount = RunAccount()
    credentials: dict[str, str] = {}
    """Makes a Secret of these environment variables (AWS_ACCESS_KEY_ID and so on) for the pods, where there is no
    workload identity. To keep them out of values use `pods.credentialsSecret`, the name of a Secret of yours."""
    network_policy: RunPolicy = RunPolicy()
    test: RunTest = RunTest()
