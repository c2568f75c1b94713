"""Keeping secrets out of what is told: a line on stderr, a log, a pod's termination message.

Libraries put URLs into their errors, and a URL may carry a password or a signature. What a line says is
therefore rewritten at the few places where lines leave the process, whatever it was made of.
"""

from __future__ import annotations

import logging
import os
import re

_HIDDEN = "***"
_LEAST = 8
"""A shorter value of an environment variable is a test's or a flag, and would be found inside other words."""

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
    return {value for name, value in os.environ.items() if _NAMES.search(name) and len(value) >= _LEAST}


class Formatter(logging.Formatter):
    """Log records, redacted; a traceback among them too."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))
