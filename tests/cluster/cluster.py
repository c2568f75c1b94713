"""A cluster as the tests see it: whichever KUBECONFIG names, or the one that `hack/cluster` raises.

With KUBECONFIG in the environment that cluster is used, and the rest is set by the variables that
`hack/cluster/cluster env` prints for its own (docs/cluster.md): the image that its nodes can start, S3 from
here and from pods, Prometheus. Without it, `hack/cluster/cluster up --image` makes all of that.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tests import pace

T = TypeVar("T")

CLUSTER = Path(__file__).parents[2] / "hack" / "cluster" / "cluster"
SERVED = {
    **dict.fromkeys(("events", "namespaces", "nodes", "pods"), "/api/v1"),
    "alignments": "/apis/captionless.dev/v1alpha1",
    "clusterroles": "/apis/rbac.authorization.k8s.io/v1",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
    "deployments": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "jobsets": "/apis/jobset.x-k8s.io/v1alpha2",
    "leases": "/apis/coordination.k8s.io/v1",
}
"""Where the API server has the kinds that tests ask for."""
OURS = "captionless.dev/test"  # the label of a namespace that a test made


class CommandFailed(AssertionError):
    """A program that the test needed did not return 0; the text is what it said."""


@dataclass
class Cluster:
    """Everything a test needs of a cluster.

    image: what pods run. bucket, prefix: where on S3 this session of tests may write. audit_log: None
    where the API server is out of reach, as in a managed cluster. variables: see the module's docstring.
    """

    variables: Mapping[str, str]
    prefix: str = field(default_factory=lambda: f"test-{uuid.uuid4().hex[:8]}")
    in_use: set[str] = field(default_factory=set)
    """The namespaces that a test or a fixture is using; every other with our label is a leftover."""
    restorers: list[Callable[[], None]] = field(default_factory=list)
    """What puts right things that tests share, when one failed that had changed them."""

    def __post_init__(self) -> None:
        required = ("CAPTIONLESS_TEST_IMAGE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        missing = [v for v in required if v not in self.variables]
        assert not missing, f"KUBECONFIG is set but {', '.join(missing)} not; docs/cluster.md says what they are"
        self.image = self.variables["CAPTIONLESS_TEST_IMAGE"]
        self.bucket = self.variables.get("CAPTIONLESS_TEST_BUCKET", "captionless")
        self.s3_in_cluster = self.variables.get("CAPTIONLESS_TEST_S3_IN_CLUSTER", self.variables["AWS_ENDPOINT_URL"])
        self.prometheus = self.variables.get("CAPTIONLESS_TEST_PROMETHEUS", "")
        self.pushgateway = self.variables.get("CAPTIONLESS_TEST_PUSHGATEWAY", "")
        log = self.variables.get("CAPTIONLESS_TEST_AUDIT_LOG", "")
        self.audit_log = Path(log) if log else None
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            region_name=self.variables.get("AWS_DEFAULT_REGION", "us-east-1"),
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 8, "mode": "standard"}),
        )

    def run(
        self,
        *command: str | Path,
        input: str = "",  # noqa: A002  as subprocess calls it
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program with the cluster's environment: kubectl, helm, captionless, kubeconform..."""
        words = [str(c) for c in command]
        environment = {**os.environ, **self.variables}
        program = shutil.which(words[0], path=environment["PATH"])
        assert program, f"{words[0]} is not in the cluster's PATH"
        done = subprocess.run([program, *words[1:]], input=input, capture_output=True, text=True, env=environment)
        if check and done.returncode:
            raise CommandFailed(f"{' '.join(words)} returned {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def kubectl(self, *arguments: str, input: str = "", check: bool = True) -> str:  # noqa: A002
        """What kubectl prints; CommandFailed when it fails, unless `check` is off."""
        return self.run("kubectl", *arguments, input=input, check=check).stdout

    def helm(self, *arguments: str, check: bool = True) -> str:
        """What helm prints; CommandFailed when it fails, unless `check` is off."""
        return self.run("helm", *arguments, check=check).stdout

    def apply(self, namespace: str, *objects: Mapping[str, Any]) -> None:
        """Creates the objects in the namespace; a field the server does not know is an error."""
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("create", "--namespace", namespace, "--validate=strict", "-f", "-", input=listed)

    @cached_property
    def _api(self) -> client.ApiClient:
        """The official client: tests that wait ask every second, and a kubectl each time is a tenth of a processor."""
        return config.new_client_from_config(self.variables["KUBECONFIG"])

    def read(self, path: str, check: bool = True, **query: str) -> str:
        """What the API server answers to a GET of the path; CommandFailed (or "" without `check`) on an error."""
        asked = self._api.param_serialize("GET", path, query_params=list(query.items()), auth_settings=["BearerToken"])
        try:
            answer = self._api.call_api(*asked, _request_timeout=pace.seconds(30))
            text = answer.read().decode()
        except (ApiException, HTTPError) as error:
            answer, text = None, str(error)
        if answer is not None and answer.status == 200:
            return str(text)
        if check:
            raise CommandFailed(f"GET {path}: {text}")
        return ""

    def get(self, kind: str, name: str = "", namespace: str = "", selector: str = "") -> Any:
        """The object, or the items of the list; `kind` is a key of `SERVED`."""
        where = f"/namespaces/{namespace}" if namespace else ""
        path = f"{SERVED[kind]}{where}/{kind}"
        if name:
            return json.loads(self.read(f"{path}/{name}"))
        return json.loads(self.read(path, **({"labelSelector": selector} if selector else {})))["items"]

    def wait_for(
        self,
        what: str,
        condition: Callable[[], T | None],
        seconds: float = 60,
        state: Callable[[], object] | None = None,
    ) -> T:
        """The first true result of `condition`, which is asked for every second (see `pace.wait_for`)."""
        return pace.wait_for(what, condition, seconds, every=1, state=state)

    def wait(self, condition: str, what: str, namespace: str, seconds: float = 60) -> None:
        """`kubectl wait` for a condition; tells the pods' state and logs when it does not come."""
        once = ("wait", f"--for={condition}", what, "-n", namespace, "--timeout=10s")
        self.wait_for(
            f"{condition} of {what} in {namespace}",
            lambda: self.run("kubectl", *once, check=False).returncode == 0,
            seconds,
            state=lambda: self.explain(namespace),
        )

    def explain(self, namespace: str) -> str:
        """What a person would look at first when something in the namespace went wrong."""
        parts = [self.kubectl("get", "jobs,pods", "-n", namespace, "-o", "wide", check=False)]
        events = self.kubectl("get", "events", "-n", namespace, "--sort-by=.lastTimestamp", check=False)
        parts.append("\n".join(events.splitlines()[-20:]))
        for pod in self.get("pods", namespace=namespace):
            name = pod["metadata"]["name"]
            logs = self.run("kubectl", "logs", "-n", namespace, name, "--tail=30", "--all-containers", check=False)
            parts.append(f"--- {name}\n{logs.stdout}{logs.stderr}")
        return "\n".join(parts)

    @contextmanager
    def namespace(self, hint: str, credentials: bool = True) -> Iterator[str]:
        """A namespace of its own that enforces the `restricted` pod security standard; afterwards it is removed.

        With `credentials` it has a Secret `s3` whose keys are the environment variables for S3 from pods.
        """
        name = f"{hint}-{uuid.uuid4().hex[:6]}"
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")} | {OURS: "true"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.in_use.add(name)
        try:
            self.kubectl("create", "-f", "-", input=json.dumps(namespace))
            if credentials:
                secret = {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "s3"},
                    "stringData": self.s3_variables,
                }
                self.apply(name, secret)
            yield name
        finally:
            self.in_use.discard(name)
            self.remove(name)

    def remove(self, namespace: str) -> None:
        """Begins to delete the namespace, and waits until none of its pods takes anything of the node any more.

        The rest of a deletion is bookkeeping that disturbs nobody; the next test need not wait for it. That it ends is
        asserted at the session's end.
        """
        self.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")
        if self._working(namespace):
            self.kubectl("delete", "pods", "--all", "-n", namespace, "--grace-period=1", "--wait=false", check=False)
            self.wait_for(
                f"the pods of namespace {namespace} to be gone",
                lambda: not self._working(namespace),
                120,
                state=lambda: self.explain(namespace),
            )

    def _working(self, namespace: str) -> list[str]:
        """The pods that may have a process."""
        found = self.get("pods", namespace=namespace)
        return [p["metadata"]["name"] for p in found if p["status"].get("phase") not in ("Succeeded", "Failed")]

    def namespaces(self) -> list[str]:
        """Those that tests made and that are still there."""
        return [str(n["metadata"]["name"]) for n in self.get("namespaces", selector=OURS)]

    def remove_leftovers(self) -> None:
        """Removes what an earlier test left when it failed: namespaces with running pods, S3 cut off, no controller."""
        if "CAPTIONLESS_TEST_TOXIPROXY" in self.variables:
            self.set_s3(True)
        for name in sorted(set(self.namespaces()) - self.in_use):
            if self._working(name):
                pace.report(f"removing what an earlier test left: namespace {name}")
                self.remove(name)
        for restore in self.restorers:
            restore()

    def sweep(self) -> None:
        """Removes what a session that was killed left: its releases, with what they own outside namespaces."""
        for name in self.namespaces():
            for release in self.helm("list", "-n", name, "--all", "--short").split():
                self.helm("uninstall", release, "-n", name, "--wait", "--timeout", minutes(2))
            self.remove(name)
        self.wait_for("namespaces of an earlier session to end", lambda: not self.namespaces(), 120)

    @property
    def s3_variables(self) -> dict[str, str]:
        """The environment by which a pod reaches S3."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
        found = {n: self.variables[n] for n in names if n in self.variables}
        return {**found, "AWS_ENDPOINT_URL": self.s3_in_cluster}

    def url(self, *parts: str) -> str:
        """An s3:// URL beneath this session's prefix."""
        return "/".join((f"s3://{self.bucket}/{self.prefix}", *parts))

    def set_s3(self, on: bool) -> None:
        """Cuts S3 off for everybody, or lets it answer again; only for a cluster with the proxy in front of S3."""
        proxy = self.variables["CAPTIONLESS_TEST_TOXIPROXY"]
        request = urllib.request.Request(
            f"{proxy}/proxies/s3", json.dumps({"enabled": on}).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=pace.seconds(5)).close()

    @contextmanager
    def without_s3(self) -> Iterator[None]:
        """S3 refuses every connection inside the block."""
        self.set_s3(False)
        try:
            yield
        finally:
            self.set_s3(True)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query of Prometheus: each with `metric` and `value`."""
        url = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=pace.seconds(10)) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def audit(self, user_agent: str) -> list[dict[str, Any]]:
        """The audit events of the API calls whose user agent matches the regular expression."""
        assert self.audit_log is not None, "this cluster's audit log is out of reach (CAPTIONLESS_TEST_AUDIT_LOG)"
        events = (json.loads(line) for line in self.audit_log.read_text().splitlines() if line.endswith("}"))
        return [e for e in events if re.search(user_agent, e.get("userAgent", ""))]


def minutes(value: float) -> str:
    """So many minutes, scaled by the pace, as helm and kubectl take a time-out."""
    return f"{pace.seconds(60 * value):.0f}s"


def find() -> Cluster:
    """The cluster that KUBECONFIG names, or our own, raised when it is not up."""
    if os.environ.get("KUBECONFIG"):
        return Cluster(dict(os.environ))
    subprocess.run([CLUSTER, "up", "--image"], check=True)
    printed = subprocess.run([CLUSTER, "env"], check=True, capture_output=True, text=True).stdout
    found = dict(re.findall(r'^export (\w+)="(.*)"$', printed, re.MULTILINE))
    return Cluster({**found, "PATH": found["PATH"].replace("$PATH", os.environ["PATH"])})
