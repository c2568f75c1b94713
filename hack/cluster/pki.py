"""Certificates and kubeconfigs of the test cluster, by openssl: one authority, a certificate per component."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from hack.cluster import layout
from hack.cluster.steps import Failed

_DAYS = "30"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"openssl {arguments[0]}: {done.stderr.strip()}")


def _issue(name: str, subject: str, usage: str, names: tuple[str, ...] = ()) -> None:
    extensions = ["-addext", f"extendedKeyUsage={usage}", "-addext", "keyUsage=critical,digitalSignature"]
    if names:
        alternatives = ",".join(f"IP:{n}" if n[0].isdigit() else f"DNS:{n}" for n in names)
        extensions += ["-addext", f"subjectAltName={alternatives}"]
    _openssl(
        "req", "-x509", *_KEY, "-days", _DAYS, "-subj", subject, "-CA", layout.CERTS / "ca.crt", "-CAkey",
        layout.CERTS / "ca.key", "-addext", "basicConstraints=critical,CA:FALSE", *extensions,
        "-keyout", layout.CERTS / f"{name}.key", "-out", layout.CERTS / f"{name}.crt",
    )  # fmt: skip


def _kubeconfig(name: str, path: Path) -> None:
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "captionless-test",
        "clusters": [{"name": "captionless-test", "cluster": {
            "server": layout.API_SERVER, "certificate-authority": str(layout.CERTS / "ca.crt")}}],
        "users": [{"name": name, "user": {
            "client-certificate": str(layout.CERTS / f"{name}.crt"), "client-key": str(layout.CERTS / f"{name}.key")}}],
        "contexts": [{"name": "captionless-test", "context": {"cluster": "captionless-test", "user": name}}],
    }  # fmt: skip
    path.write_text(json.dumps(document, indent=1))
    path.chmod(0o600)


def make() -> None:
    """Everything that is not there yet; the admin's kubeconfig is written last and says that all is."""
    if layout.KUBECONFIG.exists():
        return
    layout.CERTS.mkdir(parents=True, exist_ok=True)
    authority = ("-addext", "keyUsage=critical,keyCertSign,digitalSignature", "-subj", "/CN=captionless-test-ca")
    files = ("-keyout", layout.CERTS / "ca.key", "-out", layout.CERTS / "ca.crt")
    _openssl("req", "-x509", *_KEY, "-days", _DAYS, *authority, *files)
    signing = layout.CERTS / "service-account.key"
    _openssl("genrsa", "-out", signing, "2048")
    _openssl("rsa", "-in", signing, "-pubout", "-out", signing.with_suffix(".pub"))
    services = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    _issue("apiserver", "/CN=kube-apiserver", "serverAuth", (*services, layout.NODE_IP, layout.SERVICE_KUBERNETES))
    _issue("kubelet-server", f"/CN={layout.NODE_NAME}", "serverAuth", (layout.NODE_IP, layout.NODE_NAME))
    _issue("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "clientAuth")
    for name, subject in {
        "kube-controller-manager": "/CN=system:kube-controller-manager",
        "kube-scheduler": "/CN=system:kube-scheduler",
        "kube-proxy": "/CN=system:kube-proxy",
        "kubelet": f"/O=system:nodes/CN=system:node:{layout.NODE_NAME}",
        "coredns": "/CN=system:coredns",
        "prometheus": "/CN=prometheus",
        "admin": "/O=system:masters/CN=admin",
    }.items():
        _issue(name, subject, "clientAuth")
        _kubeconfig(name, layout.KUBECONFIG if name == "admin" else layout.CERTS / f"{name}.kubeconfig")
