"""Small servers that behave or misbehave in a known way, as contenders: each answers {"red": 0.25}."""

import sys

from benchmarks.serving.contenders import Contender

PROGRAM = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

port, fault = int(sys.argv[1]), sys.argv[2]
if fault == "ends":
    sys.exit("it cannot start")

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = b'{"red": 0.9}' if fault == "lies" else b'{"red": 0.25}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *told):
        pass

HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def answering(name: str, fault: str = "none") -> Contender:
    """A contender without a fault, or one that `ends` at once or `lies`."""
    return Contender(
        name,
        environment="",
        package="",
        command=lambda _, launch: [sys.executable, "-c", PROGRAM, str(launch.port), fault],
        bodies=("raw",),
    )
