"""A W&B service on this machine: a real HTTP server that answers, takes no data, or never says a word."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Manner = Literal["silent", "stalling"]
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


@contextmanager
def serve_wandb(manner: Manner) -> Iterator[str]:
    """Serve, and give the address.

    Args:
        manner: silent takes connections and answers nothing; stalling opens runs and then takes no data.
    """
    is_over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if manner == "silent" or b"upsertBucket" not in body:
                is_over.wait()
                return
            answer = json.dumps({"data": {"upsertBucket": {"bucket": BUCKET, "inserted": True}}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

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
