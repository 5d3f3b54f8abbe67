"""The tools of `mmrag.apps.tools` over HTTP, behind the guard and the keys of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from mmrag.apps.access import Access, UnknownKeyError
from mmrag.apps.faults import describe
from mmrag.apps.guards import Guard, Message, Receive, Send

MOST_BYTES = 4 << 20
"""Of a request's body."""


def http_app(server: MCPServer[Any], access: Access, hosts: Sequence[str]) -> Any:  # noqa: ANN401  ASGI
    """Return the application that serves the tools at ``/mcp``.

    Args:
        server: the tools.
        access: the keys; each of them may use every tool there is.
        hosts: names that it answers to, as in `mmrag.apps.api.create_app`.
    """
    # the guard checks hosts and origins, with and without a port
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(transport_security=security)

    async def with_key(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                access.grant(Headers(scope=scope).get("authorization"))
            except UnknownKeyError as error:
                status, body = describe(error)
                await JSONResponse(body, status, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
                return
        await app(scope, receive, send)

    return Guard(with_key, hosts, MOST_BYTES)
