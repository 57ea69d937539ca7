"""torch.compile for what repeats: one decoder layer, compiled once and used by all of them."""

import warnings
from typing import Any

import torch
import torch._dynamo
from transformers.modeling_layers import GradientCheckpointingLayer

MOST_FORMS = 64


def compile_layers(model: Any, *, backend: str = "inductor") -> int:
    """Compile each decoder layer in place; names, weights and checkpoints stay as they are.

    The layers share their code, so one compilation of a minute or less serves all of them, with sizes left
    open: a step's micro-batches differ in documents and length.

    Returns:
        How many layers there are.
    """
    # The compiler looks at the gradients of all that goes into a layer, and torch warns of its own look.
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
    # All layers and models of a process share one piece of code, of which torch keeps 8 forms unless told
    # otherwise: of one document and of several, trained, merged and scored, with and without gradients.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_FORMS)
    # Under DDP torch would cut what is compiled into pieces for its buckets; a layer is better one piece.
    torch._dynamo.config.optimize_ddp = False
    # With sizes left open torch leaves numbers open too: LoRA's scaling would go into each layer as a tensor
    # on the CPU, once a projection, to be converted there by code that wants a C++ compiler of its own.
    torch._dynamo.config.specialize_float = True
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.compile(dynamic=True, backend=backend)
    return len(layers)
