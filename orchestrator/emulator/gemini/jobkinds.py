"""What can go wrong with long jobs and their files, beside what can with any request. Tables only."""

from typing import Final

OPERATIONS: Final = (
    "videos.create",
    "videos.get",
    "files.upload",
    "files.put",
    "files.get",
    "files.list",
    "files.delete",
)
START: Final[dict[str, str]] = {
    "early": "the job ends and its webhooks go out before the answer",
    "fails": "accepted, but the job fails in the end",
    "stuck": "accepted, but the job never ends (a batch expires)",
}
VIDEO: Final[dict[str, str]] = {
    "filtered": "accepted, but the safety filter leaves nothing of it",
    "empty": "accepted, but done without any video",
}
BATCH: Final[dict[str, str]] = {"expires": "accepted, but the batch expires instead of ending"}
READ: Final[dict[str, str]] = {
    "stale": "the view before the last change",
    "wrong_types": "done, every field of the answer has another type",
    "missing_name": "done, the answer has no name",
}
BATCH_READ: Final[dict[str, str]] = {"unknown_state": "done, the answer's state is one that nobody knows"}
CANCEL: Final[dict[str, str]] = {"ignored": "answered 200, and the batch runs on"}
DOWNLOAD: Final[dict[str, str]] = {
    "short": "the first half of the file, as if that were all of it",
    "wrong_type": "other bytes under the file's own media type",
    "altered": "one byte of the file is another",
    "oversize": "the file `copies` (8) times more in a row",
    "gone": "the file has expired",
    "redirect": "302 to the same file at another path",
}
OUTCOMES: Final = {
    "fails": "failed",
    "stuck": "stuck",
    "filtered": "filtered",
    "empty": "empty",
    "expires": "expired",
}  # what a fault of a start makes of the job's plan
KINDS: Final[dict[str, dict[str, str]]] = {
    "videos.create": {**START, **VIDEO},
    "videos.get": READ,
    "batches.create": {**START, **BATCH},
    "batches.get": {**READ, **BATCH_READ},
    "batches.cancel": CANCEL,
    "files.download": DOWNLOAD,
}
STARTS: Final = ("videos.create", "batches.create")
POLLS: Final = ("videos.get", "batches.get", "batches.list", "batches.cancel")
OVERSIZE_COPIES: Final = 8
