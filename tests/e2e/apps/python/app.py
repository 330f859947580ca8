"""A page of the standard library's web server, with a greeting from a package that pip has put in place."""
import http.server
import os
import sys

import greeting


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{greeting.words()} Python {sys.version.split()[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
