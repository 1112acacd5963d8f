"""The OpenAPI document as it is served: what Litestar derives from the handlers, with our errors in it. Pure."""

import copy
from typing import Any, Final

_REFERENCE: Final = {"$ref": "#/components/responses/Problem"}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A problem document (RFC 9457). 'action' says what to do; 'errors' which fields, and why.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "action": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                "required": ["field", "message"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "action"],
}


def described(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document in which every operation answers errors of any status with a problem document."""
    found = copy.deepcopy(document)
    components = found.setdefault("components", {})
    components.setdefault("schemas", {})["ProblemDocument"] = _PROBLEM
    components["responses"] = {
        "Problem": {
            "description": "It was not done, and why.",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
    }
    for operations in found["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("400", None)  # Litestar's own form, which is never sent
            operation["responses"]["default"] = _REFERENCE
    return found
