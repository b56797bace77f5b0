#!/usr/bin/env python3
"""Takes the view counts of the gateway into SQLite, each batch exactly once.

    consumer.py serve DATABASE ADDRESS      takes what the gateway pushes (VIEWS_TOKEN: the secret)
    consumer.py pull DATABASE COMMAND...    reads the lines of `sluicegate meters export` and
                                            acknowledges each batch by COMMAND and its name
    consumer.py show DATABASE               prints each item with its views, and how many batches

A batch and its counts are written in one transaction, and a batch that is there already changes
nothing. So it may be killed at any moment, and a batch may come as often as it likes.
"""

import hmac
import json
import os
import sqlite3
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

BODY_MAX = 64 * 1024 * 1024
SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY, meter TEXT NOT NULL, from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS views (item TEXT PRIMARY KEY, views INTEGER NOT NULL);
"""


def connect(path):
    database = sqlite3.connect(path, timeout=30)
    database.executescript(SCHEMA)
    return database


def apply(database, batch):
    """Writes a batch, unless it is there. Whoever is answered or acknowledged comes after this."""
    name = batch["batch"]
    print("taking", name, flush=True)
    with database:  # one transaction: all of it, or nothing
        known = database.execute("SELECT 1 FROM batches WHERE id = ?", (name,)).fetchone()
        if known is None:
            database.execute(
                "INSERT INTO batches VALUES (?, ?, ?, ?)",
                (name, batch["meter"], batch["from"], batch["until"]),
            )
            database.executemany(
                "INSERT INTO views VALUES (?, ?)"
                " ON CONFLICT (item) DO UPDATE SET views = views + excluded.views",
                batch["counts"].items(),
            )
    print("applied" if known is None else "had", name, flush=True)


def serve(database, address):
    expected = "Bearer " + os.environ["VIEWS_TOKEN"]

    class Handler(BaseHTTPRequestHandler):
        # A connection that says nothing must not keep the next batch waiting.
        timeout = 20

        def do_POST(self):
            given = self.headers.get("authorization", "")
            length = int(self.headers.get("content-length", 0))
            if not hmac.compare_digest(given.encode(), expected.encode()):
                self.answer(401)
            elif length > BODY_MAX:
                self.answer(413)
            else:
                apply(database, json.loads(self.rfile.read(length)))
                self.answer(204)

        def answer(self, status):
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    host, port = address.rsplit(":", 1)
    server = HTTPServer((host, int(port)), Handler)
    print("listening", flush=True)
    server.serve_forever()


def pull(database, acknowledge):
    for line in sys.stdin:
        batch = json.loads(line)
        apply(database, batch)
        subprocess.run([*acknowledge, batch["batch"]], check=True)


def show(database):
    for item, views in database.execute("SELECT item, views FROM views ORDER BY item"):
        print(item, views)
    print("batches", database.execute("SELECT count(*) FROM batches").fetchone()[0])


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("serve", "pull", "show"):
        sys.exit(__doc__)
    {"serve": serve, "pull": lambda db, *words: pull(db, words), "show": show}[sys.argv[1]](
        connect(sys.argv[2]), *sys.argv[3:]
    )
