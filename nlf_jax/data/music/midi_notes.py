"""From the events of a MIDI file to notes: what a key, the sustain pedal and "all notes off" do."""

import collections
import dataclasses
from typing import NamedTuple

import numpy as np

from nlf_jax.data.music.midi_events import (
    CONTROL,
    NOTE_ON,
    NOTES_OFF,
    PEDAL,
    RESET,
    SOUND_OFF,
    Event,
    MidiEvents,
)
from nlf_jax.data.music.piano_roll import LOWEST_PITCH, NUM_PITCHES

_DRUM_CHANNEL = 9


class Notes(NamedTuple):
    """The notes of a MIDI file in ticks.

    Attributes:
        start, end, pitch: int64 [N], start < end.
        end_tick: where the last track ends.
        left_out: how many notes were not taken, by reason.
    """

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    end_tick: int
    left_out: dict[str, int]


def read_notes(midi: MidiEvents) -> Notes:
    """The notes in reach of the piano, in ticks; drums, stray and endless notes are left out.

    A key ends the notes that it started in its track. While the sustain pedal (controller 64) of a
    channel is down, at 64 or more, notes whose key is let go sound on until it comes up, at the
    latest until the end of the piece. "All notes off" (controllers 123 to 127) lets go every key of
    the channel that was struck before, "all sound off" (120) ends them whatever the pedal does, and
    "reset" (121) lifts the pedal.
    """
    reader = _NoteReader()
    for event in midi.events:
        reader.read(event)
    reader.finish(midi.end_tick)
    start, end, pitch = np.array(reader.notes, np.int64).reshape(-1, 3).T
    return Notes(start, end, pitch, midi.end_tick, dict(reader.left_out))


@dataclasses.dataclass
class _Channel:
    """What sounds in a channel.

    Attributes:
        struck: the ticks at which notes started whose key is down, by track and pitch.
        held: (start, pitch) of notes that only the pedal still holds.
        pedal: whether it is down.
        off_tick: when all notes were last let go.
    """

    struck: dict[tuple[int, int], list[int]] = dataclasses.field(default_factory=dict)
    held: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    pedal: bool = False
    off_tick: int = -1


class _NoteReader:
    """Collects (start, end, pitch) of notes in ticks, and counts those left out by reason."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, int, int]] = []
        self.left_out: collections.Counter[str] = collections.Counter()
        self._channels = [_Channel() for _ in range(16)]

    def read(self, event: Event) -> None:
        """Takes the next event of the piece."""
        tick, track, kind, _, number, value = event
        channel = self._channels[event.channel]
        if kind == CONTROL:
            self._control(channel, tick, number, value)
        elif kind != NOTE_ON or value == 0:
            self._let_go(channel, tick, (track, number))
        elif event.channel == _DRUM_CHANNEL:
            self._count("drums", 1)
        elif not 0 <= number - LOWEST_PITCH < NUM_PITCHES:
            self._count("out of range", 1)
        else:
            channel.struck.setdefault((track, number), []).append(tick)

    def finish(self, end_tick: int) -> None:
        """Ends what the pedal holds, and gives up what no key has ended."""
        for channel in self._channels:
            self._lift(channel, end_tick)
            self._count("without an end", sum(map(len, channel.struck.values())))

    def _control(self, channel: _Channel, tick: int, number: int, value: int) -> None:
        if number == PEDAL:
            channel.pedal = value >= 64
        elif number == RESET:
            channel.pedal = False
        elif number == SOUND_OFF or number >= NOTES_OFF:
            self._let_go_all(channel, tick)
        if number == SOUND_OFF or not channel.pedal:
            self._lift(channel, tick)

    def _let_go(self, channel: _Channel, tick: int, key: tuple[int, int]) -> None:
        """Ends all notes of that key, but not one that starts here where an older one can end."""
        starts = channel.struck.pop(key, [])
        older = [start for start in starts if start < tick]
        if older and len(older) < len(starts):
            channel.struck[key] = starts[len(older) :]
            starts = older
        channel.held.extend((start, key[1]) for start in starts)
        if not channel.pedal:
            self._lift(channel, tick)

    def _let_go_all(self, channel: _Channel, tick: int) -> None:
        """Ends all notes but those that start here: another track may have told of them before."""
        if channel.off_tick == tick:  # To look again, in vain, would take quadratic time.
            return
        channel.off_tick = tick
        for key, starts in list(channel.struck.items()):
            if starts[0] < tick:
                self._let_go(channel, tick, key)

    def _lift(self, channel: _Channel, tick: int) -> None:
        sounding = [(start, tick, pitch) for start, pitch in channel.held if start < tick]
        self.notes.extend(sounding)
        self._count("without a length", len(channel.held) - len(sounding))
        channel.held.clear()

    def _count(self, reason: str, number: int) -> None:
        if number:
            self.left_out[reason] += number
