"""The processes that torchrun or `accelerate launch` started for one command, and how they agree.

Rank 0 is the main one: it prints, and it alone writes what lies under the root. The others wait for what it
makes once, and take part where work is shared. A lone process is rank 0 of one: nothing here does anything
then, and torch is not imported.

Waiting goes through the launcher's key-value store and not through a collective: that has a time limit, which
preparing a large data set exceeds, and it hears neither a signal nor that the main rank has failed.
"""

import atexit
import heapq
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from qwenkit.errors import QwenkitError

Answer = TypeVar("Answer")

LAUNCHER_NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
POLL_SECONDS = 0.1
# A rank that dies is noticed at once by its closed connection; this is for one that is only slow.
GATHER_TIMEOUT = timedelta(days=1)
LOST_PEER_WORDS = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Connection refused",
    "Broken pipe",
)
_FAILURES, _EXIT_CODE = "failures", "exit_code"

_works_alone: ContextVar[bool] = ContextVar("works_alone", default=False)


class OtherRankFailed(QwenkitError):
    """Another rank failed and has said why; this one leaves with the same exit code and says nothing."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("another rank failed")
        self.exit_code = exit_code


@dataclass(frozen=True)
class Ranks:
    """How many processes work together, and which one this is.

    Every method is called by all ranks in the same order, but for `announce` and `wait_for`.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def meet(self) -> None:
        """Connect the ranks, so that a failure of one reaches the others from now on."""
        if self.world_size > 1:
            _connect()

    def decide(self, compute: Callable[[], Answer]) -> Answer:
        """Let the main rank compute something and give its answer to all.

        Args:
            compute: Gives what JSON can hold. It may itself score: it runs as in a lone process.

        Raises:
            OtherRankFailed: The main rank raised.
        """
        if self.world_size == 1:
            return compute()
        link = _connect()
        key = f"decision {next(link.turns)}"
        if not self.is_main:
            return json.loads(link.wait_for(key))
        with alone():
            answer = compute()
        link.store.set(key, json.dumps(answer))
        return answer

    def lead(self, work: Callable[[], None]) -> None:
        """Let the main rank do something once, while the others wait until it is done."""
        self.decide(work)

    def announce(self, event: str) -> None:
        """Tell those that wait for an event that it has come; the main rank goes on at once."""
        if self.world_size > 1:
            _connect().store.set(event, "")

    def wait_for(self, event: str) -> None:
        """Wait until the main rank has announced an event, however long that takes."""
        if self.world_size > 1:
            _connect().wait_for(event)

    def gather(self, part: Any) -> list[Any]:
        """Give every rank the parts of all, in the order of their ranks."""
        if self.world_size == 1:
            return [part]
        import torch.distributed

        parts = [None] * self.world_size
        torch.distributed.all_gather_object(parts, part, group=_connect().group)
        return parts

    def hand_out(self, read: Callable[[], Answer]) -> Answer:
        """Let the main rank read something, of any size, and give it to all."""
        if self.world_size == 1:
            return read()
        import torch.distributed

        # Not by gather, where each rank would take as much room as the main one's part for every rank.
        shared = [read() if self.is_main else None]
        torch.distributed.broadcast_object_list(shared, src=0, group=_connect().group)
        return shared[0]  # type: ignore[return-value]

    def find_highest(self, number: int) -> int:
        """Give every rank the highest of their numbers, without waiting for a GPU."""
        if self.world_size == 1:
            return number
        import torch

        shared = torch.tensor(number)
        torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MAX, group=_connect().group)
        return int(shared.item())

    def claim_failure(self, exit_code: int) -> int | None:
        """Ask to be the one that tells of a failure, which has one cause and reaches all ranks.

        Returns:
            None where it is this rank's to tell, else the exit code of the one that told.
        """
        if self.world_size == 1:
            return None
        # Leaving in good order would wait for ranks that may be gone.
        atexit.unregister(_leave)
        try:
            store = _connect().store
            if store.add(_FAILURES, 1) == 1:
                store.set(_EXIT_CODE, str(exit_code))
                return None
            return int(store.get(_EXIT_CODE))
        except RuntimeError:
            # The store went down with the rank that held it.
            return None if self.is_main else exit_code


ALONE = Ranks()


def find_ranks() -> Ranks:
    """Read from the environment what the launcher started; a lone process without one."""
    if _works_alone.get() or not all(name in os.environ for name in LAUNCHER_NAMES):
        return ALONE
    world_size = int(os.environ["WORLD_SIZE"])
    return Ranks(int(os.environ["RANK"]), world_size) if world_size > 1 else ALONE


def deal_evenly(sizes: Sequence[int], world_size: int) -> list[list[int]]:
    """Deal things to ranks so that the sums of sizes are about even: the largest first, to who has least.

    Returns:
        For each rank the positions dealt to it, in the order given; every rank comes to the same.
    """
    hands: list[list[int]] = [[] for _ in range(world_size)]
    loads = [(0, rank) for rank in range(world_size)]
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        load, rank = loads[0]
        hands[rank].append(index)
        heapq.heapreplace(loads, (load + sizes[index], rank))
    return [sorted(hand) for hand in hands]


@contextmanager
def alone() -> Iterator[None]:
    """Make the block work as a lone process would: the other ranks do not run it."""
    token = _works_alone.set(True)
    try:
        yield
    finally:
        _works_alone.reset(token)


def is_lost_peer(error: BaseException) -> bool:
    """Tell whether an error is that another rank vanished in the middle of an exchange."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in LOST_PEER_WORDS)


@dataclass(frozen=True)
class _Link:
    """What connects the ranks.

    Attributes:
        store: The launcher's key-value store.
        group: Exchanges what lies in main memory, also where gradients go from GPU to GPU.
        turns: Numbers the decisions, alike on all ranks.
    """

    store: Any
    group: Any
    turns: Iterator[int]

    def wait_for(self, key: str) -> bytes:
        while not self.store.check([key]):
            if self.store.check([_EXIT_CODE]):
                raise OtherRankFailed(int(self.store.get(_EXIT_CODE)))
            time.sleep(POLL_SECONDS)
        return bytes(self.store.get(key))


def _leave() -> None:
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@cache
def _connect() -> _Link:
    import torch
    from accelerate import PartialState
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    # For FSDP transformers would read weights on the main rank only, and the others would get theirs when
    # training begins; but a model that is not trained, or not yet, is scored on all of them.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    # As the Trainer does it later, which then finds it done.
    PartialState(cpu=not torch.cuda.is_available())
    atexit.register(_leave)
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False, wait_for_workers=False)
    # The launcher keeps its store when it starts the ranks anew after a failure.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return _Link(
        store=PrefixStore(f"qwenkit-{attempt}", store),
        group=torch.distributed.new_group(backend="gloo", timeout=GATHER_TIMEOUT),
        turns=itertools.count(),
    )
