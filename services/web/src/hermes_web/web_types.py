"""Litestar's connection and request, with our type arguments."""

from typing import Any, TypeAlias

from litestar.connection import ASGIConnection, Request
from litestar.datastructures import State

Connection: TypeAlias = ASGIConnection[Any, Any, Any, State]
HttpRequest: TypeAlias = Request[Any, Any, State]
