"""What a WebSocket message and an idle connection cost on each of two layers over the same library.

``python -m bench.connections`` sends 4000 clients' messages at 1 Hz, as fast as phones do, to a server on the library's
asyncio layer and to one on the gateway's own connections, one after the other; nothing is done with the messages.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import multiprocessing
import resource
import time

import psutil
import uvloop
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from bench.gateway import HOST, connect, free_port, text_frame, wait_until_open
from ws_gateway.websocket.connection import Connection
from ws_gateway.websocket.handshake import Dialects
from ws_gateway.websocket.paced_reading import Turns

FRAME = text_frame(json.dumps({"Nome": "s1234", "Codigo": "BENCH", "Att": 50, "Med": 50, "Delta": 123456}))
TICK_S = 0.002


class FakeServer:
    """Accepts every client and counts the messages."""

    def __init__(self):
        self.messages = 0
        self.turns = Turns()

    def make(self):
        return Connection(self, Dialects(max_size=8192, logger=SILENT), self.turns)

    def on_connect(self, connection):
        pass

    def on_request(self, connection, request):
        pass

    def on_first_message(self, connection):
        pass

    def on_open(self, connection, request):
        return FakeClient(self)

    def on_close(self, connection):
        pass


class FakeClient:
    def __init__(self, server):
        self.server = server

    def on_message(self, message):
        self.server.messages += 1

    def resume(self):
        pass

    def on_close(self):
        pass


SILENT = logging.getLogger("bench.websockets")
SILENT.setLevel(logging.CRITICAL)


async def library(port, fake):
    async def talk(connection):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv(decode=False)
                fake.messages += 1

    return await serve(talk, HOST, port, compression=None, max_size=8192, logger=SILENT, backlog=1024)


async def ours(port, fake):
    return await asyncio.get_running_loop().create_server(fake.make, HOST, port, backlog=1024)


LAYERS = {"library's asyncio layer": library, "connection.py": ours}


def server(layer, port, pipe):
    """Serve; say at every word from the pipe how much was heard, and CPU and memory so far."""

    async def main():
        fake = FakeServer()
        listener = await LAYERS[layer](port, fake)
        while await asyncio.to_thread(pipe.recv):
            pipe.send((fake.messages, time.process_time(), psutil.Process().memory_info().rss))
        listener.close()

    allow_many_files()
    with contextlib.suppress(EOFError):
        uvloop.run(main())


async def load(port, students, seconds, look):
    before = look()
    clients = []
    for start in range(0, students, 100):
        clients += await asyncio.gather(*(connect(port) for _ in range(min(100, students - start))))
    idle = look()
    began_s, sent = time.perf_counter(), 0
    while sent < students * seconds:
        due = min(int((time.perf_counter() - began_s) * students) + 1, students * seconds)
        for number in range(sent, due):
            clients[number % students].transport.write(FRAME)
        sent = due
        await asyncio.sleep(TICK_S)
    while (after := look())[0] < sent:  # noqa: ASYNC110 (no event to wait for)
        await asyncio.sleep(0.05)
    for client in clients:
        client.transport.abort()
    return (after[1] - idle[1]) / sent * 1e6, (idle[2] - before[2]) / students / 1024


def allow_many_files():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--students", type=int, default=4000)
    options.add_argument("--seconds", type=int, default=10)
    given = options.parse_args()
    allow_many_files()
    found = {}
    for layer in LAYERS:
        port, (here, there) = free_port(), multiprocessing.Pipe()
        program = multiprocessing.get_context("spawn").Process(target=server, args=(layer, port, there))
        program.start()
        wait_until_open(port)

        def look(pipe=here):
            pipe.send(True)
            return pipe.recv()

        found[layer] = uvloop.run(load(port, given.students, given.seconds, look))
        here.send(False)
        program.join()
        print(f"{layer:24} {found[layer][0]:5.1f} us a message, {found[layer][1]:5.1f} KiB a connection", flush=True)
    (its_us, its_kib), (our_us, our_kib) = found.values()
    print(f"{'ratio':24} {our_us / its_us:5.2f}               {our_kib / its_kib:5.2f}")


if __name__ == "__main__":
    main()
