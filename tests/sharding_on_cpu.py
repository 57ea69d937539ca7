"""Real FSDP2 on CPU ranks, which accelerate offers on GPUs only: the one check that says so is lifted.

`python -m tests.sharding_on_cpu train ...` is then `python -m qwenkit train ...`.
All else is the libraries' own: torch's fully_shard, its collectives over gloo, accelerate's preparation.
"""

import os
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

LAUNCH = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
}
"""What `accelerate launch` sets from a config file for FSDP2."""


def offer_fsdp_on_cpu() -> None:
    """Take what the launcher asks for on CPU ranks too, as AcceleratorState does it for MULTI_GPU."""
    if os.environ.get("ACCELERATE_USE_FSDP") != "true":
        return
    original = AcceleratorState.__init__

    def initialize(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if self.distributed_type != DistributedType.MULTI_CPU:
            return
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        if self._mixed_precision != "no":
            fsdp_plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = initialize  # type: ignore[method-assign]


if __name__ == "__main__":
    offer_fsdp_on_cpu()
    from qwenkit.__main__ import main

    main()
