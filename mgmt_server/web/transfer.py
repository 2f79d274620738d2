"""Images out by link and in by form: two paths beside the API's. Who holds a link or a signature needs no key."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

from fastapi import FastAPI
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from mgmt_server.db import Conflict, reading
from mgmt_server.drivers.image import nfs
from mgmt_server.errors import ApiError, ParameterError
from mgmt_server.resources.transfer import links, tickets
from mgmt_server.resources.transfer.tickets import Coming
from mgmt_server.web.requests import HEADERS, TooLarge, TooSlow
from mgmt_server.web.threads import Threads

log = logging.getLogger("cloudwright.transfer")
CHUNK = 1 << 20
TELL = 2.0  # seconds between two notes of the progress
SILENCE = 60.0  # seconds without a byte
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
SAFE = {name.decode(): value.decode() for name, value in HEADERS}
# Forms come from pages of any address: nothing but the signature, which no cookie carries, lets an image in.
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers": "x-signature, x-metadata, x-expires, content-type",
    "access-control-max-age": "3600",
}
NO_LINK = "There is nothing under this link, or its time is over: ask for a new one"


def add_routes(app: FastAPI, pool: Threads) -> None:
    @app.api_route(links.PATH + "/{token}/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def fetch(request: Request, token: str) -> Response:
        asked = request.headers.get("range", "") if "if-range" not in request.headers else ""
        return await pool.run(_sent, token, asked, request.method == "HEAD")

    @app.options(tickets.PATH + "/{subject}", include_in_schema=False)
    async def preflight() -> Response:
        return Response(status_code=204, headers=CORS)

    @app.post(tickets.PATH + "/{subject}", include_in_schema=False)
    async def receive(request: Request, subject: str) -> Response:
        try:
            return await _received(request, subject, pool)
        except (ApiError, Conflict) as error:
            return _refused(error.code if isinstance(error, ApiError) else 409, str(error))


def _refused(code: int, text: str) -> JSONResponse:
    status = code if code in (400, 403, 408, 413) else 422
    return JSONResponse({"errortext": text}, status, SAFE | CORS | {"connection": "close"})


# --- out -------------------------------------------------------------------------------------------------------------


def _sent(token: str, asked: str, head: bool) -> Response:
    with reading() as session:
        target = links.target_of(session, token)
    if target is None:
        return JSONResponse({"errortext": NO_LINK}, 404, SAFE)
    if target.content is not None:
        body = f"simulated image {target.content}\n".encode()
        return _answer(target.file_name, len(body), asked, head, lambda a, b: iter([body[a:b]]), ExitStack())
    stack = ExitStack()
    try:
        file = stack.enter_context(nfs.opened(target.store, target.path))
    except ApiError as error:
        log.warning("a link cannot be served: %s", error)
        return JSONResponse({"errortext": "The storage does not answer: try again later"}, 503, SAFE)
    if file is None:
        return JSONResponse({"errortext": NO_LINK}, 404, SAFE)
    return _answer(target.file_name, file.seek(0, 2), asked, head, lambda a, b: _pieces(file, a, b), stack)


def _answer(name: str, size: int, asked: str, head: bool, pieces: object, stack: ExitStack) -> Response:
    span = _span(asked, size)
    headers = SAFE | {"accept-ranges": "bytes", "content-disposition": f'attachment; filename="{name}"'}
    if span is None:
        stack.close()
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{size}"})
    first, end = span
    headers["content-length"] = str(end - first)
    partial = asked != "" and RANGE.fullmatch(asked) is not None
    if partial:
        headers["content-range"] = f"bytes {first}-{end - 1}/{size}"
    status = 206 if partial else 200
    media = "application/octet-stream"
    if head:
        stack.close()
        return Response(status_code=status, headers=headers, media_type=media)

    def whole() -> Iterator[bytes]:
        with stack:
            yield from pieces(first, end)  # type: ignore[operator]

    return StreamingResponse(whole(), status, headers, media)


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for a range outside. Several ranges at once are answered whole."""
    match = RANGE.fullmatch(asked)
    if match is None or not (match[1] or match[2]):
        return 0, size
    if not match[1]:
        wanted = int(match[2])
        return (max(0, size - wanted), size) if wanted else None
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    return (first, last + 1) if first <= last else None


def _pieces(file: BinaryIO, first: int, end: int) -> Iterator[bytes]:
    file.seek(first)
    while first < end and (piece := file.read(min(CHUNK, end - first))):
        first += len(piece)
        yield piece


# --- in --------------------------------------------------------------------------------------------------------------


async def _received(request: Request, subject: str, pool: Threads) -> Response:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise ParameterError("send the image as multipart/form-data, in a part with a filename")
    signature = request.headers.get("x-signature", "")
    coming = await pool.run(tickets.open_ticket, subject, signature)
    try:
        await _save(request, coming, options[b"boundary"], pool)
    except (ClientDisconnect, TimeoutError):
        await pool.run(tickets.cut_off, coming)
        raise TooSlow(f"the image did not come: nothing was heard for {SILENCE:.0f} s") from None
    except BaseException:
        await pool.run(tickets.cut_off, coming)
        raise
    brought = await pool.run(tickets.complete, coming)
    if brought.error:
        return _refused(422, brought.error)
    return JSONResponse({"success": True}, 200, SAFE | CORS)


async def _save(request: Request, coming: Coming, boundary: bytes, pool: Threads) -> None:
    """Write the form's file to a file of this server, as it comes."""
    told, last, done = request.headers.get("content-length", ""), time.monotonic(), 0
    total = int(told) if told.isdecimal() and len(told) < 19 else 0
    if total > coming.expected.most + CHUNK:
        raise TooLarge(f"it has {total} bytes: at most {coming.expected.most} are taken")
    with open(coming.file, "xb") as sink:
        form = _Form(sink, boundary, coming.expected.most)
        stream = request.stream().__aiter__()
        while True:
            async with asyncio.timeout(SILENCE):
                piece = await anext(stream, b"")
            if not piece:
                break
            done += len(piece)
            await pool.run(form.take, piece)
            if time.monotonic() - last > TELL:
                last = time.monotonic()
                await pool.run(tickets.progress, coming, done * 100 // total if total else 0)
    if done and not form.ended:
        raise ParameterError("the form ended before its image was whole")
    if not form.size:
        raise ParameterError("there is no file in the form, or it is empty")


class _Form:
    """Takes the first file out of a multipart form."""

    def __init__(self, sink: BinaryIO, boundary: bytes, most: int) -> None:
        self.sink, self.most, self.size, self.ended = sink, most, 0, False
        self._header, self._value, self._in_file, self._files = b"", b"", False, 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._text,
                "on_header_end": self._header_end,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def take(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except MultipartParseError as error:
            raise ParameterError(f"this is no multipart form: {error}") from None

    def _begin(self) -> None:
        self._header, self._value, self._in_file = b"", b"", False

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition" and b"filename" in parse_options_header(self._value)[1]:
            self._files += 1
            self._in_file = self._files == 1
        self._header, self._value = b"", b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._in_file:
            return
        self.size += end - start
        if self.size > self.most:
            raise TooLarge(f"it has more than {self.most} bytes: no more are taken")
        self.sink.write(data[start:end])

    def _end(self) -> None:
        self.ended = True
