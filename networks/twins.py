"""A network beside itself, with other weights in some of its modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def nested(network: nn.Module) -> Iterator[nn.Module]:
    """A network and all modules in it, as ``modules()`` has them, quicker; what is shared comes again."""
    yield network
    for child in network._modules.values():
        if child is not None:
            yield from nested(child)


def with_weights(network: Network, weights: Mapping[nn.Module, nn.Parameter]) -> Network:
    """A network that computes with other weights, and shares all else, hooks included, with the one it is made of.

    That one is left as it is, so another thread may use it meanwhile. What a module holds outside its registered
    modules, such as a bound method, computes with the weights of before.

    Args:
        network: any.
        weights: of modules in it, what stands in place of their ``weight``.
    """
    return _twin(network, weights, {})


def _twin(module: Network, weights: Mapping[nn.Module, nn.Parameter], made: dict[nn.Module, nn.Module]) -> Network:
    if not module._modules and module not in weights:
        return module
    if module not in made:
        twin = made[module] = object.__new__(type(module))
        twin.__dict__.update(module.__dict__)
        children = module._modules.items()
        twin.__dict__["_modules"] = {name: child and _twin(child, weights, made) for name, child in children}
        if module in weights:
            twin.__dict__["_parameters"] = module._parameters | {"weight": weights[module]}
    return made[module]  # type: ignore[return-value]
