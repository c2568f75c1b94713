"""Redaction of secrets in everything that leaves the process: stderr, logs, termination messages.

Libraries put URLs into their errors, and a URL may contain a password or a signature. So text is redacted at the few
places where it leaves the process, wherever it comes from.
"""

from __future__ import annotations

import logging
import os
import re

_HIDDEN = "***"
_SHORTEST = 8
"""Characters: shorter values of environment variables are flags or test values, and would match inside other words."""

_NAMES = re.compile(r"(KEY|KEY_ID|SECRET|TOKEN|PASSWORD|PASSPHRASE|CREDENTIALS)$", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^\s/@'\"]+@")
_QUERY = re.compile(
    r"(?<=[?&])((?:x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential)|awsaccesskeyid|"
    r"signature|sig|[a-z_-]*(?:token|key|secret|password)))=[^\s&'\"`#]+",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"\b(authorization['\"]?\s*[:=]\s*['\"]?(?:basic|bearer|token)|bearer)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE
)


def redacted(text: str) -> str:
    """The text without passwords and signatures of URLs, authorization headers, and the values of the environment's
    keys, tokens, secrets and passwords."""
    for value in sorted(_values(), key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    text = _USER.sub(f"{_HIDDEN}@", text)
    text = _QUERY.sub(rf"\1={_HIDDEN}", text)
    return _HEADER.sub(rf"\1 {_HIDDEN}", text)


def _values() -> set[str]:
    return {value for name, value in os.environ.items() if _NAMES.search(name) and len(value) >= _SHORTEST}


class Formatter(logging.Formatter):
    """Redacts log records, their tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))
