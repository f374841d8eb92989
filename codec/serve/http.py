"""The few pages that the server answers itself, and who may ask."""

import hmac
import ipaddress
import json
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from codec.serve.config import ServeConfig

SOCKET_PATH = "/ws"
_STATIC = Path(__file__).parent / "static"
_CLIP = Path(__file__).parents[1] / "assets" / "speech.flac"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".flac": "audio/flac",
}
_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Pages:
    """Files of the page and the demo clip, all read at the start: a request can name no other."""

    def __init__(self) -> None:
        self._files = {
            f"/{path.name}": (path.read_bytes(), _TYPES[path.suffix])
            for path in [*sorted(_STATIC.iterdir()), _CLIP]
            if path.suffix in _TYPES
        }
        self._files["/"] = self._files["/index.html"]

    def get(self, path: str) -> Response:
        if path not in self._files:
            return text_response(HTTPStatus.NOT_FOUND, f"no such page; there are /, {SOCKET_PATH}, /healthz")
        content, kind = self._files[path]
        return response(HTTPStatus.OK, content, kind)


def response(status: HTTPStatus, content: bytes, kind: str) -> Response:
    """A response of that media type, with the headers that all have."""
    headers = Headers({"Content-Type": kind, "Content-Length": str(len(content)), "Connection": "close"})
    for name, value in _SECURITY.items():
        headers[name] = value
    return Response(status.value, status.phrase, headers, content)


def text_response(status: HTTPStatus, text: str, kind: str = "text/plain") -> Response:
    """A response of one line."""
    return response(status, f"{text}\n".encode(), f"{kind}; charset=utf-8")


def json_response(status: HTTPStatus, values: dict[str, object]) -> Response:
    """A response in JSON."""
    return text_response(status, json.dumps(values), "application/json")


def host_is_known(request: Request, config: ServeConfig) -> bool:
    """Whether the request names this server by an address, or by a name that belongs to it.

    A page of another site can have its own name point here; then that name is in the request.
    """
    host = _one(request, "Host")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    known = {"localhost", config.host, *(urlsplit(origin).hostname for origin in config.origins)}
    return name is not None and (name in known or _is_address(name))


def origin_is_allowed(request: Request, config: ServeConfig) -> bool:
    """Whether the request comes from no page, from ours, or from one that was named."""
    origin = _one(request, "Origin")
    if origin is None:
        return "Origin" not in request.headers
    try:
        return origin in config.origins or urlsplit(origin).netloc == _one(request, "Host")
    except ValueError:
        return False


def shows_token(request: Request, config: ServeConfig) -> bool:
    """Whether no token is needed or the request has it: ``Authorization: Bearer TOKEN``."""
    if config.token is None:
        return True
    shown = _one(request, "Authorization") or ""
    # The bytes as they came: versions of websockets read those that are not ASCII as one or the other.
    sent = shown.encode("latin-1", "surrogateescape")
    return hmac.compare_digest(sent, f"Bearer {config.token}".encode())


def _one(request: Request, name: str) -> str | None:
    """A header's value, ``None`` when it is missing or there twice."""
    values = request.headers.get_all(name)
    return values[0] if len(values) == 1 else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
