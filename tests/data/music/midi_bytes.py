"""MIDI files for tests, byte by byte, so that they can be wrong."""

import struct

TICKS = 480
END = b"\x00\xff\x2f\x00"


def number(value):
    """A number of MIDI: seven bits a byte, the high bit set in all but the last."""
    rest = b"" if value < 128 else bytes(byte | 128 for byte in number(value >> 7))
    return rest + bytes([value & 127])


def at(delta, *event):
    """An event so many ticks after the one before."""
    return number(delta) + bytes(event)


def on(delta, pitch=60, *, channel=0, velocity=64):
    return at(delta, 0x90 | channel, pitch, velocity)


def off(delta, pitch=60, *, channel=0):
    return at(delta, 0x80 | channel, pitch, 0)


def control(delta, kind, value=0, *, channel=0):
    return at(delta, 0xB0 | channel, kind, value)


def meta(kind, *data):
    return at(0, 0xFF, kind, len(data), *data)


def chunk(name, content, *, length=None):
    return name + struct.pack(">L", len(content) if length is None else length) + content


def header(*, kind=1, tracks=1, division=TICKS, extra=b""):
    return chunk(b"MThd", struct.pack(">HHH", kind, tracks, division & 0xFFFF) + extra)


def track(*events, end=END, **options):
    return chunk(b"MTrk", b"".join(events) + end, **options)


def piece(*tracks, **options):
    """A file of tracks given as lists of events."""
    return header(tracks=len(tracks), **options) + b"".join(track(*events) for events in tracks)
