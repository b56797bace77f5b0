"""A small application for uvicorn: `wsgi.py` without `vanish`, and WebSockets."""

import asyncio
import hashlib
from collections import defaultdict

# What one request says to another: events that may happen, and what has come of an upload.
released = defaultdict(asyncio.Event)
arrived = {}


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    name, _, rest = scope["path"].removeprefix("/").partition("/")
    if scope["type"] == "websocket":
        return await socket(name, receive, send)
    await PAGES.get(name, not_found)(scope, rest, receive, send)


async def lifespan(receive, send):
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def socket(name, receive, send):
    """Sends every message back, on `/socket`; no other place speaks WebSocket."""
    await receive()
    if name != "socket":
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "welcome"})
    while (message := await receive())["type"] == "websocket.receive":
        text, data = message.get("text"), message.get("bytes")
        if text == "bye":
            return await send({"type": "websocket.close", "code": 4000, "reason": "as you say"})
        await send({"type": "websocket.send", "bytes": data} if text is None else {"type": "websocket.send", "text": text})


async def not_found(scope, rest, receive, send):
    await text(send, b"nothing\n", status=404)


async def text(send, content, *headers, status=200):
    length = [(b"content-length", str(len(content)).encode())]
    await begin(send, [(b"content-type", b"text/plain"), *length, *headers], status)
    await piece(send, content, more=False)


async def begin(send, headers, status=200):
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def piece(send, content, more=True):
    await send({"type": "http.response.body", "body": content, "more_body": more})


async def digest(scope, rest, receive, send):
    """The sum and the length of what was sent; notes how it begins, as soon as that is there, and
    how it ends."""
    total, length, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            arrived[rest] = b"broken"
            return
        part, more = message.get("body", b""), message.get("more_body", False)
        total.update(part)
        if part and not length:
            arrived[rest] = part[:5]
        length += len(part)
    arrived[rest] = b"whole"
    await text(send, f"{total.hexdigest()} {length}".encode())


async def noted(scope, rest, receive, send):
    await text(send, arrived.get(rest, b""))


async def chunks(scope, rest, receive, send):
    """Pieces of many sizes, and no length."""
    await begin(send, [(b"content-type", b"application/octet-stream")])
    for number in range(1, 400):
        await piece(send, bytes([number % 251]) * (number * 97))
    await piece(send, b"", more=False)


async def broken(scope, rest, receive, send):
    """Fails in the middle; what has been said stays said."""
    await begin(send, [(b"content-type", b"text/plain")])
    await piece(send, b"all is well")
    raise RuntimeError("as the test wants it")


async def events(scope, rest, receive, send):
    await begin(send, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")])
    await piece(send, b"event: first\ndata: 1\n\n")
    await released[rest].wait()
    await piece(send, b"event: second\ndata: 2\n\n", more=False)


async def release(scope, rest, receive, send):
    released[rest].set()
    await text(send, b"released")


async def empty(scope, rest, receive, send):
    await begin(send, [(b"x-test", b"empty")], 204)
    await piece(send, b"", more=False)


async def redirect(scope, rest, receive, send):
    await text(send, b"over there", (b"location", b"/else%C3%A9where?a=b&c#d"), status=302)


async def cookies(scope, rest, receive, send):
    later = b"b=2; Expires=Thu, 01 Jan 2099 00:00:00 GMT"
    await text(send, b"", (b"set-cookie", b"a=1; Path=/; HttpOnly"), (b"set-cookie", later))


async def large(scope, rest, receive, send):
    """Gives a large header back, as large as it came."""
    await text(send, b"", (b"x-test-large", dict(scope["headers"]).get(b"x-test-large", b"")))


async def echo(scope, rest, receive, send):
    """What of the request is the client's own affair."""
    own = (b"x-test", b"cookie", b"authorization", b"accept", b"user-agent", b"host",
           b"range", b"referer", b"origin", b"content-type", b"content-length")
    given = dict(scope["headers"])
    lines = [name + b": " + given[name] for name in own if given.get(name)]
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    await text(send, b"\n".join([scope["method"].encode() + b" " + target, *lines]))


async def early(scope, rest, receive, send):
    """Has its answer before it reads a byte."""
    await text(send, b"too large", status=413)


PAGES = {
    "digest": digest, "slow": digest, "noted": noted, "chunks": chunks, "events": events, "release": release,
    "empty": empty, "redirect": redirect, "cookies": cookies, "large": large, "echo": echo, "early": early,
    "broken": broken,
}
