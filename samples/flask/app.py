"""A small Flask application: a page, a health check, and a look at what the platform told it."""
import os
import platform
import time

from flask import Flask, jsonify

app = Flask(__name__)
started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@app.get("/")
def index():
    return jsonify(
        app="flask-sample",
        greeting=os.environ.get("GREETING", "hello from Flask"),
        instance=os.environ.get("INSTANCE_INDEX"),
        address=os.environ.get("DIALTONE_ADDRESS"),
        python=platform.python_version(),
        started=started,
    )


@app.get("/healthz")
def healthz():
    return "ok\n"
