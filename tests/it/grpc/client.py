"""A gRPC client: `client.py ADDRESS STORY ARGUMENT...` prints what it has got as one line of JSON."""

import json
import sys
import threading
from concurrent import futures

import grpc

RETRYING = {
    "methodConfig": [
        {
            "name": [{"service": "test.Echo"}],
            "retryPolicy": {
                "maxAttempts": 2,
                "initialBackoff": "0.001s",
                "maxBackoff": "0.001s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
            },
        }
    ]
}
# Only a hang runs into it.
LONG = 60


def channel(address, *options):
    return grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0), *options])


def method(kind, name):
    return getattr(connection, kind)(f"/test.Echo/{name}")


def unary(name, request=b"", timeout=LONG):
    return method("unary_unary", name)(request, timeout=timeout)


def failure(error):
    metadata = {key: value for key, value in error.trailing_metadata() or ()}
    shown = {key: value.hex() if isinstance(value, bytes) else value for key, value in metadata.items()}
    return {"code": error.code().name, "details": error.details(), "metadata": shown}


def attempt(call):
    try:
        result = call()
        return result.decode() if isinstance(result, bytes) else result
    except grpc.RpcError as error:
        return failure(error)


def kinds():
    """Every kind of call, with messages of a megabyte."""
    large = bytes(range(256)) * 4096
    answer, call = method("unary_unary", "Unary").with_call(large, timeout=LONG)
    trailers = {key: value for key, value in call.trailing_metadata()}
    pieces = [b"%d" % number * number for number in range(200)]
    late, got = method("unary_stream", "Late")(b"", timeout=LONG), []
    try:
        got.extend(message.decode() for message in late)
    except grpc.RpcError as error:
        got.append([error.code().name, error.details()])
    return {
        "unary": answer == b"echo " + large,
        "trailers": [trailers["x-trailer"], trailers["x-binary-bin"].hex()],
        "server": [int(message) for message in method("unary_stream", "ServerStream")(b"1000", timeout=LONG)],
        "client": method("stream_unary", "ClientStream")(iter([large] * 8), timeout=LONG).decode(),
        "both": [
            answer == b"echo " + piece
            for answer, piece in zip(method("stream_stream", "BothStreams")(iter(pieces), timeout=LONG), pieces)
        ],
        "in turn": in_turn(),
        "late": got,
        "fail": {key: value for key, value in attempt(lambda: unary("Fail")).items() if key != "metadata"},
        "unknown": attempt(lambda: unary("Unknown"))["code"],
    }


def in_turn():
    """Each message is sent when the answer to the one before is there."""
    turn, answers = threading.Semaphore(1), []

    def requests():
        for number in range(20):
            turn.acquire()
            yield b"%d" % number

    for answer in method("stream_stream", "BothStreams")(requests(), timeout=LONG):
        answers.append(answer.decode())
        turn.release()
    return answers


def deadline():
    """Calls that end by their deadline, and one that is cancelled."""
    codes = [attempt(lambda: unary("Slow", timeout=0.2))["code"] for _ in range(3)]
    call = method("unary_unary", "Slow").future(b"", timeout=LONG)
    while json.loads(unary("Counts"))["calls"] < 4:
        pass
    call.cancel()
    return [*codes, call.code().name]


def refused(calls):
    """So many calls, then one of each kind."""
    first = [attempt(lambda: unary("Unary", b"one")) for _ in range(int(calls))]
    forever = threading.Event()

    def endless():
        yield b"one"
        forever.wait()

    streams = {
        "server": lambda: list(method("unary_stream", "ServerStream")(b"9", timeout=LONG)),
        "client": lambda: method("stream_unary", "ClientStream")(endless(), timeout=LONG),
        "both": lambda: list(method("stream_stream", "BothStreams")(endless(), timeout=LONG)),
    }
    # More than one, so that each that waits for something would be seen.
    then = {kind: [attempt(call) for _ in range(5)] for kind, call in streams.items()}
    forever.set()
    return {"first": first, **then}


def retried():
    """A client that repeats a refused call by itself."""
    global connection
    connection = channel(address, ("grpc.service_config", json.dumps(RETRYING)))
    return [attempt(lambda: unary("Unary", b"one")) for _ in range(4)]


def once(name):
    return attempt(lambda: unary(name))


def many(name, calls, threads):
    """So many calls over one connection: how often each outcome came."""
    outcomes = {}
    with futures.ThreadPoolExecutor(max_workers=int(threads)) as pool:
        for result in pool.map(lambda _: attempt(lambda: unary(name)), range(int(calls))):
            outcome = f"{result['code']}: {result['details']}" if isinstance(result, dict) else "OK"
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


address, story, *arguments = sys.argv[1:]
connection = channel(address)
print(json.dumps(globals()[story](*arguments)))
