"""Secrets in output: passwords and signatures of URLs, headers, and the environment's own values."""

from __future__ import annotations

import logging

import pytest

from captionless.runtime.redaction import Formatter, public, public_address, public_url, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at https://ann:pa55word@host:1/x", "at https://***@host:1/x"),
        ("https://ann:pa55 word@host/x", "https://***@host/x"),
        ("s3://bucket/run and https://host/a@b", "s3://bucket/run and https://host/a@b"),
        ("GET /o?X-Amz-Signature=abc123&partNumber=2", "GET /o?X-Amz-Signature=***&partNumber=2"),
        ("https://h/x?id=1&access_token=abc#top", "https://h/x?id=1&access_token=***#top"),
        ("https://h/x?AWSAccessKeyId=AKIA1&Signature=s%2B&Expires=9", "https://h/x?AWSAccessKeyId=***&Signature=***&Expires=***"),
        ("{'Authorization': 'Bearer abcdefgh12'}", "{'Authorization': 'Bearer ***'}"),
        ("Authorization: Basic YWxhZGRpbjpvcGVu", "Authorization: Basic ***"),
        ("basic geometry, token boundaries, keys=ab", "basic geometry, token boundaries, keys=ab"),
    ],
    ids=["user", "with a blank", "at in a path", "query", "fragment", "two in a query", "bearer", "basic", "nothing"],
)  # fmt: skip
def test_urls_and_headers(text: str, expected: str) -> None:
    assert redacted(text) == expected


SIGNED = "https://ann:pa55word@host/b/m.jsonl?X-Amz-Date=20&X-Amz-Signature=abc&x=1#top"


def test_what_is_published_has_urls_without_query() -> None:
    given = {
        "url": SIGNED,
        "several": [f'"{SIGNED}" and az://c/x.glb?sv=2&sig=%2B: not a mesh', {"s3": "s3://bucket/run?not=public"}],
        "plain": ("is it a chair? yes", "s3://bucket/a b", 3, 0.5, None, True),
    }
    assert public(given) == {
        "url": "https://***@host/b/m.jsonl?***#top",
        "several": [
            '"https://***@host/b/m.jsonl?***#top" and az://c/x.glb?*** not a mesh',
            {"s3": "s3://bucket/run?***"},
        ],
        "plain": ["is it a chair? yes", "s3://bucket/a b", 3, 0.5, None, True],
    }
    assert public(public(given)) == public(given)


def test_values_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("LLM_API_KEY", "wJalrXUtnFEMI")  # inside the other: the longer one goes first
    monkeypatch.setenv("SHORT_TOKEN", "chair")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    text = redacted("wJalrXUtnFEMI/K7MDENG, wJalrXUtnFEMI: no chair in eu-central-1")
    assert text == "***, ***: no chair in eu-central-1"


def test_log_records_and_their_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    try:
        raise ValueError("rejected hf_0123456789")
    except ValueError as error:
        record = logging.makeLogRecord(
            {"msg": "with %s", "args": ("hf_0123456789",), "exc_info": (type(error), error, None)}
        )
    assert "hf_0123456789" not in (text := Formatter("%(message)s").format(record))
    assert text.startswith("with ***\n")


@pytest.mark.parametrize("name", ["GoogleAccessId", "pwd", "passwd", "jwt", "auth"])
def test_names_of_other_services(name: str) -> None:
    assert public_url(f"https://h/x?v=1&{name}=hidden&w=2") == f"https://h/x?v=1&{name}=***&w=2"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("versionId=3&id=7&file=a.obj", "versionId=3&id=7&file=a.obj"),
        ("Policy=abc&Key-Pair-Id=K1&id=7", "Policy=***&Key-Pair-Id=***&id=7"),
        ("hdnts=exp=9~hmac=abc", "hdnts=***"),
        ("file=hmac=abc", "file=***"),
        ("__token__=abc&code=1&sign=2&u=3", "__token__=***&code=***&sign=***&u=***"),
        ("c2VjcmV0&=x&" + "a" * 40 + "=1", "***&***&***"),
        ("sig=***", "sig=***"),
    ],
)
def test_addresses_show_only_which_file_is_meant(query: str, shown: str) -> None:
    url, expected = f"https://h/x.obj?{query}#top", f"https://h/x.obj?{shown}#top"
    assert public_address(url) == public_address(expected) == expected
    assert redacted(f"{url}: no such file") == f"{expected}: no such file"
