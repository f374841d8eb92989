"""A hub on this machine: repositories are folders, and a download may break off."""

import hashlib
import http.server
import json
import threading
from contextlib import contextmanager
from pathlib import Path

SHA = "1" * 40


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, body):
        hub, path = self.server, self.path.partition("?")[0]
        hub.requests.append((self.command, path))
        api = f"/api/models/{hub.repo}"
        if path in (api, f"{api}/revision/main", f"{api}/revision/v1", f"{api}/revision/{SHA}"):
            files = [{"rfilename": name} for name in hub.files()]
            return self.send(json.dumps({"id": hub.repo, "sha": SHA, "siblings": files}).encode(), body)
        if path.startswith(f"{api}/tree/"):
            tree = [
                {"type": "file", "path": name, "oid": "0", "size": (hub.folder / name).stat().st_size}
                for name in hub.files()
            ]
            return self.send(json.dumps(tree).encode(), body)
        if path.startswith(f"{api}/revision/"):
            return self.send(b"{}", body, 404, {"X-Error-Code": "RevisionNotFound"})
        prefix = f"/{hub.repo}/resolve/{SHA}/"
        if path.startswith(prefix) and (hub.folder / path.removeprefix(prefix)).is_file():
            content = (hub.folder / path.removeprefix(prefix)).read_bytes()
            broken = body and hub.break_off and path.endswith(".safetensors")
            return self.send(content, body, cut=len(content) // 2 if broken else None)
        return self.send(b"{}", body, 404, {"X-Error-Code": "RepoNotFound"})

    def send(self, content, body, status=200, headers=None, cut=None):
        self.send_response(status)
        digest = hashlib.sha256(content).hexdigest()
        for name, value in {"X-Repo-Commit": SHA, "ETag": f'"{digest}"', **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[:cut])
        self.close_connection = cut is not None

    def log_message(self, *args):
        pass


class Hub(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, repo: str, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repo, self.folder, self.break_off, self.requests = repo, folder, False, []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@contextmanager
def serving(repo: str, folder: Path):
    hub = Hub(repo, folder)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
