"""The corpora of text: Penn Treebank, the user's own file, the quick start's."""

import os
from collections.abc import Mapping, Sequence

from nlf_jax.data.corpus import SPLITS, Corpus
from nlf_jax.data.text import lines as text
from nlf_jax.data.text import ptb
from nlf_jax.data.text.king_james import load_verses
from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.errors import UserError


def load_ptb(data_dir: str | os.PathLike | None = None, max_length: int = 288) -> Corpus:
    """Penn Treebank as characters: every line is a sequence, stripped.

    Lines longer than ``max_length`` are left out, 328 of the 42,068 training lines at 288.

    Args:
        data_dir: where ptb.{train,valid,test}.txt are, directly or in its folder ``ptb``; None
            means NLF_DATA_DIR. Where they are not, they are downloaded.
        max_length: in characters.

    Raises:
        UserError: missing or changed files, no network, or no line short enough.
    """
    lines = ptb.load_lines(data_dir or os.environ.get("NLF_DATA_DIR") or None)
    kept = {split: text.keep_lines(lines[split], max_length, strip=True)[0] for split in SPLITS}
    if not all(kept.values()):
        raise UserError(f"No line of Penn Treebank fits max_length={max_length}; raise it.")
    return _text_corpus("ptb_char", kept, max_length)


def load_text_file(
    path: str | os.PathLike,
    max_length: int = 288,
    *,
    seed: int = 0,
    strip: bool = False,
    unique: bool = False,
    windows: bool = False,
) -> Corpus:
    """The user's own text: every line is a sequence; the split is 90/5/5 by hash of the line.

    Lines are kept as they are. Blank ones are left out, and so are those longer than
    ``max_length``; what is left out is counted in a logged warning. Characters that only valid or
    test have become the unknown symbol.

    Args:
        path: a UTF-8 file.
        max_length: in characters.
        seed: of the split.
        strip: leave out the spaces at both ends of a line.
        unique: leave out a line that is there already.
        windows: cut a longer line into parts of equal length, which the split takes for lines.

    Raises:
        UserError: the file cannot be read, is not UTF-8, has control characters, or has fewer than
            20 different lines to use.
    """
    how = {"strip": strip, "unique": unique, "windows": windows}
    lines = text.keep_lines_of(str(path), text.read_lines(path), max_length, **how)
    return _text_corpus(os.path.basename(path), text.split_by_hash(lines, seed), max_length)


def load_quickstart(max_length: int = 288) -> Corpus:
    """The King James Bible in verses, those longer than ``max_length`` cut where a clause ends.

    What repeats an earlier line is left out, and the split is by hash of the line. No test line
    is a training line, then, but the rest of its verse and the verses around it mostly are, and
    so are passages that the Bible tells twice in nearly the same words: the score is one for new
    sentences of a known book, as for Penn Treebank's lines.

    Raises:
        UserError: the package with the text is not there or not whole.
    """
    pieces = [piece for verse in load_verses() for piece in text.break_line(verse, max_length)]
    lines = text.split_by_hash(list(dict.fromkeys(pieces)))
    return _text_corpus("quickstart", lines, max_length)


def _text_corpus(name: str, lines: Mapping[str, Sequence[str]], max_length: int) -> Corpus:
    vocabulary = Vocabulary.from_lines(lines["train"])
    splits = {split: list(map(vocabulary.encode_known, lines[split])) for split in SPLITS}
    return Corpus.create(name, splits, vocabulary=vocabulary, max_length=max_length)
