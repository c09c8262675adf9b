"""A piano roll as files, and in a notebook."""

import base64
import dataclasses
import io
import os
import pathlib

import numpy as np

from nlf_jax.data.music.midi_roll import roll_to_midi
from nlf_jax.errors import UserError
from nlf_jax.media.audio import roll_to_wav
from nlf_jax.media.plot import plot_roll


def save_sample(
    directory: str | os.PathLike,
    roll: np.ndarray,
    *,
    name: str = "sample",
    frames_per_quarter: int = 2,
    beats_per_minute: float = 100.0,
) -> list[pathlib.Path]:
    """Writes a piano roll as name.mid, name.wav and name.png, over what has these names.

    Args:
        directory: is made if it is not there.
        roll: bool [T, 88].
        name: of the files, without a suffix.
        frames_per_quarter: frames in a quarter note.
        beats_per_minute: quarter notes per minute.

    Returns:
        The three paths.

    Raises:
        UserError: a file cannot be written, an argument is not of that form, or a package of the
            extra "music" is not installed.
    """
    timing = {"frames_per_quarter": frames_per_quarter, "beats_per_minute": beats_per_minute}
    midi = roll_to_midi(roll, **timing)
    figure = plot_roll(roll, title=name, frames_per_quarter=frames_per_quarter)
    paths = [pathlib.Path(directory, f"{name}.{suffix}") for suffix in ("mid", "wav", "png")]
    try:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        midi.save(paths[0])
        roll_to_wav(roll, paths[1], **timing)
        figure.savefig(paths[2])
    except OSError as error:
        raise UserError(f"Cannot write to {directory}: {error.strerror or error}.") from error
    return paths


def show(
    roll: np.ndarray,
    *,
    title: str = "",
    frames_per_quarter: int = 2,
    beats_per_minute: float = 100.0,
) -> "Shown":
    """The picture of a piano roll over a player of its sound, for a notebook cell to end with.

    Args and errors as for ``save_sample``.
    """
    buffer = io.BytesIO()
    plot_roll(roll, title=title, frames_per_quarter=frames_per_quarter).savefig(buffer)
    sound = roll_to_wav(
        roll, frames_per_quarter=frames_per_quarter, beats_per_minute=beats_per_minute
    )
    return Shown(
        f'<img src="{_data_url("image/png", buffer.getvalue())}"><br>'
        f'<audio controls src="{_data_url("audio/wav", sound)}"></audio>'
    )


@dataclasses.dataclass(frozen=True)
class Shown:
    """HTML that a notebook displays."""

    html: str = dataclasses.field(repr=False)

    def _repr_html_(self) -> str:
        return self.html


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
