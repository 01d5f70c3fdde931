import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_affect.exceptions import WeightsError
from persona_affect.networks._dlib import read_dlib_network

# --- a writer, by dlib's documentation, to test the reader with --------------------------------


def integer(value):
    magnitude = abs(value)
    size = max(1, (magnitude.bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + magnitude.to_bytes(size, "little")


def number(value):
    mantissa, exponent = np.frexp(value)
    return integer(int(mantissa * 2**24)) + integer(int(exponent) - 24)


def text(value):
    return integer(len(value)) + value.encode()


def tensor(values=(), shape=(0, 0, 0, 0)):
    sizes = b"".join(map(integer, shape))
    return integer(2) + sizes + np.asarray(values, dtype="<f4").tobytes()


def params(*arrays):
    values = np.concatenate([array.ravel() for array in arrays])
    return tensor(values, (values.size, 1, 1, 1))


def alias(*shape):
    return integer(1) + b"".join(map(integer, shape))


RATES = number(1) + number(1) + number(1) + number(0)
WEIGHT = np.arange(2 * 3 * 1 * 2, dtype=np.float32).reshape(2, 3, 1, 2)
BIAS = np.array([-1.5, 2.25], dtype=np.float32)
LINEAR = np.arange(6, dtype=np.float32).reshape(2, 3)
CON = (
    text("con_4")
    + params(WEIGHT, BIAS)
    + b"".join(map(integer, (2, 1, 2, 2, 1, 0, 1)))
    + alias(2, 3, 1, 2)
    + alias(1, 2, 1, 1)
    + RATES
)
AFFINE = (
    text("affine_") + params(BIAS + 3, BIAS) + alias(1, 2, 1, 1) + alias(1, 2, 1, 1) + integer(0)
)
FC = (
    text("fc_2")
    + integer(3)
    + integer(2)
    + params(LINEAR)
    + alias(2, 3, 1, 1)
    + alias(0, 0, 0, 0)
    + integer(1)
    + RATES
)
POOL = b"".join(map(integer, (2, 2, 2, 2, 0, 0)))
DETAILS = [CON, AFFINE, text("relu_"), text("max_pool_2") + POOL, text("add_prev_"), FC]


def network(details=DETAILS, nesting=(2, 2, 1, 2, 2, 2, 3), loss="loss_metric_2", tail=b""):
    layers = [detail + b"110" + 3 * tensor() for detail in details]
    layers[0] += integer(1)
    return (
        integer(1)
        + text(loss)
        + number(0.04)
        + number(0.5)
        + b"".join(map(integer, nesting))
        + text("input_rgb_image_sized")
        + number(120.5)
        + number(-117.25)
        + number(104)
        + integer(300)
        + integer(150)
        + b"".join(layers)
        + tail
    )


# --- tests ------------------------------------------------------------------------------------


def test_reads_what_was_written():
    read = read_dlib_network(network())
    assert read.threshold == 0.5
    assert read.means == (120.5, -117.25, 104)
    assert read.input_size == (300, 150)
    assert read.nesting == (2, 2, 1, 2, 2, 2, 3)
    con, affine, relu, pool, add, fc = read.layers
    assert [layer.kind for layer in read.layers] == [
        "con",
        "affine",
        "relu",
        "max_pool",
        "add_prev",
        "fc",
    ]
    assert con.settings == (1, 2, 2, 1, 0, 1)
    np.testing.assert_array_equal(con.weight, WEIGHT)
    np.testing.assert_array_equal(con.bias, BIAS)
    np.testing.assert_array_equal(affine.weight, BIAS + 3)
    np.testing.assert_array_equal(affine.bias, BIAS)
    assert pool.settings == (2, 2, 2, 2, 0, 0)
    np.testing.assert_array_equal(fc.weight[:, :, 0, 0], LINEAR)
    assert relu.weight.size == add.weight.size == fc.bias.size == 0


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_truncation_is_an_error(data):
    whole = network()
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(WeightsError, match="more bytes were expected"):
        read_dlib_network(whole[:end])


@given(st.binary(max_size=400))
def test_any_bytes_are_an_error(data):
    with pytest.raises(WeightsError):
        read_dlib_network(data)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_altered_byte_is_read_or_an_error(data):
    altered = bytearray(network())
    position = data.draw(st.integers(0, len(altered) - 1))
    altered[position] = data.draw(st.integers(0, 255))
    try:
        read = read_dlib_network(bytes(altered))
    except WeightsError:
        return
    assert all(np.isfinite(layer.weight).all() for layer in read.layers)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (network(tail=b"\0"), "1 bytes follow"),
        (network(loss="loss_mean_squared_"), "loss is 'loss_mean_squared_'"),
        (network(nesting=(2, 2, 1, 2, 2, 2, 4)), "version of the first layer is 4"),
        (network(details=[CON.replace(b"con_4", b"cont5"), *DETAILS[1:]]), "layer 'cont5'"),
        (
            network(details=[CON.replace(alias(2, 3, 1, 2), alias(2, 2, 1, 2)), *DETAILS[1:]]),
            "size",
        ),
        (network(details=[CON.replace(RATES, integer(1) + integer(32002)), *DETAILS[1:]]), "32002"),
        (network(details=[CON, AFFINE[:-1] + b"\1", *DETAILS[2:]]), "mode of an affine layer"),
        (
            network(details=[*DETAILS[:-1], FC.replace(alias(2, 3, 1, 1), alias(3, 2, 1, 1))]),
            "shape",
        ),
        (network().replace(BIAS.tobytes(), np.float32([np.nan, 1]).tobytes(), 1), "NaN"),
        (network().replace(b"110", b"1x0", 1), "truth value of b'x'"),
        (network().replace(integer(300), integer(-300)), "size or version of -300"),
        (network().replace(alias(1, 2, 1, 1), integer(7), 1), "version of a view is 7"),
        (b"\x09" + bytes(20), "integer of 9 bytes"),
        (integer(1) + integer(10**6), "name of 1000000 characters"),
        # Petabytes are refused before anything of that size is made.
        (
            network().replace(integer(14) + integer(1), integer(2**50) + integer(1), 1),
            "were expected",
        ),
    ],
)
def test_errors_say_what_is_wrong(data, message):
    with pytest.raises(WeightsError, match=message):
        read_dlib_network(data)
