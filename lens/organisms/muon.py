"""Muon in float32, batched over matrices of one shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter

__all__ = ["Muon", "orthogonalise"]

# Quintic with the steepest slope at zero that still keeps singular values near one (Jordan 2024).
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalise(stack: Tensor, steps: int = 5) -> Tensor:
    r"""Nearest semi-orthogonal matrices, roughly: `X <- aX + (bXX' + c(XX')^2) X`, `steps` times.

    stack: `[n, rows, columns]`. Singular values end at about .7 to 1.2. Source: Jordan et al. (2024).
    """
    tall = stack.shape[-2] > stack.shape[-1]
    x = stack.mT if tall else stack
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    r"""Momentum, orthogonalised: `W <- (1 - lr wd) W - .2 lr sqrt(max(rows, columns)) orthogonalise(m)`.

    The same update as `torch.optim.Muon(adjust_lr_fn="match_rms_adamw")`, which works in bfloat16 one matrix
    at a time: on a processor without bfloat16 arithmetic that costs several times the rest of a step.
    """

    def __init__(
        self, params: Iterable[Parameter], lr: float = 3e-3, momentum: float = 0.95, weight_decay: float = 0.1
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            shapes: dict[torch.Size, list[Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for shape, parameters in shapes.items():
                updates = []
                for parameter in parameters:
                    state = self.state[parameter]
                    mean = state.setdefault("momentum", torch.zeros_like(parameter))
                    gradient = parameter.grad
                    assert gradient is not None
                    mean.lerp_(gradient, 1 - momentum)
                    updates.append(gradient.lerp(mean, momentum))
                moves = orthogonalise(torch.stack(updates))
                for parameter, move in zip(parameters, moves, strict=True):
                    parameter.mul_(1 - lr * group["weight_decay"])
                    parameter.add_(move, alpha=-0.2 * lr * max(shape) ** 0.5)
