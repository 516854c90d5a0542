#!/bin/sh
# LiteLLM gives a status of HTTP to failures that never had a response.  Where nobody listens, its
# exception is an InternalServerError with status_code 500, the class and the status of a server
# that did answer 500; after a time-out it is a Timeout with status_code 408.  So neither class nor
# status tells whether the service got the request (and may bill it); only the first cause in the
# chain of __cause__ and __context__ does.
#
# Seen with litellm 1.106.2, provider "openai" (num_retries=0, max_retries=0):
#   refused   InternalServerError 500 "... Connection error."   first cause ConnectionRefusedError
#   time-out  Timeout 408                                        first cause TimeoutError
#   a 500     InternalServerError 500 "... boom"                 first cause HTTPStatusError
# Exits 0 while that is so, 1 where it changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q litellm==1.106.2 openai==2.54.0 httpx==0.28.1
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" - <<'PYTHON'
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import litellm

litellm.suppress_debug_info = True


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        if self.path.startswith("/slow"):
            time.sleep(3)
        body = b'{"error": {"message": "boom"}}'
        self.send_response(500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *args):
        pass

    do_GET = do_POST


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.handle_error = lambda *args: None
threading.Thread(target=server.serve_forever, daemon=True).start()
nobody = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
nobody.server_close()


def ask(name, base):
    try:
        litellm.completion(
            model="openai/tiny", api_base=base, api_key="none", timeout=1, num_retries=0,
            max_retries=0, messages=[{"role": "user", "content": "hi"}],
        )
    except Exception as error:
        first = error
        while (cause := first.__cause__ or first.__context__) is not None:
            first = cause
        found = (type(error).__name__, error.status_code, type(first).__name__)
        print(name, *found, str(error)[:90])
        return found
    return None


found = [
    ask("refused ", f"http://127.0.0.1:{nobody.server_port}/v1"),
    ask("time-out", f"http://127.0.0.1:{server.server_port}/slow"),
    ask("a 500   ", f"http://127.0.0.1:{server.server_port}/v1"),
]
expected = [
    ("InternalServerError", 500, "ConnectionRefusedError"),
    ("Timeout", 408, "TimeoutError"),
    ("InternalServerError", 500, "HTTPStatusError"),
]
sys.exit(0 if found == expected else 1)
PYTHON
