"""An S3 server on loopback (moto), with faults in front of it: answers that fail, stop in the middle, or come late."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "speech"
_ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>by design</Message></Error>"


@dataclass
class Faults:
    """What goes wrong: for each object whose key ends so, the faults of its first answers, in order.

    ``503``, ``500`` and ``404``: such an answer; ``cut``: half of the bytes, then the connection is closed; ``slow``:
    the right answer after 0.3 s. The key ``LIST`` stands for listings of the bucket.
    """

    waiting: dict[str, list[str]] = field(default_factory=dict)
    met: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, method: str, path: str, query: str) -> str | None:
        with self.lock:
            for key, faults in self.waiting.items():
                hit = "list-type" in query if key == "LIST" else method == "GET" and path.endswith(key)
                if hit and faults:
                    self.met.append((key, faults[0]))
                    return faults.pop(0)
        return None


class _Faulty:
    """A WSGI application whose answers :class:`Faults` spoil."""

    def __init__(self, application, faults: Faults):
        self._application, self._faults = application, faults

    def __call__(self, environ, start_response):
        fault = self._faults.next(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
        if fault == "slow":
            time.sleep(0.3)
        elif fault is not None and fault.isdigit():
            body = _ERROR % (b"NoSuchKey" if fault == "404" else b"SlowDown")
            start_response(f"{fault} Fault", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        answer = self._application(environ, start_response)
        if fault == "cut":
            # The header has promised them all.
            whole = b"".join(answer)
            return [whole[: len(whole) // 2]]
        return answer


class _Quiet(WSGIRequestHandler):
    def log(self, *args, **kwargs) -> None:
        """Say nothing."""


@contextmanager
def s3_server(faults: Faults) -> Iterator[str]:
    """The address of a server that ends with the block."""
    application = _Faulty(DomainDispatcherApplication(create_backend_app), faults)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
