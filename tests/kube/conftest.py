"""The API server of the client's tests serves here as well."""

from __future__ import annotations

from tests.client.conftest import api, server

__all__ = ["api", "server"]
