"""Errors of storage libraries: which are transient, and what the others mean to a user.

They are distinguished by name and number, since botocore, aiohttp and urllib3 each have their own exceptions and are
optional here.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from captionless.errors import Retryable, SpecError, one_line

_TRANSIENT = {
    "EndpointConnectionError", "ConnectionClosedError", "ConnectTimeoutError", "ReadTimeoutError",
    "HTTPClientError", "ResponseParserError", "IncompleteReadError", "ClientConnectorError",
    "ClientPayloadError", "ServerDisconnectedError", "ClientOSError", "ServerTimeoutError",
    "FSTimeoutError", "ConnectionResetError", "ConnectionRefusedError", "BrokenPipeError", "TimeoutError",
    "ConnectError", "ConnectTimeout", "ReadTimeout", "ReadError", "PoolTimeout", "RemoteProtocolError",
}  # fmt: skip
"""Exceptions about the connection, not about the request."""
_TRANSIENT_CODES = {
    "SlowDown", "RequestTimeout", "Throttling", "OperationAborted", "IncompleteBody", "BadDigest",
    "ConditionalRequestConflict",
}  # fmt: skip
_NOT_ABOUT_THE_FILE = (408, 425, 429)
"""HTTP statuses below 500."""
_TRANSIENT_ERRNO = {errno.EIO, errno.EBUSY, errno.ETIMEDOUT}
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"}
_DENIED_CODES = {"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_S3_REFUSALS = {
    "NoSuchBucket": "there is no such bucket",
    "InvalidBucketName": "no bucket can have such a name",
    "KeyTooLongError": "its name is too long",
}
_MISCONFIGURED = {"ParamValidationError", "InvalidRegionError", "SSLCertVerificationError"}
_LIBRARIES = (
    "botocore", "aiobotocore", "aiohttp", "fsspec", "s3fs", "urllib3", "httpx", "httpcore", "huggingface_hub", "gcsfs",
    "adlfs", "azure", "google",
)  # fmt: skip


def is_storage_error(error: Exception) -> bool:
    """Whether an exception comes from a file system or a storage library, and not from a bug."""
    return isinstance(error, OSError) or type(error).__module__.startswith(_LIBRARIES) or _is_bad_endpoint(error)


def explain(url: str, error: BaseException) -> BaseException | None:
    """What to raise for a storage error; None when it is transient and the operation should be retried.

    That is a CaptionlessError in one line, or a FileNotFoundError when only the object is missing: what is a folder, or
    below a file, is no object.
    """
    chain = _chain(error)
    names = {type(e).__name__ for e in chain}
    text = one_line(error)
    status, code = _http_answer(chain)
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return FileNotFoundError(errno.ENOENT, "a folder is there, or a file where a folder was expected", url)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(url)
    if names & _NO_CREDENTIALS:
        return SpecError(f"{url}: no credentials for this storage; set them in the environment ({text})")
    if code == "NoSuchBucket":
        bucket = url.split("::")[-1].partition("://")[2].partition("/")[0]
        return SpecError(f"{url}: the bucket {bucket!r} does not exist; create it or correct the URL")
    if status >= 500 or status in (408, 429) or code in _TRANSIENT_CODES:
        return None
    if status in (401, 403) or code in _DENIED_CODES or isinstance(error, PermissionError):
        return SpecError(f"{url}: access denied ({text})")
    if names & _MISCONFIGURED or status in (301, 400) or _is_bad_endpoint(error):
        return SpecError(f"{url}: invalid storage configuration ({text}); check URL, endpoint and region")
    if names & _TRANSIENT or number in _TRANSIENT_ERRNO:
        return None
    return error if isinstance(error, FileNotFoundError) else Retryable(f"{url}: {text}")


def is_transient(url: str, error: BaseException) -> bool:
    """Whether the operation should be tried again."""
    return explain(url, error) is None


def web_refusal(url: str, error: BaseException) -> str | None:
    """Why a file on the web cannot be read, whatever is wrong with its URL, its server's answer or where that leads;
    None if it may be another time."""
    status = http_status(error)
    if 400 <= status < 500 and status not in _NOT_ABOUT_THE_FILE:
        return f"the server answered {status}"
    return None if is_transient(url, error) else one_line(error)


def s3_refusal(error: BaseException) -> str | None:
    """What is wrong with the URL of an object on S3, whatever is in the storage; None if nothing is."""
    chain = _chain(error)
    if "ParamValidationError" in {type(e).__name__ for e in chain}:
        return "no bucket or object can have such a name"
    return _S3_REFUSALS.get(_http_answer(chain)[1])


def http_status(error: BaseException) -> int:
    """The HTTP status of the response that an exception is about; 0 without a response."""
    return http_answer(error)[0]


def http_answer(error: BaseException) -> tuple[int, str]:
    """HTTP status and S3 error code of the response that an exception is about; (0, "") without a response."""
    return _http_answer(_chain(error))


def is_invalid_login(error: BaseException) -> bool:
    """Whether access was denied because the credentials themselves are invalid or expired."""
    return _http_answer(_chain(error))[1] in _DENIED_CODES


def disk_full(where: str) -> Retryable:
    """No space left on the device that holds `where`."""
    return Retryable(
        f"{where}: no space left on device; free some space or set `output` to another location, then rerun to resume"
    )


def _chain(error: BaseException) -> list[BaseException]:
    """An exception, its cause, and so on."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
    return chain


def _http_answer(chain: Sequence[BaseException]) -> tuple[int, str]:
    """Status and S3 error code of the response that the newest exception is about; (0, "") without a response."""
    for error in chain:
        response, status = getattr(error, "response", None), getattr(error, "status", None)
        if isinstance(response, dict):  # botocore
            found = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return int(found), str(response.get("Error", {}).get("Code", ""))
        if isinstance(status, int):  # aiohttp
            return status, ""
    return 0, ""


def _is_bad_endpoint(error: BaseException) -> bool:
    return isinstance(error, ValueError) and str(error).startswith("Invalid endpoint")  # botocore raises no other class
