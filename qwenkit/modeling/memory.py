"""How much memory training takes on its device, part by part, from the model's shape alone.

What a forward pass keeps for the backward pass is counted tensor by tensor, as transformers, PEFT and
autocast leave them. Tests hold the counts against the tensors that autograd really saves, and the sum against
the peak of torch's CPU allocator.
"""

from dataclasses import dataclass
from typing import Literal

from qwenkit.modeling.cost import (
    ModelShape,
    Training,
    count_linear,
    count_parameters,
    count_trainable,
    find_targets,
)

FLOAT32 = 4
# The driver's context and the kernels of the libraries; nothing of ours. Seen between 0.4 and 0.7 GiB.
CUDA_CONTEXT_BYTES = 600 * 2**20
# Gradients of a layer's widest activations while its backward runs, for each inner unit: two in float32 or
# three in bfloat16, and one more where dropout makes a copy.
WORKING_BYTES = {FLOAT32: 8, 2: 6}
WORKING_BYTES_WITH_DROPOUT = {FLOAT32: 12, 2: 8}

# Bytes of state for each trained weight.
OPTIMIZER_BYTES = {
    "adamw_torch_fused": 8,
    "adamw_torch": 8,
    "adamw_8bit": 2,
    "paged_adamw_8bit": 2,
    "paged_adamw_32bit": 8,
    "adafactor": 0,
    "sgd": 0,
}

# Projections that read the same tensor; o reads the attention's output, which is kept for the attention.
_SHARED_INPUTS = {
    "q_proj": "attention",
    "k_proj": "attention",
    "v_proj": "attention",
    "gate_proj": "feed-forward",
    "up_proj": "feed-forward",
    "down_proj": "down",
}

Method = Literal["none", "int8", "nf4", "fp4"]


@dataclass(frozen=True, kw_only=True)
class Storage:
    """In what precision things are held.

    Attributes:
        method: How the base's projections are quantized.
        weights: Bytes of each weight that is not.
        computes_in_bf16: The forward runs in bfloat16, else in float32.
        lora_dropout: Whether the adapter's inputs pass through a dropout.
        on_gpu: There a dropout mask takes 1 byte a value, on a CPU 4.
    """

    method: Method = "none"
    double_quant: bool = True
    weights: int = FLOAT32
    computes_in_bf16: bool = False
    lora_dropout: bool = False
    on_gpu: bool = False

    @property
    def compute_bytes(self) -> int:
        """Bytes of one activation."""
        return 2 if self.computes_in_bf16 else FLOAT32

    @property
    def mask_bytes(self) -> int:
        """Bytes of one value's dropout mask."""
        if not self.lora_dropout:
            return 0
        return 1 if self.on_gpu else FLOAT32


def count_linear_bytes(storage: Storage) -> float:
    """Give the bytes of one weight of a projection.

    4 bits hold half a byte and, for each block of 64, a scale of 4 bytes; double quantization holds that
    scale in 1 byte and adds 4 bytes for 256 of them. 8 bits hold one byte; a scale a row is not counted.
    """
    if storage.method == "none":
        return storage.weights
    if storage.method == "int8":
        return 1
    return 0.5 + ((1 / 64 + 4 / (64 * 256)) if storage.double_quant else 4 / 64)


def estimate_memory(
    shape: ModelShape, training: Training, storage: Storage, *, tokens: int, optimizer: str
) -> dict[str, float]:
    """Estimate the peak of a training step by part, in bytes; the parts add up to it.

    What is trained is held in float32, with a gradient in float32 and the optimizer's state. Float32 weights
    that a bfloat16 forward multiplies by are cast, and the casts kept until the backward pass is done.

    Args:
        tokens: Of the largest micro-batch, padding included.
        optimizer: A name of OPTIMIZER_BYTES.
    """
    trainable = count_trainable(shape, training)
    is_full = training.lora_r is None
    has_float32 = is_full or (storage.method == "none" and storage.weights == FLOAT32)
    copies = 2 * count_linear(shape) if storage.computes_in_bf16 and has_float32 else 0
    return {
        "base weights": 0 if is_full else _count_base_bytes(shape, storage),
        "trained weights": trainable * FLOAT32,
        "bfloat16 copies": copies,
        "gradients": trainable * FLOAT32,
        "optimizer": trainable * OPTIMIZER_BYTES[optimizer],
        "activations": tokens * count_activation_bytes(shape, training, storage),
        "working memory": tokens * count_working_bytes(shape, storage),
        "CUDA context": CUDA_CONTEXT_BYTES if storage.on_gpu else 0,
    }


def count_activation_bytes(shape: ModelShape, training: Training, storage: Storage) -> float:
    """Count what a forward pass keeps for the backward pass, in bytes for each token, padding included.

    All layers, or with checkpointing their inputs and one layer in full; after them the inputs of the last
    norm and of the head. The first norm keeps nothing where the embedding below it is frozen.
    """
    one_layer = count_layer_bytes(shape, training, storage)
    around = storage.compute_bytes + (2 * FLOAT32 if training.lora_r is None else 0)
    layers = shape.num_hidden_layers * one_layer
    if training.checkpointing:
        residual = FLOAT32 if storage.weights == FLOAT32 else storage.compute_bytes
        layers = shape.num_hidden_layers * shape.hidden_size * residual + one_layer
    return layers + around * shape.hidden_size


def count_layer_bytes(shape: ModelShape, training: Training, storage: Storage) -> float:
    """Count what one layer keeps for the backward pass, in bytes for each token.

    - Both norms keep their input in float32 (where all is float32, that is the residual stream itself).
    - Attention keeps queries, keys, values and its output, the queries and keys before their norm in float32,
      and a few numbers for each head.
    - The feed-forward part keeps gate, up and the activation of the gate.
    - What is trained keeps its input: see the two functions below.
    """
    width, heads, key_heads = storage.compute_bytes, shape.num_attention_heads, shape.num_key_value_heads
    kept = FLOAT32 * (2 * shape.hidden_size + 2 + heads)
    kept += width * (2 * shape.query_size + 2 * shape.key_size + 3 * shape.intermediate_size)
    if shape.has_qk_norm:
        kept += FLOAT32 * (shape.query_size + shape.key_size + heads + key_heads)
    if training.lora_r is None:
        return kept + _count_inputs_of_weights(shape, storage)
    return kept + _count_inputs_of_adapters(shape, training, storage)


def count_working_bytes(shape: ModelShape, storage: Storage) -> float:
    """Estimate what a layer's backward pass holds for a moment, in bytes for each token.

    Measured, not derived: for each inner unit 6 to 8.7 bytes, up to 11.6 with dropout; where weights are held
    in bfloat16 too 4.2 to 5.7, up to 8.1 with dropout.
    """
    per_unit = WORKING_BYTES_WITH_DROPOUT if storage.lora_dropout else WORKING_BYTES
    return shape.intermediate_size * per_unit[storage.weights]


def count_checkpoint_bytes(shape: ModelShape, training: Training, *, optimizer: str) -> int:
    """Estimate a checkpoint on disk: trained weights and the optimizer's state."""
    return count_trainable(shape, training) * (FLOAT32 + OPTIMIZER_BYTES[optimizer])


def _count_base_bytes(shape: ModelShape, storage: Storage) -> float:
    """Count the frozen weights; PEFT keeps the untrained original of the head as well."""
    counts = count_parameters(shape)
    plain = (counts["embedding"] + counts["norms and biases"]) * storage.weights
    return counts["linear"] * count_linear_bytes(storage) + plain + counts["head"] * FLOAT32


def _count_inputs_of_adapters(shape: ModelShape, training: Training, storage: Storage) -> float:
    """Count the adapters' inputs and inner outputs.

    Neighbours share an input (q, k, v; gate, up), and o's is the attention's output, which is kept anyway. A
    dropout gives each its own copy, and a mask; so does a cast to bfloat16, but to o: the norms' results are
    in float32 where the weights are.
    """
    targets, width = find_targets(shape, training), storage.compute_bytes
    inner = width * (training.lora_r or 0) * len(targets)
    if storage.lora_dropout:
        copies = sum(inputs for inputs, _ in targets.values())
        return inner + copies * (width + storage.mask_bytes)
    if storage.computes_in_bf16 and storage.weights == FLOAT32:
        return inner + width * sum(inputs for name, (inputs, _) in targets.items() if name in _SHARED_INPUTS)
    shared = {group: targets[name][0] for name, group in _SHARED_INPUTS.items() if name in targets}
    return inner + width * sum(shared.values())


def _count_inputs_of_weights(shape: ModelShape, storage: Storage) -> float:
    """Count what full fine-tuning keeps more: the norms' results, and the inputs of the projections."""
    hidden, width = shape.hidden_size, storage.compute_bytes
    norms = 2 * FLOAT32 * hidden
    if shape.has_qk_norm:
        norms += width * (shape.query_size + shape.key_size)
    # The float32 residual is cast anew for each of the five projections that read it.
    readers = 5 if storage.computes_in_bf16 else 2
    return norms + width * (readers * hidden + shape.intermediate_size)
