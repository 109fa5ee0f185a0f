"""`/v1/documents`: upload, list, read, the original, retry, delete.

Owns the HTTP of it: how a file arrives (on disk, never whole in memory) and leaves. Refuses SQL and rules: `service`
has them. An original is always a download of no type: whatever somebody uploaded, no browser shows it as our page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from litestar import Controller, Request, Response
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter
from litestar.response import Stream

from api import paging
from api.db import tenant_transaction
from api.documents import service
from api.documents.service import Document, DocumentPage, State
from api.edge import traceparent
from api.requests import receive_file
from api.routes import By, Db, delete, get, post
from connectors.objects import Objects, key_of
from runtime.errors import TooLarge
from runtime.settings import Settings

_DOCUMENT: dict[str, Any] = {
    "id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "job_id": "0199f0c2-a1b3-7c3d-8e4f-5a6b7c8d9e0f",
    "state": "processed",
    "reason": None,
    "file_name": "handbook.pdf",
    "title": "Operations handbook",
    "media_type": "application/pdf",
    "size_bytes": 184320,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "pages": 24,
    "gaps": [],
    "characters": {"text": {"held": 41200, "kept": 41200}, "scan": {"held": 5120, "kept": 5120}},
    "recognised": {
        "pages": 3,
        "failed": 0,
        "lines": 112,
        "left_out": 2,
        "confidence": 0.9812,
        "scripts": ["Latin"],
    },
    "parser": 2,
    "version": 1,
    "created_at": "2026-01-15T09:00:00Z",
    "updated_at": "2026-01-15T09:00:02Z",
}
_STORED = _DOCUMENT | {"state": "stored", "title": "", "media_type": "", "pages": None, "characters": {}}
_STORED |= {"recognised": None, "parser": 0, "version": 0}

DocumentId = Annotated[UUID, PathParameter(description="The document's id.")]


_FORM = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary", "description": "The bytes, with a file name."}},
    "required": ["file"],
    "additionalProperties": False,
    "examples": [{"file": "# Notes\n\nThe bytes of notes.md.\n"}],
}
"""One part, named `file`, with a file name."""


class DocumentController(Controller):
    """Documents that are uploaded, made text of, and searched beside ADRs."""

    path = "/v1/documents"
    tags = ("documents",)

    @post(
        "/",
        "Upload a document",
        _STORED,
        "It is stored, and waits to be parsed. 200 with the same document when these bytes are here.",
        status=202,
        errors=(413, 415),
        also={200: (_DOCUMENT, "These bytes are here already.")},
        opt={"form": _FORM},
    )
    async def upload_document(
        self,
        request: Request[Any, Any, Any],
        database: Db,
        principal: By,
        settings: NamedDependency[Settings],
        objects: NamedDependency[Objects],
    ) -> Response[Document]:
        """Markdown, HTML, text, DOCX, PDF, PPTX, XLSX, XLS, EPUB, mail or a picture; the bytes decide, not the name.
        What becomes of it is in `state` and `reason`: a file that cannot be read is taken, and then refused."""
        file = await receive_file(request)
        try:
            upload = await asyncio.to_thread(service.receive, file.file, file.filename)
            if upload.size_bytes > settings.api.upload_bytes_max:
                raise TooLarge(
                    f"the file has {upload.size_bytes} bytes", hint=f"at most {settings.api.upload_bytes_max}; split it"
                )
            async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
                there = await service.find_by_hash(connection, principal.tenant_id, upload.content_hash)
            if there is not None:
                return _answer(there, 200)
            await asyncio.to_thread(service.put, objects, principal.tenant_id, upload)
            trace = traceparent()
            async with tenant_transaction(database, principal.tenant_id) as connection:
                document, made = await service.create(connection, principal, upload, objects, trace)
        finally:
            await file.close()
        return _answer(document, 202 if made else 200)

    @get("/", "List documents", {"items": [_DOCUMENT], "next_cursor": None}, "Documents, newest first.")
    async def list_documents(
        self,
        database: Db,
        principal: By,
        in_state: Annotated[State | None, QueryParameter(name="state", description="Only those in this state.")] = None,
        limit: paging.Limit = paging.LIMIT_DEFAULT,
        cursor: paging.Cursor = None,
    ) -> DocumentPage:
        """What was uploaded. Take `next_cursor` of a page to get the next one."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.page(connection, principal.tenant_id, in_state, limit, cursor)

    @get("/{document_id:uuid}", "Read a document", _DOCUMENT, "The document as it is now.", errors=(404,))
    async def get_document(self, database: Db, principal: By, document_id: DocumentId) -> Document:
        """What became of it. Its text is found by `GET /v1/search`, its bytes under `original`."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.read(connection, principal.tenant_id, document_id)

    @get(
        "/{document_id:uuid}/original",
        "Download the original",
        "the bytes",
        "The bytes as they were uploaded.",
        answer=bytes,
        errors=(404,),
        media_type="application/octet-stream",
    )
    async def get_document_original(
        self, database: Db, principal: By, objects: NamedDependency[Objects], document_id: DocumentId
    ) -> Stream:
        """Byte for byte what was uploaded, as a download."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            document = await service.read(connection, principal.tenant_id, document_id)
        parts = objects.read(key_of(principal.tenant_id, bytes.fromhex(document.sha256)))
        # The first part before the answer begins: what is not there, or does not answer, is still an error then.
        first = await asyncio.to_thread(next, parts, b"")
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(document.file_name, safe='')}",
            "content-length": str(document.size_bytes),
            "x-content-type-options": "nosniff",
            "etag": f'"{document.sha256}"',
        }
        return Stream(_stream(first, parts), headers=headers, media_type="application/octet-stream")

    @post(
        "/{document_id:uuid}/retry",
        "Read a document once more",
        _STORED,
        "A job reads it, or does already: `job_id`.",
        status=202,
        errors=(404, 409),
    )
    async def retry_document(self, database: Db, principal: By, document_id: DocumentId) -> Document:
        """A partial document has the pages read that failed, and nothing that was read; a refused one all of it. What
        is found of it stays so until there is more. 409 for one that is whole."""
        trace = traceparent()
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.retry(connection, principal, document_id, trace)

    @delete("/{document_id:uuid}", "Delete a document", _DOCUMENT, "The document as it was.", errors=(404,))
    async def delete_document(self, database: Db, principal: By, document_id: DocumentId) -> Document:
        """It is found no more at once, and its original is erased. The same file can be uploaded again."""
        trace = traceparent()
        async with tenant_transaction(database, principal.tenant_id) as connection:
            document = await service.read(connection, principal.tenant_id, document_id)
            await service.delete(connection, principal, document_id, trace)
        return document


def _answer(document: Document, status: int) -> Response[Document]:
    return Response(document, headers={"location": f"/v1/documents/{document.id}"}, status_code=status)


async def _stream(first: bytes, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    while part := await asyncio.to_thread(next, parts, b""):
        yield part
