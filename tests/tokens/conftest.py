"""A small trained tokenizer, and texts that have gone wrong somewhere before."""

import pytest
from transformers import PreTrainedTokenizerFast

from qwenkit.tokens.tokenizer import train_tokenizer

TRAIN_TEXTS = [
    "The river ran through the old town, and the people there were proud of it.",
    "It wasn't the first time that they'd seen snow in April; they remembered 1987.",
    "def add(left, right):\n    return left + right\n\n\nprint(add(2, 3))",
    "Зимой река замерзает, und die Kinder spielen auf dem Eis. 冬になると川が凍る。",
    "I'll say it again: the price rose by 12.5 % -- not 3 %, not 4 %.",
] * 4

AWKWARD_TEXTS = {
    "one letter": "a",
    "leading and trailing space": "  the river \t\n",
    "emoji with joiners": "👩‍👩‍👧‍👦 went 🏞️ there 🇫🇷",
    "chinese and japanese": "河流穿过老城。冬になると川が凍る。",
    "right to left": "النهر يجري עם הילדים",
    "decomposed accents": "cafe\u0301 u\u0308ber A\u030angstro\u0308m",
    "zero width": "ri\u200bver\u200d to\ufeffwn",
    "control characters": "a\x00b\x07c\x1b[31md",
    "carriage returns": "one\r\ntwo\rthree\n\n\n",
    "special token as text": "before <|endoftext|> between <|im_end|> after <|im_start|>",
    "only a special token": "<|endoftext|>",
    "digits": "1234567890 " * 20,
    "outside the basic plane": "𝔊𝔬𝔱𝔥𝔦𝔠 𐍈",
}


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TRAIN_TEXTS, vocab_size=400, max_length=32)


@pytest.fixture(scope="session")
def train_texts() -> list[str]:
    return TRAIN_TEXTS


@pytest.fixture(params=AWKWARD_TEXTS.values(), ids=AWKWARD_TEXTS.keys())
def awkward_text(request: pytest.FixtureRequest) -> str:
    return request.param
