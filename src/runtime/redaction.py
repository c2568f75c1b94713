"""Redaction of secrets in everything that leaves the process: stderr, logs, termination messages.

Libraries put URLs into their errors, and a URL may contain a password or a signature. So text is redacted at the few
places where it leaves the process, wherever it comes from.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_SHORTEST = 8
"""Characters: shorter values of environment variables are flags or test values, and would match inside other words."""
_LONGEST_NAME = 32
"""Characters: a longer name of a query's field may be a secret itself."""

_NAMES = re.compile(r"(KEY|KEY_ID|SECRET|TOKEN|PASSWORD|PASSPHRASE|CREDENTIALS)$", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^\r\n/@'\"]{1,256}@")  # with blanks: a URL that is wrong has its password still
_QUERY = re.compile(
    r"(?<=[?&])(sig|sign|code|ticket|hdnt[sl]|hdnea|[a-z0-9_.-]*(?:signature|credential|token_*|key|keyid|key-id|accessid|secret|password|passwd|pwd|hmac|jwt|auth|policy|session))=(?!\*{3}[:\s])[^\s&'\"`#]+",
    re.IGNORECASE,
)
_WHOLE_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?#'\"`<>]*)\?([^\s#'\"`<>]+)", re.IGNORECASE)
_HARMLESS = re.compile(
    r"(?:version(?:id)?|v|rev(?:ision)?|ref|file(?:name)?|path|name|id|format|type|dl|download|raw)=[^=]*",
    re.IGNORECASE,
)
"""Of a query: what says which file is meant, and nothing else."""
_HIDDEN_BEFORE = re.compile(r"\*{3}(?:$|:)")
"""And what is hidden already; a line's number may follow."""
_HEADER = re.compile(
    r"\b(authorization['\"]?\s*[:=]\s*['\"]?(?:basic|bearer|token)|bearer)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE
)


def redacted(text: str) -> str:
    """The text without passwords and signatures of URLs, authorization headers, and the values of the environment's
    keys, tokens, secrets and passwords."""
    for value in sorted(_values(), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return _HEADER.sub(rf"\1 {HIDDEN}", public_url(public_address(text)))


def public_url(text: str) -> str:
    """A URL, or a text with URLs, without passwords and signatures. What is stored depends on nothing but the text."""
    if "@" not in text and "?" not in text and "&" not in text:
        return text  # most of millions that a manifest has
    return _QUERY.sub(rf"\1={HIDDEN}", _USER.sub(f"{HIDDEN}@", text))


def public_address(text: str) -> str:
    """A URL from which a file is read, or a text with such URLs: `public_url`, and of a query only what says which file
    is meant. What signs it has a name of each service's own (`sig`, `Policy`, `hdnts` ...)."""
    if "?" in text and "://" in text:
        text = _WHOLE_QUERY.sub(lambda found: f"{found[1]}?{_meant(found[2])}", text)
    return public_url(text)


def _meant(query: str) -> str:
    return "&".join(
        pair
        if _HARMLESS.fullmatch(pair) or _HIDDEN_BEFORE.match(value or name)
        else f"{name}={HIDDEN}"
        if value and _is_name(name)
        else HIDDEN
        for pair in query.split("&")
        for name, _, value in [pair.partition("=")]
    )


def _is_name(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and text.replace("-", "").replace("_", "").isalnum()


def public(value: Any) -> Any:
    """A JSON value as it may be published: `redacted` texts whose URLs have no query at all."""
    if isinstance(value, Mapping):
        return {key: public(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    return redacted(_WHOLE_QUERY.sub(rf"\1?{HIDDEN}", value)) if isinstance(value, str) else value


def _values() -> set[str]:
    return {value for name, value in os.environ.items() if _NAMES.search(name) and len(value) >= _SHORTEST}


class Formatter(logging.Formatter):
    """Redacts log records, their tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))
