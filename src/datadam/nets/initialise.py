"""Fresh random weights, in place and from a named generator.

A run draws thousands of networks: one module is filled again and again instead of being built anew.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from datadam.errors import InvalidInput, UnknownName
from datadam.nets.base import Network
from datadam.nets.own import OwnNetwork
from datadam.rng import carry

Fill = Callable[[Tensor, torch.Generator], Tensor]

# How a weight [out, in, ...] is filled. "default" is PyTorch's own, uniform(+-1/sqrt(fan_in)), biases too; the others'
# biases are 0.
INITS: dict[str, Fill] = {
    "default": lambda weight, generator: nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator),
    "he-normal": lambda weight, generator: nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator),
    "he-uniform": lambda weight, generator: nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=generator),
    "xavier": lambda weight, generator: nn.init.xavier_uniform_(weight, generator=generator),
    "orthogonal": lambda weight, generator: nn.init.orthogonal_(weight, generator=generator),
}
POSITION_STD = 0.02  # of position embeddings, normal whatever the init (Dosovitskiy et al., 2021)


@torch.no_grad()
def initialise(net: Network, generator: torch.Generator, init: str = "default") -> None:
    """Draw every weight of `net` anew, in parameter order; norm layers get weight 1, bias 0 and fresh statistics.

    Position embeddings are small normal numbers whatever the `init`, which is about the weights of layers.

    Arguments: `generator`, a CPU generator (`rng.stream`); `init`, a name of INITS.
    The draw is made in float32 on the CPU and then copied, so the weights are the same on any device, in any memory
    layout and, up to rounding, in any precision; what the module held before leaves no trace.
    """
    if init not in INITS:
        raise UnknownName("init", init, INITS)
    if isinstance(net, OwnNetwork):
        if init != "default":
            raise InvalidInput(f"init is {init}, and a network of a program's own draws its weights itself; leave init as it is")
        net.draw(generator)
        return
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = torch.empty(module.weight.shape, dtype=torch.float32, device="cpu")
            module.weight.copy_(carry(INITS[init](weight, generator), module.weight.device))
            if module.bias is None:
                continue
            if init == "default":
                bound = 1 / math.sqrt(weight[0].numel())  # fan_in
                bias = torch.empty(module.bias.shape, dtype=torch.float32, device="cpu")
                module.bias.copy_(carry(bias.uniform_(-bound, bound, generator=generator), module.bias.device))
            else:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            positions = torch.empty(module.weight.shape, dtype=torch.float32, device="cpu")
            module.weight.copy_(carry(positions.normal_(0, POSITION_STD, generator=generator), module.weight.device))
        elif isinstance(module, _NormBase | nn.GroupNorm | nn.LayerNorm):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            known = "Conv2d, Linear, Embedding, batch, instance, group and layer norm have one"
            raise InvalidInput(f"no rule to initialise the weights of a {type(module).__name__}; {known}")
