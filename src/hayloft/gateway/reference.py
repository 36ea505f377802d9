"""The HTTP reference, docs/HTTP.md, made from the application's own OpenAPI document.

Printed by ``hayloft reference http``. What OpenAPI cannot say (how answers behave, examples) stands in
``HEAD``; everything else comes from the routes and their types, so that it is never out of date.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from hayloft.errors import ERRORS_BY_CODE
from hayloft.gateway import routes
from hayloft.gateway.gateway import Gateway

Json = dict[str, Any]

TITLES: Final = {
    "photos": "Photos",
    "pictures": "Sizes and pictures to order",
    "links": "What belongs together",
    "operations": "Operations",
}
"""Sections, in the order of the page, by the routes' tags."""

_NEVER_TOLD: Final = {"not_found", "volume_not_found", "volume_read_only", "conflict"}
"""Codes that share a status with those that these operations answer with."""

HEAD: Final = """# HTTP

<!-- Made from the server's OpenAPI document by: hayloft reference http > docs/HTTP.md -->

A running server shows the same at `/docs`, and as OpenAPI at `/openapi.json`.

## In a few lines

```sh
HAYLOFT=http://127.0.0.1:8080

# Upload: a form with one file or many, or the bytes alone. The answer means: on stable storage.
curl -sf -F file=@rose.jpg $HAYLOFT/upload
curl -sf -F file=@rose.jpg -F file=@lily.jpg $HAYLOFT/upload
ID=$(curl -sf -H 'Content-Type: image/jpeg' --data-binary @rose.jpg "$HAYLOFT/upload?name=rose.jpg" |
  sed -E 's/.*"photo_id":([0-9]+).*/\\1/')

# Again after a lost answer, without making a second photo:
curl -sf -H 'Idempotency-Key: order-17' -F file=@lily.jpg $HAYLOFT/upload
curl -sf -H 'Idempotency-Key: order-17' -F file=@lily.jpg $HAYLOFT/upload | grep '"repeated":true'

# Read: the original, a part of it, a smaller size, what is known of it.
curl -sf $HAYLOFT/photo/$ID -o original.jpg
curl -sf -H 'Range: bytes=0-99' $HAYLOFT/photo/$ID -o first-100-bytes
curl -sf $HAYLOFT/photo/$ID/thumb -o thumb.webp
curl -sf $HAYLOFT/photo/$ID/info

# List, page after page: the answer's next_cursor is the next question's cursor.
curl -sf "$HAYLOFT/photos?order=desc&limit=10"

# What belongs together, once the photos have been looked at:
until curl -sf $HAYLOFT/similarity/status | grep -q '"pending":0'; do sleep 1; done
curl -sf $HAYLOFT/photo/$ID/links
curl -sf "$HAYLOFT/similar/$ID?k=5"
curl -sf -H 'Content-Type: image/jpeg' --data-binary @lily.jpg "$HAYLOFT/similar?k=5"
curl -sf "$HAYLOFT/groups?limit=10"

# Delete, for good. Again is no error.
curl -sf -X DELETE $HAYLOFT/photo/$ID
```

## What holds for all of it

- **Keys.** Where API keys are configured, show one as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
  A photo's link (`url` in every answer about a photo: id and cookie), `/health` and `/ready` need none:
  whoever has the link may see the photo.
- **Errors** are JSON with a stable `code`, a `message` for people and the `request_id`;
  [ERRORS.md](ERRORS.md) has all of them, also those that any operation may answer with: `unauthorized`,
  `invalid_request` for a parameter that makes no sense, `role_unavailable`, `internal_error`. Answers with
  `Retry-After` may be repeated after so many seconds.
- **Request ids.** Every answer has `X-Request-ID`. Send your own (letters, digits, `._-`, at most 64) to
  find it in the logs.
- **Times** are ISO 8601 in UTC with milliseconds; sizes are bytes; ids are integers below 2^53.
- **Photos never change.** They come with a strong `ETag` and `Cache-Control: immutable`; `If-None-Match`,
  `If-Match`, `If-Range` and `Range` (one range) work. A deleted photo answers 410 for ever.
- **Pages.** Lists answer `next_cursor`, which is null on the last page, and `total` over all pages.
- An upload's kind is decided by its content, never by its name or type.
"""


def openapi() -> Json:
    """The application's OpenAPI document. Nothing is served, so there is no gateway behind it."""
    return routes.application(cast("Gateway", None)).openapi()


def markdown() -> str:
    """The whole page."""
    document = openapi()
    operations = list(_operations(document))
    parts = [HEAD]
    for tag, title in TITLES.items():
        parts.append(f"## {title}\n")
        for operation in operations:
            if operation[2]["tags"] == [tag]:
                parts += _section(*operation)
    parts.append("## Bodies\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += _body(name, schema)
    return "\n".join(parts)


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "head":
                both = method == "get" and "head" in methods
                yield "GET, HEAD" if both else method.upper(), path, operation


def _section(method: str, path: str, operation: Json) -> Iterator[str]:
    yield f"### {method} {path}\n"
    told = operation.get("description") or operation["summary"]
    yield f"{_sentence(told)}\n"
    takes = list(_content(operation.get("requestBody", {})))
    if takes:
        yield f"Body: {', '.join(takes)}.\n"
    parameters = operation.get("parameters", [])
    if parameters:
        yield "| parameter | in | what | default |\n| --- | --- | --- | --- |"
        yield from (_parameter(parameter) for parameter in parameters)
        yield ""
    yield "| answer | body | when |\n| --- | --- | --- |"
    image = any("image/*" in kind for kind in takes)
    yield from (_answer(*each, image=image) for each in _answers(operation))
    yield ""


def _answers(operation: Json) -> list[tuple[str, Json]]:
    """Answers by status; what may come from anywhere is told once, on top."""
    return sorted((status, told) for status, told in operation["responses"].items() if status.isdigit())


def _answer(status: str, answer: Json, *, image: bool) -> str:
    if int(status) >= 400:
        codes = [
            code
            for code, kind in ERRORS_BY_CODE.items()
            if kind.status == int(status) and code not in _NEVER_TOLD and (image or code != "empty_upload")
        ]
        body = ", ".join(f"[`{code}`](ERRORS.md#{code})" for code in codes)
    else:
        body = ", ".join(_content(answer))
    when = "" if answer["description"] == "Successful Response" else _sentence(answer["description"])
    return f"| {status} | {body} | {_cell(when)} |"


def _content(holder: Json) -> Iterator[str]:
    for media_type, content in holder.get("content", {}).items():
        shape = _type(content.get("schema", {}))
        yield shape if media_type == "application/json" and shape else f"`{media_type}`"


def _parameter(parameter: Json) -> str:
    schema = parameter["schema"]
    if "anyOf" in schema:  # that it may be left out is what "null" says of a parameter
        (schema,) = (choice for choice in schema["anyOf"] if choice.get("type") != "null")
    told = _sentence(parameter.get("description", ""))
    what = " ".join(part for part in (_type(schema), f"· {told}" if told else "") if part)
    default = schema.get("default")
    required = "required" if parameter["required"] and parameter["in"] != "path" else ""
    shown = required or ("" if default in (None, "") else f"`{_plain(default)}`")
    return f"| `{parameter['name']}` | {parameter['in']} | {_cell(what)} | {shown} |"


def _body(name: str, schema: Json) -> Iterator[str]:
    yield f"### {name}\n"
    if schema.get("description"):
        yield f"{_sentence(schema['description'])}\n"
    if "enum" in schema:
        yield ", ".join(f"`{value}`" for value in schema["enum"]) + "\n"
    if schema.get("properties"):
        yield "| field | what |\n| --- | --- |"
        yield from (f"| `{field}` | {_cell(_type(kind))} |" for field, kind in schema["properties"].items())
        yield ""


def _type(schema: Json) -> str:
    """A type in a few words; named ones lead to their section."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return _bounded(schema)


def _bounded(schema: Json) -> str:
    """A plain type with its bounds."""
    kind = str(schema.get("type", ""))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {_plain(low)} to {_plain(high)}"
    if "maxLength" in schema:
        return f"{kind}, at most {schema['maxLength']} characters"
    return kind


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sentence(text: str) -> str:
    joined = " ".join(text.split())
    return joined if not joined or joined[-1] in ".`)" else f"{joined}."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
