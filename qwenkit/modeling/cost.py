"""What a model costs to train, from its shape alone: parameters and floating point operations.

Nothing is loaded, no library is asked. Tests hold the formulas against the real model on the meta device.
Memory is in memory.py.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qwenkit.errors import ConfigError

# Decoders whose layer is seven projections and two norms, as the formulas below have it.
KNOWN_TYPES = ("qwen3", "qwen2", "llama", "mistral")

_FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
_LAYER_NORMS = ("input_layernorm", "post_attention_layernorm")
_HEAD_NORMS = ("q_norm", "k_norm")


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a decoder with a classification head, under the names of its config.json.

    Attributes:
        has_qk_norm: Queries and keys are normalised head by head (Qwen3).
        has_qkv_bias: The q, k and v projections have biases (Qwen2).
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    num_labels: int = 2
    has_qk_norm: bool = True
    has_qkv_bias: bool = False

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_size(self) -> int:
        """Width of all key heads together; the values' too."""
        return self.num_key_value_heads * self.head_dim


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained, and how.

    Attributes:
        lora_r: Rank of the adapter; None trains all weights.
        target_modules: Projections with an adapter, by name or by the end of it.
        modules_to_save: Modules trained whole beside the adapter; the head always is.
        checkpointing: Activations are computed again in the backward pass.
    """

    lora_r: int | None
    target_modules: Sequence[str] = ()
    modules_to_save: Sequence[str] = ()
    use_dora: bool = False
    checkpointing: bool = False


def read_shape(config: Any, *, num_labels: int) -> ModelShape:
    """Take the sizes from a transformers config, without building the model.

    Raises:
        ConfigError: It is of a type that these formulas do not know.
    """
    if config.model_type not in KNOWN_TYPES:
        raise ConfigError(
            f"no plan for models of type {config.model_type}: the formulas know {', '.join(KNOWN_TYPES)}. "
            "Training may work all the same: try it with --max-steps 1."
        )
    heads = config.num_attention_heads
    return ModelShape(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=heads,
        num_key_value_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocab_size=config.vocab_size,
        num_labels=num_labels,
        has_qk_norm=config.model_type == "qwen3",
        has_qkv_bias=config.model_type == "qwen2",
    )


def list_projections(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Give (inputs, outputs) of each linear layer in one decoder block, by name."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    return {
        "q_proj": (hidden, shape.query_size),
        "k_proj": (hidden, shape.key_size),
        "v_proj": (hidden, shape.key_size),
        "o_proj": (shape.query_size, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }


def find_targets(shape: ModelShape, training: Training) -> dict[str, tuple[int, int]]:
    """Give (inputs, outputs) of each projection that gets an adapter, be it in some layers only."""
    wanted = {_last_part(name) for name in training.target_modules}
    return {name: sizes for name, sizes in list_projections(shape).items() if name in wanted}


def count_linear(shape: ModelShape) -> int:
    """Count the weights of all projections: layers x sum of inputs x outputs. The head is not among them."""
    sizes = list_projections(shape).values()
    return shape.num_hidden_layers * sum(inputs * outputs for inputs, outputs in sizes)


def count_head(shape: ModelShape) -> int:
    """Count the score head: hidden x classes, no bias."""
    return shape.hidden_size * shape.num_labels


def count_parameters(shape: ModelShape) -> dict[str, int]:
    """Count the classifier's weights by part; their sum is what num_parameters() says.

    embedding = vocabulary x hidden; linear = see count_linear; a layer's norms are 2 x hidden, with
    normalised queries and keys 2 x head_dim more; one more norm of hidden follows the last layer.
    """
    per_layer = 2 * shape.hidden_size
    per_layer += 2 * shape.head_dim if shape.has_qk_norm else 0
    per_layer += shape.query_size + 2 * shape.key_size if shape.has_qkv_bias else 0
    return {
        "embedding": shape.vocab_size * shape.hidden_size,
        "linear": count_linear(shape),
        "norms and biases": shape.num_hidden_layers * per_layer + shape.hidden_size,
        "head": count_head(shape),
    }


def count_adapter(shape: ModelShape, training: Training) -> int:
    """Count LoRA's weights: r x (inputs + outputs) for each target; DoRA adds one magnitude an output."""
    if training.lora_r is None:
        return 0
    ends = tuple(f".{name}" for name in training.target_modules)
    sizes = list_projections(shape)
    targets = [sizes[_last_part(name)] for name in _name_projections(shape) if name.endswith(ends)]
    magnitudes = sum(outputs for _, outputs in targets) if training.use_dora else 0
    return sum(training.lora_r * (inputs + outputs) for inputs, outputs in targets) + magnitudes


def count_trained_whole(shape: ModelShape, training: Training) -> int:
    """Count the weights of modules_to_save, of which an adapter keeps a trained copy.

    PEFT finds them by the end of their names: "norm" means every norm of the model.
    """
    hidden, projections = shape.hidden_size, list_projections(shape)
    sizes = {name: math.prod(projections[_last_part(name)]) for name in _name_projections(shape)}
    for layer in range(shape.num_hidden_layers):
        sizes |= {f"model.layers.{layer}.{norm}": hidden for norm in _LAYER_NORMS}
        if shape.has_qk_norm:
            sizes |= {f"model.layers.{layer}.self_attn.{norm}": shape.head_dim for norm in _HEAD_NORMS}
    sizes |= {"model.embed_tokens": shape.vocab_size * hidden, "model.norm": hidden}
    ends = tuple(training.modules_to_save)
    return sum(size for name, size in sizes.items() if name.endswith(ends)) if ends else 0


def _name_projections(shape: ModelShape) -> list[str]:
    """List the projections of all layers by the names that they have in the model."""
    return [
        f"model.layers.{layer}.{'mlp' if name in _FEED_FORWARD else 'self_attn'}.{name}"
        for layer in range(shape.num_hidden_layers)
        for name in list_projections(shape)
    ]


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]


def count_trainable(shape: ModelShape, training: Training) -> int:
    """Count what is trained: adapter, head and modules_to_save, or everything."""
    if training.lora_r is None:
        return sum(count_parameters(shape).values())
    return count_adapter(shape, training) + count_head(shape) + count_trained_whole(shape, training)


def count_flops(shape: ModelShape, training: Training, *, length: float) -> Mapping[str, float]:
    """Count floating point operations for each token of a document; a multiplication with addition is two.

    forward = 2 x (linear + adapter + head) + attention, where attention = 2 x layers x query size x length:
    two products (queries with keys, weights with values) of 2 x query size for each token before this one,
    half of the length on average, since the attention is causal.

    backward = 2 x linear for the gradient of the activations (4 x when the weights are trained as well),
    4 x (adapter + head) and 2 x attention. Checkpointing adds one more forward of the layers.

    Left out: norms and other elementwise work, unpacking of quantized weights (no matrix products), and that
    the gradient stops at the first layer's inputs (0.4 % of a LoRA step with 28 layers).

    Args:
        length: Tokens of the document; of many, the mean over tokens of the length of their document.

    Returns:
        "forward", and "step" for forward and backward together.
    """
    linear, small = count_linear(shape), count_adapter(shape, training) + count_head(shape)
    attention = 2.0 * shape.num_hidden_layers * shape.query_size * length
    forward = 2 * (linear + small) + attention
    backward = (2 if training.lora_r is not None else 4) * linear + 4 * small + 2 * attention
    again = forward - 2 * count_head(shape) if training.checkpointing else 0
    return {"forward": forward, "step": forward + backward + again}
