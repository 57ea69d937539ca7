"""What accelerate's launcher may ask of training: whole models (DDP) or weights spread by FSDP2.

It asks by environment variables, which `accelerate launch` sets from its config file.
"""

import os

from qwenkit.errors import ConfigError

# Engines that step or cut by rules of their own, under which a step's loss would not be that of one process.
FOREIGN_ENGINES = ("DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")
# What FSDP can be asked for beside, and what does the same here.
FOREIGN_OPTIONS = {
    "OFFLOAD_PARAMS": "set fsdp_offload_params to false; weights on more GPUs take less of each",
    "ACTIVATION_CHECKPOINTING": "set it to false there, and training.gradient_checkpointing=true here",
    "IGNORED_MODULES": "leave it out; all weights are spread",
}
EXAMPLE = "configs/launch/fsdp.yaml shows a file that works"


def wants_sharding() -> bool:
    """Tell whether the launcher asks for FSDP2.

    Raises:
        ConfigError: It asks for another engine, for FSDP 1, or for what qwenkit does not do under FSDP.
    """
    for name in FOREIGN_ENGINES:
        if _is_set(f"ACCELERATE_USE_{name}"):
            raise ConfigError(
                f"the launcher asks for {name}, with which qwenkit does not train: launch with torchrun, or "
                "with accelerate and configs/launch/accelerate.yaml (a whole model on each GPU) or "
                "configs/launch/fsdp.yaml (a model spread over them)."
            )
    if not _is_set("ACCELERATE_USE_FSDP"):
        return False
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise ConfigError(
            f"the launcher asks for FSDP version {version}, qwenkit trains with version 2: set "
            f"fsdp_version: 2 in the fsdp_config of the launcher's file; {EXAMPLE}."
        )
    for name, advice in FOREIGN_OPTIONS.items():
        if _is_set(f"FSDP_{name}"):
            raise ConfigError(
                f"the launcher asks for fsdp_{name.lower()}, with which qwenkit does not train: {advice}; "
                f"{EXAMPLE}."
            )
    return True


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() not in ("", "false", "0", "no")
