"""qwenkit whose training waits for a signal when its fourth step ends: the runs of tests are over in no time.

`python -m tests.waiting_run train ...` is else `python -m tests.sharding_on_cpu train ...`.
"""

import time
from typing import Any

from tests.sharding_on_cpu import offer_fsdp_on_cpu

AWAITED_STEP = 4
LONGEST_WAIT_SECONDS = 60


def wait_for_signals() -> None:
    """Let a run that nobody stops go on after a minute, so that its test fails instead of hanging."""
    from qwenkit.training.stopping import StopOnRequest

    original = StopOnRequest.on_step_end

    def wait(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while (
            state.global_step == AWAITED_STEP
            and not self._request.signal_number
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        original(self, args, state, control, **kwargs)

    StopOnRequest.on_step_end = wait  # type: ignore[method-assign]


if __name__ == "__main__":
    offer_fsdp_on_cpu()
    wait_for_signals()
    from qwenkit.__main__ import main

    main()
