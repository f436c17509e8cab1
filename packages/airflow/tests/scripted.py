"""A server for the failures of HTTP: it answers with what the test has lined up, in order, and keeps what it was asked."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Scripted:
    def __init__(self):
        self.answers = []
        self.requests = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                owner.requests.append((self.command, self.path, dict(self.headers), body))
                status, headers, body = owner.answers.pop(0)
                if status is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def then(self, status, body=None, **headers):
        """Line up an answer; a status of None breaks the connection off."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        self.answers.append((status, named, raw))
        return self

    def refuse(self, status, code="x", message="why", details=None, **headers):
        error = {"code": code, "message": message, **({"details": details} if details else {})}
        return self.then(status, {"error": error}, **headers)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
