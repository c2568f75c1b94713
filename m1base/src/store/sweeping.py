"""What killed writers leave behind: temporary files, spooled uploads, and uploads in parts that were never completed.

A store bills the parts of an upload for as long as nobody completes or aborts it, and shows them in no listing. Whose
upload it is it does not say, so only its age tells that its writer is dead, unless the caller knows of no writer.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

from captionless.errors import SpecError
from captionless.runtime import temporary_files
from captionless.store.atomic_writes import DAY_SECONDS, sweep_local
from captionless.store.storage_errors import http_answer
from captionless.store.storage_retry import retrying
from captionless.store.urls import filesystem, is_local

__all__ = ["DAY_SECONDS", "sweep"]


def sweep(url: str, older: float = DAY_SECONDS) -> int:
    """Removes what killed writers have left below a folder, and their spooled files on this machine; how many.

    older: seconds after which a writer of whom nothing is known is taken for dead; 0 where none can be at work.
    """
    removed = temporary_files.sweep()
    if is_local(url):
        return removed + sweep_local(url, older)
    if url.startswith(("s3://", "s3a://")):
        with contextlib.suppress(
            SpecError
        ):  # who may write but not list uploads leaves them to the bucket's life cycle
            removed += _abort_uploads(url, older)
    return removed


@retrying
def _abort_uploads(url: str, older: float) -> int:
    fs, path = filesystem(url)
    bucket, key, _ = fs.split_path(path)
    prefix = f"{key.rstrip('/')}/" if key else ""
    until = datetime.now(UTC) - timedelta(seconds=older)
    aborted = 0
    marker: dict[str, Any] = {}
    while True:
        try:
            page = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marker)
        except OSError as error:
            if "NotImplemented" in http_answer(error):
                return aborted
            raise
        for upload in page.get("Uploads", ()):
            if upload["Initiated"] <= until:
                fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                aborted += 1
        if not page.get("IsTruncated"):
            return aborted
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
