"""A gRPC service whose messages are plain bytes: `service.py ADDRESS [CERTIFICATE KEY AUTHORITY]`.

Options of the server come from the variable `OPTIONS`, as JSON. With a certificate it speaks TLS, and
wants to see one of the authority.
"""

import json
import os
import sys
import threading
from concurrent import futures

import grpc

lock = threading.Lock()
counts = {"calls": 0, "cancelled": 0}


def count(what):
    with lock:
        counts[what] += 1


def unary(request, context):
    count("calls")
    context.set_trailing_metadata((("x-trailer", "behind"), ("x-binary-bin", b"\x00\xff")))
    return b"echo " + request


def server_stream(request, context):
    count("calls")
    for number in range(int(request)):
        yield str(number).encode()


def client_stream(requests, context):
    count("calls")
    return str(sum(len(request) for request in requests)).encode()


def both_streams(requests, context):
    count("calls")
    for request in requests:
        yield b"echo " + request


def slow(request, context):
    """Waits for the end of the call, and notes it."""
    count("calls")
    ended = threading.Event()
    context.add_callback(ended.set)
    ended.wait()
    count("cancelled")
    return b"nobody reads this"


def fail(request, context):
    count("calls")
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "not with that password")


def late(request, context):
    """Fails behind a message."""
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "gr\u00fc\u00df\u00e9, 100%")


def seen(request, context):
    metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
    return json.dumps(metadata).encode()


def counted(request, context):
    with lock:
        return json.dumps(counts).encode()


UNARY = {"Unary": unary, "Slow": slow, "Fail": fail, "Seen": seen, "Counts": counted}
HANDLERS = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in UNARY.items()}
HANDLERS["ServerStream"] = grpc.unary_stream_rpc_method_handler(server_stream)
HANDLERS["Late"] = grpc.unary_stream_rpc_method_handler(late)
HANDLERS["ClientStream"] = grpc.stream_unary_rpc_method_handler(client_stream)
HANDLERS["BothStreams"] = grpc.stream_stream_rpc_method_handler(both_streams)


def main():
    address, *files = sys.argv[1:]
    options = list(json.loads(os.environ.get("OPTIONS", "{}")).items())
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", HANDLERS),))
    if files:
        certificate, key, authority = (open(file, "rb").read() for file in files)
        credentials = grpc.ssl_server_credentials([(key, certificate)], authority, True)
        server.add_secure_port(address, credentials)
    else:
        server.add_insecure_port(address)
    server.start()
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        server.stop(0)


main()
