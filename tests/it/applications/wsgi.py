"""A small application for gunicorn. `asgi.py` is the same for uvicorn, with WebSockets, without `vanish`."""

import hashlib
import socket
import threading

PIECE = 64 * 1024

# What one request says to another: events that may happen, and what has come of an upload.
released = {}
arrived = {}
changes = threading.Condition()


def application(environ, start_response):
    name, _, rest = environ["PATH_INFO"].removeprefix("/").partition("/")
    status, headers, body = PAGES.get(name, not_found)(environ, rest)
    start_response(status, headers)
    return body


def not_found(environ, rest):
    return "404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "8")], [b"nothing\n"]


def text(content, *headers, status="200 OK"):
    length = [("Content-Length", str(len(content)))]
    return status, [("Content-Type", "text/plain"), *length, *headers], [content]


def digest(environ, rest):
    """The sum and the length of what was sent."""
    return text(summary(environ["wsgi.input"], b""))


def slow(environ, rest):
    """The same, but notes how it begins as soon as a KiB is there, for gunicorn reads no less, and
    how it ends."""
    first = environ["wsgi.input"].read(1024)
    note(rest, first[:5])
    try:
        answer = summary(environ["wsgi.input"], first)
        length = answer.split()[1].decode()
        note(rest, b"whole" if environ.get("CONTENT_LENGTH", length) == length else b"broken")
    except Exception:
        note(rest, b"broken")
        raise
    return text(answer)


def note(name, how):
    with changes:
        arrived[name] = how


def summary(source, first):
    total, length = hashlib.sha256(first), len(first)
    while piece := source.read(PIECE):
        total.update(piece)
        length += len(piece)
    return f"{total.hexdigest()} {length}".encode()


def noted(environ, rest):
    with changes:
        return text(arrived.get(rest, b""))


def chunks(environ, rest):
    """Pieces of many sizes, and no length."""
    pieces = (bytes([number % 251]) * (number * 97) for number in range(1, 400))
    return "200 OK", [("Content-Type", "application/octet-stream")], pieces


def broken(environ, rest):
    """Fails in the middle; what has been said stays said."""
    return "200 OK", [("Content-Type", "text/plain")], breaking_off()


def breaking_off():
    yield b"all is well"
    raise RuntimeError("as the test wants it")


def vanish(environ, rest):
    """Hangs up without a word, having done what was asked."""
    with changes:
        note(rest, str(int(arrived.get(rest, b"0")) + 1).encode())
    environ["gunicorn.socket"].shutdown(socket.SHUT_RDWR)
    return text(b"that nobody hears")


def events(environ, rest):
    return "200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")], stream(rest)


def stream(name):
    yield b"event: first\ndata: 1\n\n"
    with changes:
        changes.wait_for(lambda: name in released)
    yield b"event: second\ndata: 2\n\n"


def release(environ, rest):
    with changes:
        released[rest] = True
        changes.notify_all()
    return text(b"released")


def empty(environ, rest):
    return "204 No Content", [("X-Test", "empty")], []


def redirect(environ, rest):
    return text(b"over there", ("Location", "/else%C3%A9where?a=b&c#d"), status="302 Found")


def cookies(environ, rest):
    cookie = "Set-Cookie"
    return text(b"", (cookie, "a=1; Path=/; HttpOnly"), (cookie, "b=2; Expires=Thu, 01 Jan 2099 00:00:00 GMT"))


def large(environ, rest):
    """Gives a large header back, as large as it came."""
    return text(b"", ("X-Test-Large", environ.get("HTTP_X_TEST_LARGE", "")))


def echo(environ, rest):
    """What of the request is the client's own affair."""
    own = ("HTTP_X_TEST", "HTTP_COOKIE", "HTTP_AUTHORIZATION", "HTTP_ACCEPT", "HTTP_USER_AGENT", "HTTP_HOST",
           "HTTP_RANGE", "HTTP_REFERER", "HTTP_ORIGIN", "CONTENT_TYPE", "CONTENT_LENGTH")
    names = [(name.removeprefix("HTTP_").replace("_", "-").lower(), name) for name in own]
    lines = [f"{header}: {environ[name]}" for header, name in names if environ.get(name)]
    start = f"{environ['REQUEST_METHOD']} {environ['RAW_URI']}"
    return text("\n".join([start, *lines]).encode("latin-1"))


def early(environ, rest):
    """Has its answer before it reads a byte."""
    return text(b"too large", status="413 Content Too Large")


PAGES = {
    "digest": digest, "slow": slow, "noted": noted, "chunks": chunks, "events": events, "release": release,
    "empty": empty, "redirect": redirect, "cookies": cookies, "large": large, "echo": echo, "early": early,
    "broken": broken, "vanish": vanish,
}
