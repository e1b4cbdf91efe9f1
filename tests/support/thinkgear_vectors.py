"""ThinkGear streams, and the rows that they decode to."""

import random

from serial_bridge.headsets.thinkgear import encode, encode_raw

RAW_FRAME = bytes.fromhex("aa aa 04 80 02 ff c3 bb")
SECOND_FRAME = bytes.fromhex(
    "aa aa 20 02 00 83 18 00 00 94 00 00 42 00 00 0b 00 00 64 00 00 4d 00 00 3d 00 00 07 00 00 05 04 0d 05 3d 34"
)
BANDS = (148, 66, 11, 100, 77, 61, 7, 5)
VECTORS = {
    "example of the Serial Stream Guide": (
        "aa aa 08 02 20 01 7e 04 12 05 60 e3",
        [("poor_signal", 32), ("battery", 126), ("attention", 18), ("meditation", 96)],
    ),
    "frame of the MindSet protocol": (
        SECOND_FRAME.hex(),
        [("poor_signal", 0), ("bands", BANDS), ("attention", 13), ("meditation", 61)],
    ),
    "raw, negative": ("aa aa 04 80 02 ff c3 bb", [("raw", -61)]),
    "raw, lowest": ("aa aa 04 80 02 f8 00 85", [("raw", -2048)]),
    "raw, highest": ("aa aa 04 80 02 07 ff 77", [("raw", 2047)]),
    "raw that looks like SYNC": ("aa aa 04 80 02 aa aa 29", [("raw", -21846)]),
    "raw among other rows": (
        "aa aa 10 80 02 60 00 80 02 13 12 02 55 04 25 05 35 16 15 91",
        [("raw", 24576), ("raw", 4882), ("poor_signal", 85), ("attention", 37), ("meditation", 53), ("blink", 21)],
    ),
    "heart rate": ("aa aa 02 03 48 b4", [("heart_rate", 72)]),
    "RR interval": ("aa aa 04 86 02 03 20 54", [("rr_ms", 800)]),
    "8-bit raw": ("aa aa 02 06 80 79", [("raw8", 128)]),
    "raw marker": ("aa aa 02 07 00 f8", [("raw_marker", 0)]),
    "headset found": ("aa aa 04 d0 02 05 05 23", [("headset_found", b"\5\5")]),
    "headset not found": ("aa aa 04 d1 02 05 05 22", [("headset_not_found", b"\5\5")]),
    "no headset found": ("aa aa 02 d1 00 2e", [("headset_not_found", b"")]),
    "headset lost": ("aa aa 04 d2 02 05 05 21", [("headset_lost", b"\5\5")]),
    "request denied": ("aa aa 02 d3 00 2c", [("request_denied", b"")]),
    "dongle in standby": ("aa aa 03 d4 01 00 2a", [("dongle_status", 0)]),
    "dongle scans": ("aa aa 03 d4 01 01 29", [("dongle_status", 1)]),
    "raised code level": ("aa aa 04 55 55 7f 00 d6", [("unknown", b"\0")]),
    "raised code level, long": ("aa aa 06 55 55 81 02 00 00 d2", [("unknown", b"\0\0")]),
    "only EXCODE": ("aa aa 02 55 55 55", []),
    "float bands": (
        "aa aa 22 81 20 3f800000 40000000 40400000 40800000 40a00000 40c00000 40e00000 41080000 d6",
        [("bands_float", (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.5))],
    ),
    "bands of a wrong length": (
        "aa aa 0a 83 06 00 00 01 00 00 02 04 32 3d",
        [("unknown", bytes.fromhex("000001000002")), ("attention", 50)],
    ),
    "unknown row without value": ("aa aa 02 ba 00 45", [("unknown", b"")]),
    "row without its value": ("aa aa 03 02 00 04 f9", [("poor_signal", 0)]),
    "row longer than the payload": ("aa aa 03 83 18 00 64", []),
    "row without its VLENGTH": ("aa aa 03 02 00 83 7a", [("poor_signal", 0)]),
    "eSense out of range": ("aa aa 02 04 ff fc", [("attention", 255)]),
    "empty frame, then raw": ("aa aa 00 ff aa aa 04 80 02 ff c3 bb", [("raw", -61)]),
    "odd run of SYNC": ("aa aa aa 04 80 02 ff c3 bb", [("raw", -61)]),
    "PLENGTH too large": ("aa aa ab aa aa 04 80 02 ff c3 bb", [("raw", -61)]),
    "joined in mid-frame": ("1d 13 00 1a 4c 04 57 05 4d fa aa aa 04 80 02 ff c3 bb", [("raw", -61)]),
    "truncated frame, then raw": (
        "aa aa 20 02 00 83 18 00 1e d7" + 6 * "aa aa 04 80 02 ff c3 bb",
        6 * [("raw", -61)],
    ),
    "wrong checksum": ("aa aa 04 d1 02 05 05 f2", []),
}


def bad_stream(rng: random.Random) -> bytes:
    """Make a stream of frames, rows of all codes, trailers, cut frames, flipped bits and rubbish."""
    trailer = rng.choice((b"", b"##", b"\r\n", b"#", b"xyz"))
    parts = []
    for _ in range(rng.randint(5, 60)):
        codes = (0x55, 2, 4, 5, 0x80, 0x81, 0x83, 0x86, 0xD2, 0xD4, rng.randrange(256))
        raw = encode_raw(rng.randint(-3000, 3000))
        part = rng.choice(
            (
                *(raw,) * 6,
                encode(bytes(rng.choice(codes) for _ in range(rng.randrange(12)))),
                encode(bytes((0x81, 32, *(rng.choice((0x7F, 0xFF, 0x80, 0x40, 0)) for _ in range(32))))),
                encode(bytes((2, 0, 0x83, 24, *(rng.randrange(256) for _ in range(24)), 4, rng.randrange(256)))),
                bytes(rng.choice((0xAA, 0x23, 4, 0x80, 2, rng.randrange(256))) for _ in range(rng.randrange(6))),
                raw[: rng.randrange(8)],
                (int.from_bytes(raw) ^ 1 << rng.randrange(64)).to_bytes(8),
            )
        )
        parts.append(part + trailer * rng.choice((0, 1, 1, 1, 1, 1, 1, 1, 1, 2)))
    return b"".join(parts)
