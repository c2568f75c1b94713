"""Which cluster, as whom, and in which namespace: the kubeconfig, or the service account of a pod.

A kubeconfig is read as kubectl reads it (KUBECONFIG, then ~/.kube/config). A person's commands look for one first and
fall back to the pod that they run in; the controller does the reverse.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from captionless.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

    from captionless.kube.api import KubernetesApi

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def connect(context: str | None = None, namespace: str | None = None) -> KubernetesApi:
    """The cluster of a kubeconfig's context (by default the current one), in one namespace. SpecError without one."""
    try:
        from kubernetes import client, config
        from kubernetes.config import ConfigException
    except ImportError:
        raise SpecError("the Kubernetes client is not installed: pip install 'captionless[kubernetes]'") from None
    from captionless.kube.api import ONCE, KubernetesApi

    def bound(configuration: Configuration, found: str) -> KubernetesApi:
        return KubernetesApi(client.ApiClient(configuration), (found,), backoff=ONCE)

    file, configuration = os.environ.get("KUBECONFIG") or "~/.kube/config", _configuration(connections=64)
    try:
        contexts, active = config.list_kube_config_contexts(file)
    except ConfigException as error:
        if context is None and _NAMESPACE_FILE.exists():
            config.load_incluster_config(client_configuration=configuration)
            return bound(configuration, namespace or _NAMESPACE_FILE.read_text().strip())
        raise SpecError(f"no cluster is configured: {_line(error)}; set KUBECONFIG, or log in to a cluster") from None
    known = {str(c["name"]): c for c in contexts}
    if context is not None and context not in known:
        raise SpecError(f'no context "{context}"{did_you_mean(context, known)} (contexts: {", ".join(sorted(known))})')
    chosen = known[context] if context is not None else active
    try:
        config.load_kube_config(file, context=chosen["name"], client_configuration=configuration)
    except ConfigException as error:
        raise SpecError(f"context {chosen['name']}: {_line(error)}") from None
    return bound(configuration, namespace or (chosen.get("context") or {}).get("namespace") or "default")


def controller_client(user_agent: str, connections: int) -> ApiClient:
    """The cluster that the process runs in, or else the kubeconfig's. SpecError without one."""
    from kubernetes import client, config

    configuration = _configuration(connections)
    try:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            config.load_kube_config(client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise SpecError(f"no cluster: {_line(error)}; expected to run in a pod, or KUBECONFIG") from None
    api = client.ApiClient(configuration)
    api.user_agent = user_agent
    return api


def _configuration(connections: int) -> Configuration:
    """Without urllib3's own retries, which warn on stderr: an error is reported once, by us."""
    import urllib3
    from kubernetes import client

    found = client.Configuration()
    found.retries = urllib3.Retry(0, redirect=3)
    found.connection_pool_maxsize = connections
    return found


def _line(words: object) -> str:
    return " ".join(str(words).split())
