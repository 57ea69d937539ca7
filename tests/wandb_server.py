"""A W&B service on this machine: a real HTTP server that takes everything, a part, or never says a word."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Manner = Literal["silent", "stalling", "without artifacts", "refusing artifacts", "taking"]
BUCKET = {
    "id": "run",
    "name": "run",
    "displayName": "run",
    "description": "",
    "config": "{}",
    "sweepName": None,
    "historyLineCount": 0,
    "project": {"id": "project", "name": "p", "entity": {"id": "entity", "name": "e"}},
}
VIEWER = {"id": "user", "username": "u", "entity": "e", "email": "", "flags": "{}", "teams": {"edges": []}}
NEW_ARTIFACT = {"id": "artifact", "state": "PENDING", "artifactSequence": {"latestArtifact": None}}

COLLECTION = {
    "__typename": "ArtifactSequence",
    "name": "model",
    "project": {"id": "project", "internalId": "project", "name": "p", "entity": {"name": "e"}},
}
KEPT_ARTIFACT = {
    "__typename": "Artifact",
    "id": "artifact",
    "artifactSequence": COLLECTION,
    "versionIndex": 0,
    "artifactType": {"name": "model"},
    "description": None,
    "metadata": "{}",
    "ttlDurationSeconds": -2,
    "ttlIsInherited": True,
    "tags": [],
    "historyStep": None,
    "state": "COMMITTED",
    "size": 0,
    "digest": "digest",
    "digestAlgorithm": "MANIFEST_MD5",
    "commitHash": "hash",
    "fileCount": 0,
    "createdAt": "2026-01-01T00:00:00",
    "updatedAt": None,
    "aliases": [],
}


@contextmanager
def serve_wandb(manner: Manner, *, uploads: dict[str, bytes] | None = None) -> Iterator[str]:
    """Serve, and give the address.

    Args:
        manner: silent takes connections and answers nothing; stalling opens runs and then takes no data;
            without artifacts falls silent when one is made, refusing artifacts says no then; taking does all
            that an upload needs.
        uploads: Gets what is uploaded or logged, by the path it comes to.
    """
    is_over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if uploads is not None and self.path != "/graphql":
                # Files come whole, what is logged comes in parts.
                uploads[self.path] = body if self.command == "PUT" else uploads.get(self.path, b"") + body
            asked = json.loads(body) if self.path == "/graphql" else {}
            answer = answer_as(manner, asked, address=f"http://{self.headers['Host']}")
            if answer is None:
                is_over.wait()
                return
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        is_over.set()
        server.shutdown()
        server.server_close()


def answer_as(manner: Manner, asked: dict[str, Any], *, address: str) -> dict[str, Any] | None:
    """Answer a request; None is silence.

    Args:
        asked: The query and its variables; empty where it is none of GraphQL's.
    """
    if manner == "silent":
        return None
    named = re.match(r"\s*(?:query|mutation)\s+(\w+)", asked.get("query", ""))
    name, variables = named.group(1) if named else "", asked.get("variables") or {}
    if manner == "stalling" and name != "UpsertBucket":
        return None
    if manner == "without artifacts" and name == "CreateArtifact":
        return None
    if manner == "refusing artifacts" and name == "CreateArtifact":
        return {"errors": [{"message": "no room left"}], "data": None}
    # Older versions of wandb name the files beside the input.
    files = [file["name"] for file in variables.get("input", variables).get("artifactFiles", [])]
    answers = {
        "UpsertBucket": {"upsertBucket": {"bucket": BUCKET, "inserted": True}},
        "Viewer": {"viewer": VIEWER},
        "GetDefaultEntity": {"viewer": VIEWER},
        "ArtifactType": {"project": {"artifact": None}},
        "CreateArtifact": {"createArtifact": {"artifact": NEW_ARTIFACT}},
        "CreateArtifactFiles": {
            "createArtifactFiles": {"files": {"edges": [_take_file(name, address) for name in files]}}
        },
        "CreateArtifactManifest": {
            "createArtifactManifest": {
                "artifactManifest": {"id": "manifest", "file": _take_file("manifest", address)["node"]}
            }
        },
        "CommitArtifact": {"commitArtifact": {"artifact": {"id": "artifact", "digest": "digest"}}},
        "ArtifactByID": {"artifact": KEPT_ARTIFACT},
        "CreateRunFiles": {
            "createRunFiles": {
                "runID": "run",
                "uploadHeaders": [],
                "files": [
                    {"name": name, "uploadUrl": f"{address}/files/{name}"}
                    for name in variables.get("files", [])
                ],
            }
        },
    }
    return {"data": answers.get(name, {})} if named else {}


def _take_file(name: str, address: str) -> dict[str, Any]:
    node = {
        "id": name,
        "name": name,
        "displayName": name,
        "uploadUrl": f"{address}/artifact/{name}",
        "uploadHeaders": [],
        "uploadMultipartUrls": None,
        "storagePath": name,
        "artifact": {"id": "artifact"},
    }
    return {"node": node}
