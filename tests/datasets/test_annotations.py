"""The reader of pickled ratings: what it reads, and that nothing else is run."""

import os
import pickle
import pickletools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_affect.datasets import _annotations
from persona_affect.datasets._annotations import dump_as_python2, read_ratings
from persona_affect.exceptions import DatasetFormatError, PersonaAffectError, UnsafePickleError

RATINGS = {
    "openness": {"abc.000.mp4": 0.25, "-x_.001.mp4": 1 / 3},
    "interview": {"abc.000.mp4": 0.0, "-x_.001.mp4": 1.0},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "annotation.pkl"


def test_python2_pickles_are_what_the_real_unpickler_reads(path):
    content = dump_as_python2(RATINGS)
    names = {op.name for op, _, _ in pickletools.genops(content)}
    assert {"SHORT_BINSTRING", "GLOBAL", "BUILD"} <= names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        real = pickle.loads(content, encoding="latin1")
    assert real == RATINGS
    assert type(real["openness"]["abc.000.mp4"]) is np.float64
    path.write_bytes(content)
    assert read_ratings(path) == RATINGS


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("number", [float, np.float64, np.float32, ">f8"])
def test_python3_pickles_are_read(path, protocol, number):
    make = np.dtype(number).newbyteorder(">").type if number == ">f8" else number
    ratings = {t: {c: make(v) for c, v in own.items()} for t, own in RATINGS.items()}
    path.write_bytes(pickle.dumps(ratings, protocol=protocol))
    assert read_ratings(path) == ratings


class Malicious:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_nothing_runs(path, tmp_path, protocol):
    mark = tmp_path / "it_ran"
    attacks = [
        Malicious(os.system, f"touch {mark}"),
        Malicious(eval, f"open({str(mark)!r}, 'w')"),
        Malicious(os.mkdir, str(mark)),
        {"openness": {"a.000.mp4": Malicious(os.mkdir, str(mark))}},
        np.zeros(3),
    ]
    for attack in attacks:
        path.write_bytes(pickle.dumps(attack, protocol=protocol))
        with pytest.raises(UnsafePickleError, match=r"annotation\.pkl.*nothing in it was run"):
            read_ratings(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cposix\nsystem\n(S'true'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cbuiltins\nexec\n(S'1'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"Pname\n.",
        b"\x82\x01.",
        b"(cnumpy\ndtype\no.",
        b"\x80\x02cnumpy\ndtype\n)\x81.",
    ],
)
def test_other_ways_to_call_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(UnsafePickleError):
        read_ratings(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "exhausted"),
        (b"text", "no readable pickle"),
        (pickle.dumps([1]), "instruction EMPTY_LIST"),
        (pickle.dumps({}), "no dictionary of traits"),
        (pickle.dumps({"openness": 1}), "no dictionary of clips"),
        (pickle.dumps({"openness": {"a": "high"}}), "is str, no number"),
        (pickle.dumps({"openness": {"a": True}}), "is bool, no number"),
        (pickle.dumps({("a",): {}}), "a key that is no name"),
        (b"(" * 9, "exhausted"),
        (b"0.", "POP"),
        (pickle.dumps({"openness": {"a": 10**400}}), "no readable pickle"),
        (b"cnumpy\ndtype\n.", "no dictionary of traits"),
        (b"}(\x8c\x01a)" + b"\x85" * 300_000 + b"u.", "is no dictionary of clips"),
        (b"})" + b"\x85" * 300_000 + b"}s.", "a key that is no name"),
        (b"cnumpy\ndtype\n)" + b"\x85" * 300_000 + b"R.", "of an unknown type"),
        (b"K\x01q\x00r\xff\xff\xff\xffh\x00.", "no dictionary of traits"),
        (b"\x96" + b"\xff" * 8 + b".", "pickle"),
    ],
)
def test_what_is_not_a_table_of_ratings_is_named(path, content, problem):
    path.write_bytes(content)
    with pytest.raises(DatasetFormatError, match=problem):
        read_ratings(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(DatasetFormatError, match=r"annotation\.pkl"):
        read_ratings(path)


def test_escapes_without_meaning_do_not_warn(path):
    path.write_bytes(b"c\\u\nx\n.")
    with pytest.raises(UnsafePickleError):
        read_ratings(path)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_pickles_give_ratings_or_a_named_error(tmp_path_factory, data):
    whole = dump_as_python2(RATINGS)
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(content)
    try:
        ratings = read_ratings(path)
    except PersonaAffectError:
        return
    assert all(isinstance(v, float) for own in ratings.values() for v in own.values())


@pytest.mark.parametrize(
    "content",
    [
        pickle.EMPTY_TUPLE + pickle.TUPLE1 * 10_000_000,
        pickle.MARK * 10_000_000,
        pickle.NONE * 10_000_000,
        pickle.EMPTY_DICT * 10_000_000,
    ],
    ids=["tuples", "marks", "values", "dictionaries"],
)
def test_content_that_no_rating_needs_is_refused_before_it_fills_the_memory(path, content):
    path.write_bytes(content + pickle.STOP)
    with pytest.raises(DatasetFormatError, match=r"longer, or nested deeper"):
        read_ratings(path)


def test_pickles_that_are_too_long_are_refused(path, monkeypatch):
    monkeypatch.setattr(_annotations, "_MAX_STORED", 1000)
    monkeypatch.setattr(_annotations, "_MAX_INSTRUCTIONS", 3000)
    store = b"".join(pickle.LONG_BINPUT + i.to_bytes(4, "little") for i in range(1100))
    for content in (pickle.NONE + store, (pickle.NONE + pickle.MARK + pickle.TUPLE) * 1100):
        path.write_bytes(content + pickle.STOP)
        with pytest.raises(DatasetFormatError, match=r"longer, or nested deeper"):
            read_ratings(path)
    path.write_bytes(pickle.EMPTY_TUPLE * (2**24 + 1))
    with pytest.raises(DatasetFormatError, match="more than 16,777,216 bytes"):
        read_ratings(path)


def test_as_many_ratings_as_the_published_ones_are_read(path):
    ratings = {f"trait{i}": {f"{n:011}.000.mp4": n / 6000 for n in range(6000)} for i in range(6)}
    path.write_bytes(dump_as_python2(ratings))
    assert read_ratings(path) == ratings
    path.write_bytes(pickle.dumps(ratings, protocol=2))
    assert read_ratings(path) == ratings
