"""The server: one port for pages, metrics and WebSockets."""

import asyncio
import gc
import logging
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Self

from prometheus_client import disable_created_metrics
from websockets.asyncio.server import Server as SocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from codec.errors import CodecError
from codec.model.codec import Codec
from codec.serve.config import ServeConfig
from codec.serve.http import (
    SOCKET_PATH,
    Pages,
    host_is_known,
    json_response,
    origin_is_allowed,
    response,
    shows_token,
    text_response,
)
from codec.serve.metrics import CONTENT_TYPE, Metrics
from codec.serve.offer import Offer
from codec.serve.protocol import ClientError, control
from codec.serve.session import Session
from codec.serve.worker import Worker

_READ_AHEAD = 4
"""Messages of a client that may wait unread; with their largest size, its memory."""
_WRITE_AHEAD = 65_536
"""Bytes that may wait for a client, here and in the system, before sending waits too."""


class Server:
    """A model behind a port; ``async with`` starts and stops it.

    Attributes:
        port: where it listens.
    """

    def __init__(self, model: Codec, config: ServeConfig):
        self._model = model
        self._config = config
        self._offer = Offer(model, config)
        self._pages = Pages()
        self.metrics = Metrics(config.max_clients)
        self._addresses: Counter[str] = Counter()
        # They are there once it has started.
        self._worker: Worker
        self._sockets: SocketServer

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._worker = Worker(self._model, self._config, self.metrics, loop)
        try:
            self._sockets = await serve(
                self._serve_client,
                self._config.host,
                self._config.port,
                process_request=self._answer,
                server_header=None,
                # A small message could unpack to a large one, for much of our time.
                compression=None,
                max_size=self._config.max_message_bytes,
                max_queue=_READ_AHEAD,
                write_limit=_WRITE_AHEAD,
                # A fast client's answer to a ping lies behind all the audio that was not read yet; dead clients
                # are found by their silence.
                ping_interval=None,
                open_timeout=self._config.start_seconds,
                close_timeout=self._config.stall_seconds,
            )
        except OSError as error:
            where = f"{self._config.host}:{self._config.port}"
            raise CodecError(
                f"cannot listen on {where} ({error.strerror or error}); give another --port or --host"
            ) from None
        self._worker.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._sockets.close()
        await self._sockets.wait_closed()
        await asyncio.to_thread(self._worker.stop)

    @property
    def port(self) -> int:
        return next(iter(self._sockets.sockets)).getsockname()[1]

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A page, a refusal, or ``None`` to continue with a WebSocket."""
        path = request.path.partition("?")[0]
        if not host_is_known(request, self._config):
            return text_response(HTTPStatus.MISDIRECTED_REQUEST, "unknown host name; allow it with --origin")
        if path == SOCKET_PATH:
            if origin_is_allowed(request, self._config):
                return None
            self.metrics.closed.labels("origin").inc()
            return text_response(HTTPStatus.FORBIDDEN, "this page may not connect; allow it with --origin")
        if path == "/healthz":
            problem = self._worker.problem(time.monotonic())
            status = HTTPStatus.OK if problem is None else HTTPStatus.SERVICE_UNAVAILABLE
            return json_response(status, {"status": problem or "ok"})
        if path == "/metrics":
            if not shows_token(request, self._config):
                return text_response(HTTPStatus.UNAUTHORIZED, "show the token: Authorization: Bearer TOKEN")
            return response(HTTPStatus.OK, self.metrics.text().encode(), CONTENT_TYPE)
        return self._pages.get(path)

    async def _serve_client(self, socket: ServerConnection) -> None:
        self.metrics.connections.inc()
        # The system's own would take megabytes of what a client does not read.
        connection = socket.transport.get_extra_info("socket")
        connection.setsockopt(SOL_SOCKET, SO_SNDBUF, _WRITE_AHEAD)
        address = str((socket.remote_address or ("?",))[0])
        self._addresses[address] += 1
        try:
            # Those that have not started count too, or they could be as many as they like.
            crowded = self._addresses.total() > 2 * self._config.max_clients
            limit = self._config.max_clients_per_address
            if crowded or (limit is not None and self._addresses[address] > limit):
                await self._turn_away(socket)
                return
            await Session(socket, self._offer, self._worker, self._config, self.metrics).run()
        finally:
            self._addresses[address] -= 1
            self._addresses += Counter()

    async def _turn_away(self, socket: ServerConnection) -> None:
        error = ClientError("full", "too many connections, or too many from this address; try later", 1013)
        self.metrics.closed.labels(error.code).inc()
        await socket.send(control("error", code=error.code, message=str(error)))
        await socket.close(error.close_code, error.code)


async def run_server(model: Codec, config: ServeConfig, tell: Callable[[str], None]) -> None:
    """Serve until the process is asked to stop; ``tell`` takes a line for whoever started it."""
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    stop = asyncio.Event()
    # Windows has no such handlers; there Ctrl-C cancels this task, which closes the server as well.
    with suppress(NotImplementedError):
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
    # When each series began is a second series for every counter and histogram; nobody reads it here.
    disable_created_metrics()
    async with Server(model, config) as server:
        host = f"[{config.host}]" if ":" in config.host else config.host
        # A collection of all would look through torch's objects, everything else stopped for 80 ms.
        gc.collect()
        gc.freeze()
        tell(f"listening on http://{host}:{server.port}/")
        await stop.wait()
        tell("stopping")
