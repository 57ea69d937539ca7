"""A small Hugging Face hub on localhost: models and data sets out of a folder, with faults on request.

The folder holds `models/OWNER/NAME/...` and `datasets/OWNER/NAME/...`. A repo's commit is the hash of its
files, so that changing a file moves `main` and makes the old commit unknown. Point a process at it with
HF_ENDPOINT before it imports huggingface_hub. By hand: `python hub_server.py FOLDER --fault 500`.
"""

import argparse
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

GOOD_TOKEN = "hf_goodTokenOfTheTestHub"
FAULTS = ("hang", "401", "403", "404", "429", "500", "gated", "truncated", "short", "garbage")
HANG_LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Fault:
    """What goes wrong: in every request, or only in those for a repo or for files that end so."""

    kind: str
    repo_id: str = ""
    suffix: str = ""

    def meets(self, path: str) -> bool:
        """Tell whether a request for this path fails."""
        return self.repo_id in path and path.endswith(self.suffix)


@dataclass
class LocalHub:
    """A running server: what it serves, what goes wrong, what it was asked, and what it sent by path."""

    folder: Path
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    sent_bytes: dict[str, int] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        """Value for HF_ENDPOINT; numeric, since datasets also asks for a subdomain of a name."""
        return f"http://127.0.0.1:{self.port}"

    def find_commit(self, repo: str) -> str | None:
        """Hash the files of `models/o/n` or `datasets/o/n`; None where there is no such repo."""
        if not (self.folder / repo).is_dir():
            return None
        digest = hashlib.sha1(repo.encode())
        for path in self.list_files(repo):
            digest.update(path.encode() + b"\0" + hash_file(self.folder / repo / path).encode())
        return digest.hexdigest()

    def list_files(self, repo: str) -> list[str]:
        """Name the files of a repo, relative to its root, sorted."""
        root = self.folder / repo
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def fault_of(self, path: str) -> str | None:
        """Name the fault that a request for this path meets, if any."""
        return next((fault.kind for fault in self.faults if fault.meets(path)), None)


@contextmanager
def serve_hub(folder: Path, *, port: int = 0) -> Iterator[LocalHub]:
    """Serve a folder on a free port until the block ends; hanging requests are let go then."""
    hub = LocalHub(folder=folder)
    handler = type("HubHandler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    hub.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield hub
    finally:
        hub.stopping.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    fault: str | None
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with metadata or a file."""
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        self.fault = self.hub.fault_of(path)
        if self.fault == "hang":
            self.hub.stopping.wait(HANG_LIMIT_SECONDS)
            self.close_connection = True
        elif self.fault is not None and self.fault.isdigit():
            self._refuse(int(self.fault))
        elif self.headers.get("Authorization") not in (None, f"Bearer {GOOD_TOKEN}"):
            self._refuse(401, message="Invalid credentials in Authorization header")
        else:
            self._answer(path.strip("/").split("/"))

    def do_HEAD(self) -> None:
        """Answer as to GET, without the body."""
        self.do_GET()

    def _answer(self, parts: list[str]) -> None:
        if parts == ["api", "whoami-v2"]:
            return self._send_json({"name": "tester", "type": "user"})
        if len(parts) >= 4 and parts[0] == "api" and parts[1] in ("models", "datasets"):
            return self._answer_api("/".join(parts[1:4]), parts[4:])
        if parts[0] != "datasets":
            parts = ["models", *parts]
        if len(parts) >= 6 and parts[3] == "resolve":
            return self._answer_file("/".join(parts[:3]), parts[4], "/".join(parts[5:]))
        self._refuse(404)

    def _answer_api(self, repo: str, rest: list[str]) -> None:
        """Serve info, `auth-check` and `tree` of a repo; as on the real hub, info of gated ones is public."""
        commit = self.hub.find_commit(repo)
        if commit is None:
            return self._refuse(401, code="RepoNotFound", message="Repository not found")
        if rest == ["auth-check"]:
            return self._refuse_gated() if self._is_closed() else self._send_json({"ok": True})
        if len(rest) >= 2 and rest[1] not in ("main", commit):
            return self._refuse(404, code="RevisionNotFound", message=f"Invalid rev id: {rest[1]}")
        if rest[:1] == ["tree"]:
            return self._answer_tree(repo, commit, "/".join(rest[2:]))
        siblings = [{"rfilename": path} for path in self.hub.list_files(repo)]
        name = repo.split("/", 1)[1]
        info = {"id": name, "sha": commit, "private": False, "tags": [], "downloads": 0, "likes": 0}
        gated = "manual" if self.fault == "gated" else False
        self._send_json({**info, "gated": gated, "siblings": siblings})

    def _answer_tree(self, repo: str, commit: str, subfolder: str) -> None:
        root = self.hub.folder / repo
        start = root / subfolder
        if not start.is_dir():
            return self._refuse(404, code="EntryNotFound", commit=commit)
        found = start.rglob("*") if "recursive=true" in self.path.lower() else start.iterdir()
        self._send_json([_describe_entry(path, root) for path in sorted(found)])

    def _answer_file(self, repo: str, revision: str, path: str) -> None:
        commit = self.hub.find_commit(repo)
        if commit is None:
            return self._refuse(401, code="RepoNotFound", message="Repository not found")
        if self._is_closed():
            return self._refuse_gated()
        if revision not in ("main", commit):
            return self._refuse(404, code="RevisionNotFound", message=f"Invalid rev id: {revision}")
        file = self.hub.folder / repo / path
        if not file.is_file():
            return self._refuse(404, code="EntryNotFound", commit=commit)
        self._send_file(file, commit)

    def _send_file(self, file: Path, commit: str) -> None:
        """Send a file or the asked range of it; clients insist on ETag, X-Repo-Commit and honest lengths."""
        content = file.read_bytes()
        headers = {"ETag": f'"{hash_file(file)}"', "X-Repo-Commit": commit}
        if self.command == "HEAD":
            return self._send(200, content, headers)
        if self.fault == "truncated":
            return self._send(200, content, headers, sent_bytes=len(content) // 2)
        if self.fault == "short":
            content = content[: len(content) // 2]
        if self.fault == "garbage":
            content = bytes(len(content))
        asked = self.headers.get("Range", "")
        if not asked.startswith("bytes="):
            return self._send(200, content, headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(content)) + 1, len(content))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        self._send(206, content[start:stop], headers)

    def _is_closed(self) -> bool:
        return self.fault == "gated" and self.headers.get("Authorization") is None

    def _refuse_gated(self) -> None:
        self._refuse(401, code="GatedRepo", message="Access to this repo is restricted.")

    def _refuse(self, status: int, *, code: str = "", message: str = "", commit: str = "") -> None:
        """Fail as the hub does: clients go by the X-Error-Code header, since a HEAD has no body."""
        named = {"X-Error-Code": code, "X-Error-Message": message, "X-Repo-Commit": commit}
        headers = {key: value for key, value in named.items() if value}
        self._send(status, json.dumps({"error": message or str(status)}).encode(), headers)

    def _send_json(self, answer: object) -> None:
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], *, sent_bytes: int | None = None
    ) -> None:
        """Send it all, or close the connection after `sent_bytes` although Content-Length promised more."""
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            path = unquote(urlsplit(self.path).path)
            sent = len(body if sent_bytes is None else body[:sent_bytes])
            self.hub.sent_bytes[path] = self.hub.sent_bytes.get(path, 0) + sent
            self.wfile.write(body[:sent_bytes])
        if sent_bytes is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: the requests are in `hub.requests`."""


def _describe_entry(path: Path, root: Path) -> dict[str, object]:
    relative = str(path.relative_to(root))
    if path.is_dir():
        return {"type": "directory", "path": relative, "oid": "0" * 40, "size": 0}
    return {"type": "file", "path": relative, "oid": hash_file(path)[:40], "size": path.stat().st_size}


def hash_file(path: Path) -> str:
    """Hash the content, once for each time that the file was written."""
    status = path.stat()
    return _hash_content(path, status.st_mtime_ns, status.st_size)


@cache
def _hash_content(path: Path, changed_ns: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", choices=FAULTS)
    options = parser.parse_args()
    with serve_hub(options.folder, port=options.port) as hub:
        hub.faults += [Fault(options.fault)] if options.fault else []
        print(f"HF_ENDPOINT={hub.endpoint}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
