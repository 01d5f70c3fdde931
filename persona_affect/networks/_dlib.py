"""A strict reader of networks saved by dlib, for the layers that its face networks have.

dlib writes the loss, a version number for every layer from the last to the first, the input layer,
and then the data of the layers from the first to the last. An integer is a length byte (its top
bit is the sign) and little-endian bytes; a floating-point number is a mantissa and an exponent of
two; a tensor is its sizes and raw float32 values. The file contains no code.

References
----------
dlib's documentation of its serialisation, http://dlib.net/serialization.html, and of its deep
learning tools, http://dlib.net/ml.html.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ldexp, prod

import numpy as np
import numpy.typing as npt

from persona_affect.exceptions import WeightsError


def _nothing() -> npt.NDArray[np.float32]:
    return np.empty(0, np.float32)


@dataclass(frozen=True)
class DlibLayer:
    """One layer: its kind, its settings, and its weights if it has any.

    Attributes
    ----------
    kind : {"con", "affine", "relu", "max_pool", "avg_pool", "add_prev", "fc"}
    settings : tuple of int
        Of ``con``, ``max_pool`` and ``avg_pool``: kernel height and width (0 is all), strides,
        paddings, each vertical first.
    weight, bias : ndarray of float32
        Of ``con``: (out, in, height, width) and (out,). Of ``fc``: (in, out, 1, 1), no bias. Of
        ``affine``: the factors and the offsets, one a channel. Empty for layers without weights.
    """

    kind: str
    settings: tuple[int, ...] = ()
    weight: npt.NDArray[np.float32] = field(default_factory=_nothing)
    bias: npt.NDArray[np.float32] = field(default_factory=_nothing)


@dataclass(frozen=True)
class DlibNetwork:
    """A metric-learning network on RGB images of one size.

    Attributes
    ----------
    threshold : float
        In training, embeddings of the same person had to be closer than this distance.
    means : tuple of float
        Values that are subtracted from red, green and blue before dividing by 256.
    input_size : tuple of int
        Height and width, in pixels.
    nesting : tuple of int
        Version numbers from the last layer to the first: 2 for a layer, 1 for a tag or a skip.
    layers : tuple of DlibLayer
        First to last.
    """

    threshold: float
    means: tuple[float, float, float]
    input_size: tuple[int, int]
    nesting: tuple[int, ...]
    layers: tuple[DlibLayer, ...]


def read_dlib_network(data: bytes) -> DlibNetwork:
    """Read a metric network, as dlib's ``serialize`` wrote it.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    DlibNetwork

    Raises
    ------
    WeightsError
        If the data are truncated, too long, or not such a network.
    """
    reader = _Reader(data)
    reader.expect(reader.integer(), 1, "version of the loss layer")
    reader.expect(reader.text(), "loss_metric_2", "loss")
    reader.number()  # the margin, which matters in training only
    threshold = reader.number()
    nesting = [reader.integer()]
    while nesting[-1] in (1, 2):
        nesting.append(reader.integer())
    reader.expect(nesting[-1], 3, "version of the first layer")
    reader.expect(reader.text(), "input_rgb_image_sized", "input layer")
    means = reader.number(), reader.number(), reader.number()
    input_size = reader.integer(), reader.integer()
    layers = []
    for n in range(sum(version != 1 for version in nesting)):
        layers.append(reader.layer())
        for _ in range(3):
            reader.flag()
        for _ in range(3):
            reader.tensor()  # working memory of the training
        if n == 0:
            reader.integer()  # number of samples for each image
    reader.end()
    return DlibNetwork(threshold, means, input_size, tuple(nesting), tuple(layers))


class _Reader:
    """Reads dlib's basic types, and checks each against the end of the data."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def fail(self, what: str) -> WeightsError:
        return WeightsError(
            f"Not a network of dlib's that we can read: byte {self.position}, {what}."
        )

    def expect(self, found: object, expected: object, what: str) -> None:
        if found != expected:
            raise self.fail(f"{what} is {found!r} instead of {expected!r}")

    def take(self, n_bytes: int) -> bytes:
        end = self.position + n_bytes
        if end > len(self.data):
            raise self.fail(
                f"{n_bytes} more bytes were expected, but the file has only {len(self.data)}"
            )
        taken, self.position = self.data[self.position : end], end
        return taken

    def end(self) -> None:
        if self.position != len(self.data):
            raise self.fail(f"{len(self.data) - self.position} bytes follow the network")

    def signed(self) -> int:
        head = self.take(1)[0]
        size = head & 0x7F
        if not 1 <= size <= 8:
            raise self.fail(f"an integer of {size} bytes")
        value = int.from_bytes(self.take(size), "little")
        return -value if head & 0x80 else value

    def integer(self) -> int:
        value = self.signed()
        if value < 0:
            raise self.fail(f"a size or version of {value}")
        return value

    def number(self) -> float:
        mantissa, exponent = self.signed(), self.signed()
        # dlib marks infinities and NaN by exponents of 32000 and more; doubles end at 1023.
        if abs(exponent) > 1023:
            raise self.fail(f"a floating-point number with the exponent {exponent}")
        return ldexp(mantissa, exponent)

    def text(self) -> str:
        size = self.integer()
        if size > 64:
            raise self.fail(f"a name of {size} characters")
        return self.take(size).decode("ascii", "replace")

    def flag(self) -> bool:
        byte = self.take(1)
        if byte not in (b"0", b"1"):
            raise self.fail(f"a truth value of {byte!r}")
        return byte == b"1"

    def sizes(self) -> tuple[int, int, int, int]:
        return self.integer(), self.integer(), self.integer(), self.integer()

    def alias(self) -> tuple[int, int, int, int]:
        """Read the shape of a view of part of a tensor."""
        self.expect(self.integer(), 1, "version of a view")
        return self.sizes()

    def tensor(self) -> npt.NDArray[np.float32]:
        self.expect(self.integer(), 2, "version of a tensor")
        values = np.frombuffer(self.take(4 * prod(self.sizes())), dtype="<f4")
        if not np.isfinite(values).all():
            raise self.fail("a tensor with infinite values or NaN")
        return values

    def views(
        self, params: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Read the shapes of the two views that make up a tensor, and split it into them."""
        first, second = self.alias(), self.alias()
        self.expect(prod(first) + prod(second), params.size, "size of both views of a tensor")
        cut = prod(first)
        return params[:cut].reshape(first), params[cut:].reshape(second)

    def layer(self) -> DlibLayer:
        name = self.text()
        if name not in _LAYERS:
            raise self.fail(f"layer {name!r}, which is not one of {list(_LAYERS)}")
        return _LAYERS[name](self)

    def con(self) -> DlibLayer:
        params, n_filters = self.tensor(), self.integer()
        settings = tuple(self.integer() for _ in range(6))
        weight, bias = self.views(params)
        self.rates()
        self.expect((len(weight), bias.size), (n_filters, n_filters), "number of filters")
        return DlibLayer("con", settings, weight, bias.reshape(-1))

    def affine(self) -> DlibLayer:
        factor, offset = self.views(self.tensor())
        self.expect(factor.size, offset.size, "number of factors")
        self.expect(self.integer(), 0, "mode of an affine layer (0: by channel)")
        return DlibLayer("affine", (), factor.reshape(-1), offset.reshape(-1))

    def fc(self) -> DlibLayer:
        n_out, n_in = self.integer(), self.integer()
        weight, _ = self.views(self.tensor())
        self.expect(weight.shape, (n_in, n_out, 1, 1), "shape of a linear layer")
        self.expect(self.integer(), 1, "mode of a linear layer (1: no bias)")
        self.rates()
        return DlibLayer("fc", (), weight)

    def max_pool(self) -> DlibLayer:
        return DlibLayer("max_pool", tuple(self.integer() for _ in range(6)))

    def avg_pool(self) -> DlibLayer:
        return DlibLayer("avg_pool", tuple(self.integer() for _ in range(6)))

    def relu(self) -> DlibLayer:
        return DlibLayer("relu")

    def add_prev(self) -> DlibLayer:
        return DlibLayer("add_prev")

    def rates(self) -> None:
        for _ in range(4):
            self.number()  # learning rates and weight decays of weights and biases


_LAYERS: dict[str, Callable[[_Reader], DlibLayer]] = {
    "con_4": _Reader.con,
    "affine_": _Reader.affine,
    "relu_": _Reader.relu,
    "max_pool_2": _Reader.max_pool,
    "avg_pool_2": _Reader.avg_pool,
    "add_prev_": _Reader.add_prev,
    "fc_2": _Reader.fc,
}
