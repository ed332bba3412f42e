"""Where files are kept: videos, results of batches, reports."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from orchestrator.settings.fields import Section

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_EXPECTED: Final = "must be a folder, file://<folder>, s3://<bucket>/… or gs://<bucket>/…"


def storage_address(text: str) -> str:
    """A folder's path as it is, `file://` before it or not; or a bucket, without a slash at its end."""
    scheme, found, rest = text.partition("://")
    if not found or scheme == "file":
        folder = rest if found else text
        if not folder.strip() or not folder.isprintable():
            raise ValueError("must name a folder")
        if not found and _SCHEME.match(folder):  # an address with a slash too few
            raise ValueError(_EXPECTED)
        return text
    if scheme not in ("s3", "gs"):
        raise ValueError(_EXPECTED)
    parts = urlsplit(text)
    if not _BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment:
        raise ValueError("must name a bucket and a folder in it, and no more: keys come from the environment")
    return text.rstrip("/")


class Storage(Section):
    """Where files are kept: videos, results of batches, reports."""

    url: Annotated[str, AfterValidator(storage_address)] = Field(
        default="file://./files",
        description="A folder, `s3://<bucket>/…` (extra `s3`) or `gs://<bucket>/…` (extra `gs`).",
    )
    max_file_mb: int = Field(
        default=2048,
        ge=1,
        le=1_048_576,
        description="Largest file that is kept, in MiB; counted as it comes.",
    )
    min_free_mb: int = Field(
        default=1024,
        ge=0,
        le=1_048_576,
        description="Of a local folder: room on its disk, in MiB, below which nothing is written.",
    )
