"""The cases of the Autobahn test suite that apply to this server, as bytes on real sockets.

Sections 1 (framing, with messages of up to this server's size), 2 (pings and pongs), 3 (reserved bits), 4 (opcodes),
5 (fragmentation), 6 (UTF-8) and 7 (closing). The suite's client expects its messages back; here the server's handler
records them. Left out: what needs an echo or large messages (1.1.7, 1.1.8, 1.2.7, 1.2.8, 7.1.6), and text that is found
to be invalid in the middle of a frame (6.4.3, 6.4.4): here a frame is judged as a whole.
"""

import asyncio
from dataclasses import dataclass, field

import pytest
from websockets.frames import CloseCode

from tests.support.connections import (
    BINARY,
    CLOSE,
    CONT,
    MESSAGE_MAX_BYTES,
    MORE,
    PING,
    PONG,
    TEXT,
    frame,
    listening_server,
    open_raw,
)
from tests.support.gateways import happens

GREEK = "κόσμε".encode()
BYE = frame(CLOSE, b"\x03\xe8")
BYE_ANSWER = b"\x88\x02\x03\xe8"


@dataclass(frozen=True)
class Case:
    """What a client sends, the messages that arrive, and how the connection ends: with an echo of its close, or a code.

    ``answers`` are the frames that the server sends before it closes.
    """

    name: str
    sent: bytes
    messages: list[bytes] = field(default_factory=list)
    code: int | None = None
    answers: bytes = b""
    pieces: int = 0


def text(content: bytes) -> bytes:
    return frame(TEXT, content)


def first(content: bytes, head: int = TEXT) -> bytes:
    return frame(head & MORE, content)


def more(content: bytes) -> bytes:
    return frame(CONT & MORE, content)


def last(content: bytes) -> bytes:
    return frame(CONT, content)


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def pong(content: bytes) -> bytes:
    return bytes((PONG, len(content))) + content


def chopped(case: Case) -> Case:
    return Case(f"{case.name} byte by byte", case.sent, case.messages, case.code, case.answers, 1)


SIZES = (0, 1, 125, 126, 127, 128, MESSAGE_MAX_BYTES)
FRAMING = [
    *(Case(f"1.1 text of {size}", text(b"*" * size) + BYE, [b"*" * size]) for size in SIZES),
    *(Case(f"1.2 binary of {size}", frame(BINARY, b"\xfe" * size) + BYE, [b"\xfe" * size]) for size in SIZES),
    Case("1.1 text longer than allowed", text(b"*" * (MESSAGE_MAX_BYTES + 1)), code=CloseCode.MESSAGE_TOO_BIG),
    Case("1 fragments longer than allowed", first(b"*" * 600) + last(b"*" * 600), code=CloseCode.MESSAGE_TOO_BIG),
    Case(
        "1 length of 8 bytes beyond 2^63",
        bytes((TEXT, 0x80 | 127)) + b"\xff" * 8 + bytes(4),
        code=CloseCode.MESSAGE_TOO_BIG,
    ),
    Case("1 no mask", bytes((TEXT, 2)) + b"hi", code=CloseCode.PROTOCOL_ERROR),
    Case("1 a mask", bytes((TEXT, 0x82, 1, 2, 3, 4)) + bytes((ord("h") ^ 1, ord("i") ^ 2)) + BYE, [b"hi"]),
]
PINGS = [
    Case("2.1 empty ping", frame(PING) + BYE, answers=pong(b"")),
    Case("2.2 ping with text", frame(PING, b"Hello") + BYE, answers=pong(b"Hello")),
    Case("2.3 ping with bytes", frame(PING, b"\x00\xff\xfe\xfd") + BYE, answers=pong(b"\x00\xff\xfe\xfd")),
    Case("2.4 ping of 125", frame(PING, b"\xfe" * 125) + BYE, answers=pong(b"\xfe" * 125)),
    Case("2.5 ping of 126", frame(PING, b"\xfe" * 126), code=CloseCode.PROTOCOL_ERROR),
    Case("2.7 pong unasked", frame(PONG) + BYE),
    Case("2.8 pong unasked with text", frame(PONG, b"x") + BYE),
    Case("2.9 pong unasked, then ping", frame(PONG, b"x") + frame(PING, b"y") + BYE, answers=pong(b"y")),
    Case(
        "2.10 ten pings",
        b"".join(frame(PING, b"%d" % number) for number in range(10)) + BYE,
        answers=b"".join(pong(b"%d" % number) for number in range(10)),
    ),
    Case("2 pong of 126", frame(PONG, b"\xfe" * 126), code=CloseCode.PROTOCOL_ERROR),
]
RESERVED = [
    *(
        Case(f"3 reserved bits {bits:#x} in {name}", text(b"a") + frame(head | bits, b"b"), [b"a"], 1002)
        for bits in (0x40, 0x20, 0x10, 0x30, 0x50, 0x60, 0x70)
        for name, head in (("text", TEXT), ("binary", BINARY), ("ping", PING), ("close", CLOSE))
    ),
    *(
        Case(f"4 opcode {opcode:#x}{' with content' if content else ''}", frame(0x80 | opcode, content), [], 1002)
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
        for content in (b"", b"x")
    ),
    Case("4.1 opcode 3 between messages", text(b"a") + frame(0x83, b"b") + text(b"c"), [b"a"], 1002),
]
FRAGMENTS = [
    Case("5.1 ping in two", first(b"a", PING) + last(b"b"), code=1002),
    Case("5.2 pong in two", first(b"a", PONG) + last(b"b"), code=1002),
    Case("5 close in two", first(b"\x03", CLOSE) + last(b"\xe8"), code=1002),
    Case("5.3 text in two", first(b"one ") + last(b"two") + BYE, [b"one two"]),
    Case("5 binary in two", first(b"\xff", BINARY) + last(b"\xfe") + BYE, [b"\xff\xfe"]),
    Case("5.6 ping between", first(b"a") + frame(PING, b"p") + last(b"b") + BYE, [b"ab"], answers=pong(b"p")),
    Case("5.9 continuation of nothing", last(b"a") + text(b"b"), code=1002),
    Case("5.12 continuation of nothing, more to come", more(b"a") + text(b"b"), code=1002),
    Case("5.15 continuation after the end", first(b"a") + last(b"b") + more(b"c") + text(b"d"), [b"ab"], 1002),
    Case("5.18 text within text", first(b"a") + text(b"b"), code=1002),
    Case(
        "5.19 five fragments and pings",
        first(b"1") + more(b"2") + frame(PING, b"p") + more(b"3") + more(b"4") + frame(PING, b"q") + last(b"5") + BYE,
        [b"12345"],
        answers=pong(b"p") + pong(b"q"),
    ),
    Case("5 a message after a fragmented one", first(b"a") + last(b"b") + text(b"c") + BYE, [b"ab", b"c"]),
    Case("5 close within a message", first(b"a") + BYE, code=1002),
]
VALID = {
    "6.2.1": "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "6.5": GREEK,
    "6.6 first of 1 byte": b"\x00",
    "6.7 first of each length": b"\x00\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80",
    "6.9 last of each length": b"\x7f\xdf\xbf\xef\xbf\xbf\xf4\x8f\xbf\xbf",
    "6.11 beside surrogates": b"\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd",
    "6.22 noncharacters": b"\xef\xbf\xbe\xef\xbf\xbf\xf0\x9f\xbf\xbe",
}
INVALID = {
    "6.3": GREEK + b"\xed\xa0\x80edited",
    "6.8 first of 5 bytes": b"\xf8\x88\x80\x80\x80",
    "6.8 first of 6 bytes": b"\xfc\x84\x80\x80\x80\x80",
    "6.10 last of 5 bytes": b"\xfb\xbf\xbf\xbf\xbf",
    "6.11 beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "6.12 lone continuation": b"\x80",
    "6.12 two continuations": b"\x80\xbf",
    "6.13 lone start of 2": b"\xc2 ",
    "6.13 lone start of 3": b"\xe2 ",
    "6.14 cut off after 1 of 2": b"\xc2",
    "6.14 cut off after 2 of 3": b"\xe2\x82",
    "6.14 cut off after 3 of 4": b"\xf0\x9f\x98",
    "6.16 impossible byte fe": b"\xfe",
    "6.16 impossible byte ff": b"\xff",
    "6.17 overlong slash of 2": b"\xc0\xaf",
    "6.17 overlong slash of 3": b"\xe0\x80\xaf",
    "6.17 overlong slash of 4": b"\xf0\x80\x80\xaf",
    "6.18 overlong maximum": b"\xe0\x9f\xbf",
    "6.19 overlong null": b"\xc0\x80",
    "6.20 lone high surrogate": b"\xed\xa0\x80",
    "6.20 lone low surrogate": b"\xed\xbf\xbf",
    "6.21 pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
}
UTF8 = [
    Case("6.1.1 empty text", text(b"") + BYE, [b""]),
    Case("6.1.2 empty fragments", first(b"") + more(b"") + last(b"") + BYE, [b""]),
    Case("6.1.3 empty but the middle", first(b"") + more(b"middle") + last(b"") + BYE, [b"middle"]),
    *(Case(f"{name} whole", text(content) + BYE, [content]) for name, content in VALID.items()),
    *(
        Case(
            f"{name} in fragments of a byte",
            first(b"") + b"".join(more(content[at : at + 1]) for at in range(len(content))) + last(b"") + BYE,
            [content],
        )
        for name, content in VALID.items()
    ),
    *(Case(f"{name} whole", text(content) + text(b"x"), code=1007) for name, content in INVALID.items()),
    *(
        Case(
            f"{name} in fragments of a byte",
            first(b"") + b"".join(more(content[at : at + 1]) for at in range(len(content))) + last(b""),
            code=1007,
        )
        for name, content in INVALID.items()
    ),
    Case("6.4.1 found before the message ends", first(GREEK) + more(b"\xf4\x90\x80\x80"), code=1007),
    Case("6.4.2 found in the middle of a character", first(GREEK + b"\xf4") + more(b"\x90"), code=1007),
    Case("6 invalid in binary", frame(BINARY, b"\xff\xfe") + BYE, [b"\xff\xfe"]),
    Case("6 valid after a broken message of a fragment", first(b"\xc3") + last(b"\xa9") + BYE, ["é".encode()]),
]
CLOSES = [
    Case("7.1.1 after a message", text(b"a") + BYE, [b"a"]),
    Case("7.1.2 twice", BYE + BYE),
    Case("7.1.3 then ping", BYE + frame(PING, b"x")),
    Case("7.1.4 then text", BYE + text(b"x")),
    Case("7.1.5 within a fragmented message, then its end", first(b"a") + BYE + last(b"b"), code=1002),
    Case("7.3.1 empty", frame(CLOSE), answers=b"\x88\x00"),
    Case("7.3.2 of one byte", frame(CLOSE, b"a"), code=1002),
    Case("7.3.4 with a reason", close(1000, b"bye"), answers=b"\x88\x05\x03\xe8bye"),
    Case("7.3.5 with the longest reason", close(1000, b"*" * 123), answers=b"\x88\x7d\x03\xe8" + b"*" * 123),
    Case("7.3.6 with a reason too long", close(1000, b"*" * 124), code=1002),
    Case("7.5.1 with a reason of invalid UTF-8", close(1000, GREEK + b"\xed\xa0\x80"), code=1007),
    *(
        Case(f"7.7 code {code}", close(code), answers=b"\x88\x02" + code.to_bytes(2, "big"))
        for code in (1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
    ),
    *(
        Case(f"7.9 code {code}", close(code), code=1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ),
]
CASES = [*FRAMING, *PINGS, *RESERVED, *FRAGMENTS, *UTF8, *CLOSES]
CHOPPED = [chopped(case) for case in (*PINGS[:5], *FRAGMENTS[:5], *UTF8[:8], *CLOSES[:6])]


@pytest.mark.parametrize("case", [*CASES, *CHOPPED], ids=lambda case: case.name)
async def test_a_client_of_the_protocol(case):
    """Its messages arrive, it gets what is due, and its connection ends with the right code and at once."""
    async with listening_server() as (server, port):
        reader, writer = await open_raw(port)
        size = case.pieces or len(case.sent)
        for at in range(0, len(case.sent), size):
            writer.write(case.sent[at : at + size])
            if case.pieces:
                await asyncio.sleep(0)
        got = await reader.read()
        writer.close()
        await happens(lambda: server.closes == 1)
        assert server.messages == case.messages
        if case.code is not None:
            answers, _, end = got.rpartition(bytes((CLOSE,)))
            assert (answers, int.from_bytes(end[1:3], "big")) == (case.answers, case.code)
        elif case.answers.startswith(b"\x88"):
            assert got == case.answers
        else:
            assert got == case.answers + BYE_ANSWER
