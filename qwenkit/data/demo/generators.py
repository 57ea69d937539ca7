"""Small text generators, each fitted on a few dozen passages: they write the demo's machine class.

None is a language model worth the name. The words are those of the human text, in about the same shares; it
is their order that gives a generator away.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from qwenkit.data.demo.corpus import Sentence, join_words, split_words

END = "\n"  # a part of the last symbol of every sentence; no word contains it

Writer = Callable[[random.Random], Sentence]
"""Writes one new sentence. It uses only the .random() of the dice, which no Python version changes."""


@dataclass(frozen=True, kw_only=True)
class Generator:
    """One way to make text: what its rows say in the columns model and decoding, and how it is fitted."""

    model: str
    decoding: str
    fit: Callable[[list[Sentence]], Writer]


class MarkovChain:
    """Draws each symbol from those that followed the same last few symbols, or fewer of them.

    Args:
        sequences: Sentences as sequences of symbols, the last symbol of each ending in END.
        order: Length of the longest n-gram; order 2 looks at one symbol.
        temperature: Below 1 the frequent successors are preferred.
        backoff: How readily the oldest symbol of a context is dropped. The chance is this times the share of
            different ones among the successors: a context that was seen once is the least trusted.
    """

    def __init__(
        self, sequences: Iterable[Sequence[str]], *, order: int, temperature: float = 1.0, backoff: float
    ) -> None:
        self.order = order
        self.temperature = temperature
        self.backoff = backoff
        self._successors: dict[tuple[str, ...], list[str]] = {}
        for sequence in sequences:
            padded = (END,) * (order - 1) + tuple(sequence)
            for i in range(order - 1, len(padded)):
                for length in range(order):
                    self._successors.setdefault(padded[i - length : i], []).append(padded[i])
        # What to draw from after a context, and the chance to drop its oldest symbol; made when first needed,
        # since most contexts are never met.
        self._pools: dict[tuple[str, ...], tuple[list[str], float]] = {}

    def write(self, dice: random.Random) -> list[str]:
        """Draw symbols up to one that ends a sentence."""
        history = [END] * (self.order - 1)
        while True:
            symbol = self._draw(history, dice)
            if symbol.endswith(END):
                return [*history[self.order - 1 :], symbol.removesuffix(END)]
            history.append(symbol)

    def _draw(self, history: list[str], dice: random.Random) -> str:
        for length in range(self.order - 1, 0, -1):
            context = tuple(history[-length:])
            if context in self._successors:
                pool, chance_to_drop = self._pools.get(context) or self._make_pool(context)
                if dice.random() >= chance_to_drop:
                    return pool[int(dice.random() * len(pool))]
        # The temperature stops here: it would shift the word frequencies, which word TF-IDF can see.
        pool = self._successors[()]
        return pool[int(dice.random() * len(pool))]

    def _make_pool(self, context: tuple[str, ...]) -> tuple[list[str], float]:
        pool = self._successors[context]
        chance_to_drop = self.backoff * len(set(pool)) / len(pool)
        if self.temperature != 1:
            # Whole numbers: the last digit of a power may differ between machines, the draws must not.
            power = 1 / self.temperature
            pool = [symbol for symbol, count in Counter(pool).items() for _ in range(round(count**power))]
        self._pools[context] = pool, chance_to_drop
        return pool, chance_to_drop


def fit_word_chain(
    sentences: list[Sentence], *, order: int, temperature: float = 1.0, backoff: float
) -> Writer:
    sequences = map(_mark_end, sentences)
    return MarkovChain(sequences, order=order, temperature=temperature, backoff=backoff).write


def fit_character_chain(sentences: list[Sentence], *, order: int, backoff: float) -> Writer:
    """A chain of characters; it also spells words that do not exist."""
    chain = MarkovChain((_mark_end(join_words(one)) for one in sentences), order=order, backoff=backoff)
    return lambda dice: split_words("".join(chain.write(dice)))


def fit_cut_up(sentences: list[Sentence], *, shortest: int, longest: int) -> Writer:
    """Scissors and glue: pieces of a few words from anywhere, up to one that ends a sentence."""

    def write(dice: random.Random) -> Sentence:
        words: Sentence = []
        while True:
            sentence = sentences[int(dice.random() * len(sentences))]
            start = int(dice.random() * len(sentence))
            end = start + shortest + int(dice.random() * (longest - shortest + 1))
            words += sentence[start:end]
            if end >= len(sentence):
                return words

    return write


GENERATORS = (
    Generator(model="bigram", decoding="sampling", fit=partial(fit_word_chain, order=2, backoff=0.4)),
    Generator(model="trigram", decoding="sampling", fit=partial(fit_word_chain, order=3, backoff=0.4)),
    Generator(
        model="trigram",
        decoding="temperature-0.7",
        fit=partial(fit_word_chain, order=3, temperature=0.7, backoff=0.4),
    ),
    Generator(model="fourgram", decoding="sampling", fit=partial(fit_word_chain, order=4, backoff=0.4)),
    Generator(
        model="characters", decoding="sampling", fit=partial(fit_character_chain, order=6, backoff=0.1)
    ),
    Generator(model="cut-up", decoding="sampling", fit=partial(fit_cut_up, shortest=3, longest=6)),
)


def _mark_end(symbols: Sequence[str]) -> list[str]:
    return [*symbols[:-1], symbols[-1] + END]
