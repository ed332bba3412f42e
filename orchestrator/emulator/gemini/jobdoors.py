"""Gemini's paths for long jobs: models' long methods, operations, batches, files and uploads."""

from typing import Any, Final

from litestar import Request, delete, get, post
from litestar.params import FromPath

from orchestrator.emulator.gemini.errors import classic_body
from orchestrator.emulator.gemini.exchange import Answer, answer, as_json, emulator_of
from orchestrator.emulator.gemini.faults import Fault

Http = Request[Any, Any, Any]
AGAIN: Final = "redirected"  # on the query of a download that has been sent elsewhere once


@post("/{version:str}/models/{target:str}", status_code=200)
async def start_job(request: Http, target: FromPath[str]) -> Answer:
    """`{model}:predictLongRunning` and `{model}:batchGenerateContent`."""
    model, _, verb = target.partition(":")

    async def video(project: str, body: Any, fault: Fault | None) -> Any:
        return await emulator_of(request).jobs.create_video(project, model, body, fault)

    async def batch(project: str, body: Any, fault: Fault | None) -> Any:
        size = len(await request.body())
        return await emulator_of(request).jobs.create_batch(project, model, body, fault, size=size)

    if verb == "predictLongRunning":
        return await answer(request, "videos.create", video)
    if verb == "batchGenerateContent":
        return await answer(request, "batches.create", batch)
    return _no_method()


@get("/{version:str}/models/{model:str}/operations/{name:str}")
async def get_operation(request: Http, model: FromPath[str], name: FromPath[str]) -> Answer:
    """A video's operation."""

    async def work(project: str, _: Any, fault: Fault | None) -> Any:
        return emulator_of(request).jobs.get_video(project, model, name, fault)

    return await answer(request, "videos.get", work, subject=name)


@get("/{version:str}/batches")
async def list_batches(request: Http) -> Answer:
    """The project's batches, in pages."""

    async def work(project: str, _: Any, __: Fault | None) -> Any:
        return emulator_of(request).batches.list(project, *_page(request))

    return await answer(request, "batches.list", work)


@get("/{version:str}/batches/{name:str}")
async def get_batch(request: Http, name: FromPath[str]) -> Answer:
    """A batch, with its results when it has ended."""

    async def work(project: str, _: Any, fault: Fault | None) -> Any:
        return emulator_of(request).jobs.get_batch(project, name, fault)

    return await answer(request, "batches.get", work, subject=name)


@post("/{version:str}/batches/{target:str}", status_code=200)
async def cancel_batch(request: Http, target: FromPath[str]) -> Answer:
    """`{id}:cancel`."""
    name, _, verb = target.partition(":")
    if verb != "cancel":
        return _no_method()

    async def work(project: str, _: Any, fault: Fault | None) -> Any:
        emulator_of(request).jobs.cancel_batch(project, name, fault)
        return {}

    return await answer(request, "batches.cancel", work, subject=name)


@delete("/{version:str}/batches/{name:str}", status_code=200)
async def delete_batch(request: Http, name: FromPath[str]) -> Answer:
    """Forget a batch."""

    async def work(project: str, _: Any, __: Fault | None) -> Any:
        emulator_of(request).batches.delete(project, name)
        return {}

    return await answer(request, "batches.delete", work, subject=name)


@get("/{version:str}/files")
async def list_files(request: Http) -> Answer:
    """The project's files, in pages."""

    async def work(project: str, _: Any, __: Fault | None) -> Any:
        return emulator_of(request).files.list(project, *_page(request))

    return await answer(request, "files.list", work)


@get("/{version:str}/files/{target:str}")
async def get_file(request: Http, target: FromPath[str]) -> Answer:
    """`{id}`: what is known of a file; `{id}:download?alt=media`: its bytes."""
    name, colon, verb = target.partition(":")

    async def work(project: str, _: Any, __: Fault | None) -> Any:
        return emulator_of(request).files.get(project, f"files/{name}")

    if not colon:
        return await answer(request, "files.get", work, subject=name)
    if verb != "download" or request.query_params.get("alt") != "media":
        return _no_method()
    return await _download(request, name)


@delete("/{version:str}/files/{name:str}", status_code=200)
async def delete_file(request: Http, name: FromPath[str]) -> Answer:
    """Forget a file."""

    async def work(project: str, _: Any, __: Fault | None) -> Any:
        emulator_of(request).files.delete(project, f"files/{name}")
        return {}

    return await answer(request, "files.delete", work, subject=name)


@post("/upload/{version:str}/files", status_code=200)
async def upload_file(request: Http) -> Answer:
    """The start of an upload, or, with its `upload_id`, a piece of it; that one takes no key."""
    number = request.query_params.get("upload_id")
    if number is None:
        return await _begin(request)

    async def piece(_: str, content: Any, __: Fault | None) -> Any:
        files = emulator_of(request).files
        status, body = files.go_on(number, request.headers, content)
        received = str(files.received(number))
        return as_json(
            body, headers={"x-goog-upload-status": status, "x-goog-upload-size-received": received}
        )

    return await answer(request, "files.put", piece, subject=number, keyed=False, pieces=True)


DOORS: Final = [
    start_job,
    get_operation,
    list_batches,
    get_batch,
    cancel_batch,
    delete_batch,
    list_files,
    get_file,
    delete_file,
    upload_file,
]


async def _begin(request: Http) -> Answer:
    async def work(project: str, body: Any, _: Fault | None) -> Any:
        where = emulator_of(request).files.begin(project, body, request.headers)
        return as_json({}, headers={"x-goog-upload-status": "active", "x-goog-upload-url": where})

    return await answer(request, "files.upload", work)


async def _download(request: Http, name: str) -> Answer:
    async def work(project: str, _: Any, fault: Fault | None) -> Any:
        content, type_ = emulator_of(request).jobs.download(project, f"files/{name}", fault)
        if fault is not None and fault.kind == "redirect" and AGAIN not in request.query_params:
            where = f"{request.url.path}?alt=media&{AGAIN}=1"
            return as_json({}, 302, {"location": where})
        return Answer(content, media_type=type_, status_code=200)

    return await answer(request, "files.download", work, subject=name)


def _page(request: Http) -> tuple[str | None, str | None]:
    query = request.query_params
    return query.get("pageSize"), query.get("pageToken")


def _no_method() -> Answer:
    return as_json(classic_body(404, "Method not found."), 404)
