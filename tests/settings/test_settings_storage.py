"""Where files are kept: which addresses are taken, and that no key fits into one."""

import pytest
from pydantic import ValidationError

from orchestrator.settings.storage import Storage


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("files", "files"),
        ("/var/lib/orchestrator", "/var/lib/orchestrator"),
        ("file://./files", "file://./files"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/below/it/", "s3://bucket/below/it"),
        ("gs://bucket/below", "gs://bucket/below"),
    ],
)
def test_taken(given: str, kept: str) -> None:
    assert Storage(url=given).url == kept


@pytest.mark.parametrize(
    "given",
    ["", " ", "file://", "https://example.com/files", "memory://x", "s3://", "s3:///x", "s3://KEY:secret@bucket/x",
     "s3://bucket/x?key=secret", "gs://bucket/x#y", "s3://../x", "s3:/bucket/x", "file:files", "gs:bucket",
     "fil\nes", "file:///var/\x1b[31m"],
)  # fmt: skip
def test_refused_without_quoting_it(given: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Storage(url=given)
    assert "secret" not in str(caught.value)
