"""What callers may send and what streams tell, as the document has it: the decoder's own rules, and not a summary.

Owns the schemas of bodies, of parameters and of the events of streams. Litestar's description of them loses bounds
inside of lists and beside null, and does not know that unknown fields are refused; msgspec, which decodes, knows all of
it. Refuses to rule: what is refused is refused by the decoder and by `api/requests.py`, and a test holds the two to
each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    RequestBody,
)
from litestar.openapi.spec.base import BaseSchemaObject
from litestar.params import ParameterKwarg
from litestar.routes import HTTPRoute

from api import sse
from api.chat.dialects.conversations import ITEM_NEEDS
from api.drafts.schemas import NEEDS
from schemas.jobs import KINDS
from schemas.text import BODY, pattern_for_readers

ParameterKind = Literal["text", "value", "time", "list"]
"""Any text; one value of a form, such as a number or a word of a few; a time; several."""

REFERENCE: Final = "#/components/schemas/{name}"

NO_NUL: Final = r"^[^\x00]*$"
"""What every text is that has no pattern of its own: `api/requests.py` refuses U+0000 everywhere."""


@dataclass
class Verbatim(BaseSchemaObject):
    """A value that is written as it is. Litestar leaves nulls out, and a field can be there and null."""

    value: Any

    def to_schema(self) -> Any:
        return self.value


def complete(app: Litestar) -> None:
    """Write the shapes into the app's document."""
    handlers = {
        str(handler.operation_id): handler
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
    }
    components = app.openapi_schema.components.schemas
    bodies = [body for handler in handlers.values() if (body := _body_of(handler)) is not None]
    bodies += [item for handler in handlers.values() if (item := handler.opt.get("items")) is not None]
    for name, schema in _for_senders(_schemas(bodies)).items():
        components[name] = Verbatim(_REPLACED.get(name, _keep)(schema))  # type: ignore[assignment]
    for operation in _operations(app):
        handler = handlers[str(operation.operation_id)]
        if form := handler.opt.get("form"):
            content = OpenAPIMediaType(Verbatim(form))  # type: ignore[arg-type]
            operation.request_body = RequestBody({"multipart/form-data": content}, required=True)
        for parameter in operation.parameters or ():
            if isinstance(parameter, Parameter):
                _state_parameter(parameter, handler)
        if events := handler.opt.get("events"):
            components |= {name: Verbatim(schema) for name, schema in _schemas(events.values()).items()}  # type: ignore[misc]
            _state_events(operation, events, bare=bool(handler.opt.get("bare")))
        if chunks := handler.opt.get("chunks"):
            components |= {name: Verbatim(schema) for name, schema in _schemas(chunks[0]).items()}  # type: ignore[misc]
            _state_chunks(operation, *chunks)


def _operations(app: Litestar) -> Iterator[Operation]:
    for path in (app.openapi_schema.paths or {}).values():
        yield from filter(None, (path.get, path.post, path.put, path.patch, path.delete))


# --- bodies ---------------------------------------------------------------------------------------------------------


def _body_of(handler: HTTPRouteHandler) -> type[msgspec.Struct] | None:
    field = handler.parsed_data_field
    wanted = None if field is None else field.annotation
    return wanted if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct) else None


def _schemas(types: Any) -> dict[str, Any]:
    _, components = msgspec.json.schema_components(list(types), ref_template=REFERENCE)
    return {name: _for_readers(schema) for name, schema in components.items()}


def _for_readers(schema: Any) -> Any:
    """The schema with patterns as JSON Schema has them, and with the type of words of which there are a few."""
    if isinstance(schema, list):
        return [_for_readers(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: each if name in ("default", "examples") else _for_readers(each) for name, each in schema.items()}
    if isinstance(made.get("pattern"), str):
        made["pattern"] = pattern_for_readers(made["pattern"])
    if "enum" in made and all(isinstance(each, str) for each in made["enum"]):
        made["type"] = "string"
    return made


def _for_senders(schema: Any) -> Any:
    """The schema with the rule of U+0000 on every text."""
    if isinstance(schema, list):
        return [_for_senders(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: each if name in ("default", "examples") else _for_senders(each) for name, each in schema.items()}
    if made.get("type") == "string" and not made.keys() & {"pattern", "enum", "format", "const", "contentEncoding"}:
        made["pattern"] = NO_NUL
    return made


def _keep(schema: dict[str, Any]) -> dict[str, Any]:
    return schema


def _state_jobs(schema: dict[str, Any]) -> dict[str, Any]:
    """A job of each kind takes the parameters of its kind, and only those."""
    schemas, components = msgspec.json.schema_components(KINDS.values())
    params = [components[each["$ref"].rpartition("/")[2]] for each in schemas]
    return {
        "title": schema["title"],
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": kind}, "params": _for_readers(each)},
                "required": ["kind", *(["params"] if each["required"] else [])],
                "additionalProperties": False,
            }
            for kind, each in zip(KINDS, params, strict=True)
        ],
    }


def _state_items(schema: dict[str, Any]) -> dict[str, Any]:
    """An item that is not deleted has a text."""
    deleted = {"properties": {"deleted": {"const": True}}, "required": ["deleted"]}
    told = {"properties": {"text": {"type": "string", "pattern": pattern_for_readers(BODY)}}, "required": ["text"]}
    return schema | {"anyOf": [deleted, told]}


def _state_changes(schema: dict[str, Any]) -> dict[str, Any]:
    """A change that does not fit is refused by itself, and is no reason to refuse the request."""
    events = schema["properties"]["events"]
    events["items"] = {
        "anyOf": [{"$ref": REFERENCE.format(name="ImportEvent")}, {}],
        "description": "One that does not fit is in `refused` of the answer, with its line and the reason.",
    }
    return schema


def _state_texts(schema: dict[str, Any]) -> dict[str, Any]:
    """Vectors are made of texts with something to see in them; what else is decoded is refused with what to do."""
    one, several = schema["properties"]["input"]["anyOf"]
    one["pattern"] = pattern_for_readers(BODY)
    several["items"] = one
    return schema


def _state_input_items(schema: dict[str, Any]) -> dict[str, Any]:
    """An item of a conversation has what its type needs; without a type it is a message."""
    options = [
        {
            "properties": {"type": {"const": kind}},
            "required": [*needed, *(["type"] if kind != "message" else [])],
        }
        for kind, needed in ITEM_NEEDS.items()
    ]
    return schema | {"anyOf": options}


def _state_drafts(schema: dict[str, Any]) -> dict[str, Any]:
    """A draft is asked for with what its task needs."""
    options: list[dict[str, Any]] = []
    for task, needed in NEEDS.items():
        given, *_ = (each for each in schema["properties"][needed]["anyOf"] if each != {"type": "null"})
        # A new one is made from no other.
        others = {} if needed == "adr_id" else {"adr_id": {"type": "null"}, "version": {"type": "null"}}
        properties = {"task": {"const": task}, needed: given, **others}
        options.append({"properties": properties, "required": ["task", needed]})
    return schema | {"anyOf": options}


_REPLACED: Final = {
    "DraftRequest": _state_drafts,
    "EmbeddingRequest": _state_texts,
    "InputItem": _state_input_items,
    "NewJob": _state_jobs,
    "NewItem": _state_items,
    "Events": _state_changes,
}
"""What no annotation can say."""


# --- parameters and streams -----------------------------------------------------------------------------------------


def _state_parameter(parameter: Parameter, handler: HTTPRouteHandler) -> None:
    """A parameter is there or not, and never null; its items have the bounds that the decoder has."""
    if parameter.schema is None:
        return
    found = parameter.schema.to_schema()
    options = [each for each in found.pop("oneOf", ()) if each != {"type": "null"}]
    assert len(options) < 2, f"{parameter.name} is of one type"
    made = {**found, **(options[0] if options else {})}
    if isinstance(made.get("type"), list):
        (made["type"],) = (each for each in made["type"] if each != "null")
    if "enum" in made:
        made["enum"] = [each for each in made["enum"] if each is not None]
    if made.get("type") == "array" and (item := _item_of(parameter.name, handler)) is not None:
        made["items"] = item
    made.pop("description", None)
    parameter.schema = Verbatim(_for_senders(_for_readers(made)))  # type: ignore[assignment]


def _item_of(name: str, handler: HTTPRouteHandler) -> dict[str, Any] | None:
    for key, field in handler.parsed_fn_signature.parameters.items():
        kwarg = field.kwarg_definition
        if isinstance(kwarg, ParameterKwarg) and (kwarg.name or key) == name:
            schema = msgspec.json.schema(field.annotation)
            lists = [each for each in schema.get("anyOf", [schema]) if each.get("type") == "array"]
            return lists[0]["items"] if lists else None
    return None


_BARE: Final = {
    "type": "object",
    "title": "chunk",
    "properties": {"data": {"type": "string"}, "id": False},
    "required": ["data"],
}
"""An event of another protocol, which has neither name nor id."""


def _state_events(operation: Operation, events: Mapping[str, type[msgspec.Struct]], *, bare: bool) -> None:
    """Say what one event of a stream is, by its name. OpenAPI 3.1 has no words for a sequence: as is usual, its schema
    of a stream is that of each event. `bare`: events of another protocol may stand in their place."""
    for response in (operation.responses or {}).values():
        stream = (getattr(response, "content", None) or {}).get(sse.MEDIA_TYPE)
        if stream is not None:
            named = [_describe_event(name, each) for name, each in events.items()]
            stream.schema = Verbatim({"oneOf": [*named, *([_BARE] if bare else [])]})


def _describe_event(name: str, event: type[msgspec.Struct]) -> dict[str, Any]:
    content = {"$ref": REFERENCE.format(name=event.__name__)}
    return {
        "type": "object",
        "title": name,
        "properties": {
            "id": {"type": "string"},
            "event": {"const": name},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": content},
        },
        "required": ["id", "event", "data"],
    }


def _state_chunks(operation: Operation, chunks: Sequence[Any], example: str) -> None:
    """Say that an answer may also come as a stream, what one event of it is, and that some end with a word that is no
    JSON."""
    schemas, _ = msgspec.json.schema_components(chunks, ref_template=REFERENCE)
    told = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"anyOf": list(schemas)}}
    data = {"anyOf": [{"const": "[DONE]"}, told]}
    each = {"type": "object", "properties": {"event": {"type": "string"}, "data": data}, "required": ["data"]}
    answer = (operation.responses or {})["200"]
    assert isinstance(answer, OpenAPIResponse)
    assert answer.content is not None
    answer.content[sse.MEDIA_TYPE] = OpenAPIMediaType(
        Verbatim({"oneOf": [each]}),  # type: ignore[arg-type]
        examples={"chunk": Example(summary="Example", value=Verbatim(example))},
    )
