"""Random numbers of one fit: torch draws them from generators that no other fit uses."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def _find(*owners: Any, names: str) -> set[Callable[..., Any]]:
    return {getattr(o, name) for o in owners for name in names.split() if hasattr(o, name)}


#: Functions that draw random numbers and have a parameter `generator`.
_WITH_GENERATOR: Final = (
    _find(Tensor, names="bernoulli_ cauchy_ exponential_ geometric_ log_normal_ normal_ random_")
    | _find(Tensor, names="uniform_ bernoulli multinomial")
    | _find(torch, names="bernoulli binomial multinomial normal poisson rand randint randn")
    | _find(torch, names="randperm")
    # Torch passes these functions to the mode, but not the functions that they call.
    | _find(nn.init, names="kaiming_uniform_ normal_ uniform_")
)
#: Functions that draw random numbers and have no such parameter.
_WITHOUT_GENERATOR: Final = _find(
    torch, names="rand_like randint_like randn_like _standard_gamma _sample_dirichlet"
) | _find(
    *(torch, functional),
    names="dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout alpha_dropout_ "
    "feature_dropout feature_dropout_ feature_alpha_dropout feature_alpha_dropout_ "
    "native_dropout rrelu rrelu_ gumbel_softmax fractional_max_pool2d fractional_max_pool3d "
    "fractional_max_pool2d_with_indices fractional_max_pool3d_with_indices "
    "scaled_dot_product_attention multi_head_attention_forward lstm gru rnn_tanh rnn_relu",
)
_default_generators = threading.RLock()


class OwnRandomness(TorchFunctionMode):
    """Context in which torch draws from separate generators: ``with OwnRandomness(seed):``.

    It affects only the thread that enters it, and does not change torch's global generators. Fits
    in several threads therefore draw the same numbers as each of them alone. A seed gives the same
    numbers as ``torch.manual_seed(seed)``. When entered again, it continues the sequence.

    A few functions have no parameter `generator`, such as dropout. They run while the state of the
    global generator is replaced by that of this one, in one thread at a time.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self._generators: dict[torch.device, Generator] = {}

    def generator(self, device: torch.device | str = "cpu") -> Generator:
        """Return the generator of a device."""
        device = torch.device(device)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        if device not in self._generators:
            self._generators[device] = Generator(device).manual_seed(self.seed)
        return self._generators[device]

    def get_state(self) -> dict[str, Tensor]:
        """Return the state of each generator, by device."""
        return {str(device): own.get_state() for device, own in self._generators.items()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Set the states that `get_state` returned."""
        for device, tensor in state.items():
            self.generator(device).set_state(tensor)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch; if it draws, with the generator of this context."""
        kwargs = kwargs or {}
        if func not in _WITH_GENERATOR and func not in _WITHOUT_GENERATOR:
            return func(*args, **kwargs)
        device = _device_of(args, kwargs)
        if device.type == "meta" or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        own = self.generator(device)
        if func in _WITH_GENERATOR:
            return func(*args, **{**kwargs, "generator": own})
        with _as_default(own):
            return func(*args, **kwargs)


def _device_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    """Return the device on which a function draws."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            return value.device
    device = kwargs.get("device")
    return torch.get_default_device() if device is None else torch.device(device)


@contextmanager
def _as_default(own: Generator) -> Iterator[None]:
    """Use the state of `own` in torch's global generator of its device; restore that at the end."""
    if own.device.type == "cuda":
        default = torch.cuda.default_generators[own.device.index]
    else:
        default = torch.default_generator
    with _default_generators:
        before = default.get_state()
        default.set_state(own.get_state())
        try:
            yield
        finally:
            own.set_state(default.get_state())
            default.set_state(before)
