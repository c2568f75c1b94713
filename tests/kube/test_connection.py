"""Which cluster and namespace are chosen, and every way not to reach one, with the right exit code."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from captionless.errors import SpecError
from captionless.kube.api_errors import Unauthorized, Unavailable
from captionless.kube.connection import connect
from tests.client.api import Server, kubeconfig, status


def test_namespace_is_the_contexts_unless_it_is_given(server: Server) -> None:
    assert connect().namespace == "lab"
    assert connect("bare").namespace == "default"
    assert connect("bare", "other").namespace == "other"


def test_an_unknown_context_suggests_the_nearest(server: Server) -> None:
    with pytest.raises(SpecError, match=r'"her".*"here".*bare, here'):
        connect("her")


def test_without_a_kubeconfig_it_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(SpecError, match="KUBECONFIG"):
        connect()


def test_a_server_that_is_away_may_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound but not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, f"http://127.0.0.1:{port}")))
        with pytest.raises(Unavailable, match=rf"^[^\n]*http://127.0.0.1:{port}: connection refused$") as caught:
            list(connect().list("Alignment"))
    assert caught.value.exit_code == 1


def test_the_token_is_sent_and_never_printed(server: Server) -> None:
    server.refusals["GET", "alignments"] = (401, status(401, "Unauthorized", "Unauthorized"))
    with pytest.raises(Unauthorized) as caught:
        list(connect().list("Alignment"))
    assert "a-secret-token" not in str(caught.value)
    assert caught.value.exit_code == 64
