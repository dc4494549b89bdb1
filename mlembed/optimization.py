"""Optimizers, their parameter groups, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    embedding: nn.Parameter | None = None,
    embedding_lr: float | None = None,
) -> list[dict[str, object]]:
    """Three groups: matrices, which decay; biases and normalization weights, which do not; the token embeddings.

    Parameters that are frozen are in none.

    Args:
        model: whose parameters.
        lr: peak learning rate.
        weight_decay: of matrices, the embeddings among them.
        embedding: the table of token embeddings.
        embedding_lr: its peak learning rate; None: `lr`.
    """
    trained = [one for one in model.parameters() if one.requires_grad and one is not embedding]
    groups = [
        ([one for one in trained if one.ndim >= 2], lr, weight_decay),
        ([one for one in trained if one.ndim < 2], lr, 0.0),
        ([embedding] if embedding is not None and embedding.requires_grad else [], embedding_lr or lr, weight_decay),
    ]
    return [
        {"params": parameters, "lr": peak_lr, "peak_lr": peak_lr, "weight_decay": decay}
        for parameters, peak_lr, decay in groups
        if parameters
    ]


# For each row of a table the step of its last gradient.
ROW_STEP = "row_step"


class RowAdamW(AdamW):
    """AdamW that, of a parameter with a sparse gradient, moves the rows of this gradient alone.

    In a table of token embeddings most rows have no gradient in a step; AdamW lets their moments decay all the same,
    and their weights follow the first moment for some ten steps more. Here a row catches up when its turn comes: its
    moments decay by the steps since the last one (its gap), and its weights make at once the way that they would have
    made in a gap as long as the last. With moments m, v and `r = beta1 / sqrt(beta2)` that is the step of AdamW
    times `1 + r + ... + r^(gap - 1)`. A row that is in every step moves as with AdamW, and so do all other parameters.

    Source: Loshchilov and Hutter (2019), Decoupled Weight Decay Regularization, https://arxiv.org/abs/1711.05101; rows
    that are left out as in `torch.optim.SparseAdam`, which does not catch up.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; see `torch.optim.AdamW`."""
        rows: list[tuple[nn.Parameter, Tensor, dict[str, Any]]] = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    rows.append((parameter, parameter.grad.coalesce(), group))
                    parameter.grad = None
        result = super().step(closure)
        for parameter, gradient, group in rows:
            self._step_rows(parameter, gradient, group)
            parameter.grad = gradient
        return result

    def _step_rows(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        if ROW_STEP not in state:
            # Also in a run that has moved all rows so far.
            state[ROW_STEP] = state["step"].expand(len(parameter)).clone()
        state["step"] += 1
        step, (beta1, beta2), lr = float(state["step"]), group["betas"], group["lr"]
        row_N, gradient_ND = gradient.indices()[0], gradient.values()
        gap_N1 = (step - state[ROW_STEP][row_N]).unsqueeze(1)
        state[ROW_STEP][row_N] = step
        first_ND = (state["exp_avg"][row_N] * beta1**gap_N1).add_(gradient_ND, alpha=1 - beta1)
        second_ND = (state["exp_avg_sq"][row_N] * beta2**gap_N1).addcmul_(gradient_ND, gradient_ND, value=1 - beta2)
        state["exp_avg"][row_N], state["exp_avg_sq"][row_N] = first_ND, second_ND
        # Where beta2 is so small that the way would grow without end, it is as long as the gap.
        ratio = min(beta1 / math.sqrt(beta2), 1 - 1e-4)
        way_N1 = (1 - ratio**gap_N1) / (1 - ratio)
        scale_ND = second_ND.sqrt_().div_(math.sqrt(1 - beta2**step)).add_(group["eps"])
        weight_ND = parameter[row_N] * (1 - lr * group["weight_decay"] * gap_N1)
        parameter[row_N] = weight_ND.addcdiv_(first_ND * way_N1, scale_ND, value=-lr / (1 - beta1**step))


def clip_gradients(parameters: Sequence[nn.Parameter], *, max_norm: float) -> Tensor:
    """Scale gradients, sparse ones too, so that the norm of all together is `max_norm` at most; returns what it was."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                # Rows that stand there twice would count as two.
                parameter.grad = parameter.grad.coalesce()
            gradients.append(parameter.grad.values() if parameter.grad.is_sparse else parameter.grad)
    norm = torch.nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def make_optimizer(
    model: nn.Module,
    *,
    kind: str,
    lr: float,
    weight_decay: float,
    embedding: nn.Parameter | None = None,
    embedding_lr: float | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    momentum: float = 0.0,
) -> Optimizer:
    """AdamW (see `RowAdamW`) or SGD over what is trained of a model.

    Args:
        model: frozen parameters are left out.
        kind: `adamw` (takes `betas`, `eps`) or `sgd` (takes `momentum`).
        lr: peak learning rate.
        weight_decay: of matrices.
        embedding: the table of token embeddings.
        embedding_lr: its peak learning rate; None: `lr`.
        betas: of AdamW, by how much the averages of gradients and of their squares stay at each step.
        eps: of AdamW, what is added to the root of the average of squares.
        momentum: of SGD, by how much the last steps go on.
    """
    groups = parameter_groups(model, lr=lr, weight_decay=weight_decay, embedding=embedding, embedding_lr=embedding_lr)
    if kind == "adamw":
        return RowAdamW(groups, betas=betas, eps=eps, fused=True)
    return SGD(groups, momentum=momentum)


def add_learner(optimizer: Optimizer, model: nn.Module, *, lr: float, weight_decay: float) -> None:
    """Let an optimizer train another model beside the one that it was made for.

    Args:
        optimizer: of `make_optimizer`.
        model: frozen parameters are left out.
        lr: its peak learning rate.
        weight_decay: of its matrices.
    """
    for group in parameter_groups(model, lr=lr, weight_decay=weight_decay):
        optimizer.add_param_group(group)


def set_learning_rate(optimizer: Optimizer, *, factor: float) -> float:
    """Give each group its peak learning rate times a factor; returns the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])


def schedule_factor(step: int, *, total_steps: int, warmup: float, schedule: str) -> float:
    """The share of the peak learning rate at a step.

    Args:
        step: steps that are done, from 0.
        total_steps: steps of the whole run.
        warmup: share of all steps in which the rate rises linearly from 0.
        schedule: `linear` or `cosine` to 0 at the end, or `constant`.
    """
    warmup_steps = math.ceil(warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    share = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 1.0 - share if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * share))


def optimizer_tensors(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state, each tensor under `<state>|<name of the parameter>`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    tensors: dict[str, Tensor] = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if value is not None:
                tensors[f"{key}|{names[parameter]}"] = torch.as_tensor(value).detach().cpu().contiguous()
    return tensors


def load_optimizer_tensors(optimizer: Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put the state back; learning rates and other settings stay those of the optimizer.

    A parameter without a state (it got no gradient yet) begins with one of zeros, as in a new optimizer.

    Raises:
        ValueError: when the state is of another optimizer or of other parameters; nothing was put back.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    kinds = {"step", "exp_avg", "exp_avg_sq"} if isinstance(optimizer, AdamW) else {"momentum_buffer"}
    states: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("|")
        states.setdefault(name, {})[kind] = tensor
    for name, state in states.items():
        if name not in trained:
            raise ValueError(f"the optimizer's state is of other parameters: {name}")
        if state.keys() - {ROW_STEP} != kinds:
            raise ValueError(f"the optimizer's state is not of {type(optimizer).__name__}: {', '.join(sorted(state))}")
        shape = trained[name].shape
        special = {"step": torch.Size(), ROW_STEP: shape[:1]}
        if any(tensor.shape != special.get(kind, shape) for kind, tensor in state.items()):
            raise ValueError(f"the optimizer's state is of other parameters: {name} has another shape")
    for name, state in states.items():
        # The step counter of AdamW stays where it is: the fused kernel wants it beside the parameter.
        optimizer.state[trained[name]] = {kind: tensor.to(trained[name].device) for kind, tensor in state.items()}
