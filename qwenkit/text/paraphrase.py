"""Paraphrase by a language model from a local folder: an attack that no word table can stand for.

RAID's original is DIPPER (11 billion weights, a few sentences at a time with those before as context, sampled
with top-p 0.75). Which model this is, and so how strong it is, is the user's choice; it gets no context.
"""

from pathlib import Path
from typing import Any

from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.text.attacks import BY_MODEL, seed_of, split_sentences

(PARAPHRASE,) = BY_MODEL
SENTENCES_AT_ONCE = 3
TOP_P = 0.75
MOST_TOKENS = 512
# What a rewriting may grow to, in times of what it was.
MOST_GROWTH = 2
MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


class Paraphraser:
    """A text-to-text model (T5, BART) or a causal one that rewrites texts when asked to."""

    def __init__(self, model: Any, tokenizer: Any, *, prompt: str) -> None:
        """Take a loaded model.

        Args:
            prompt: What the model is asked, with {text} where the sentences go.

        Raises:
            ConfigError: The prompt has no {text}.
        """
        if "{text}" not in prompt:
            raise ConfigError("dataset.augment.paraphrase_prompt must hold {text}, the place of the text.")
        self.model = model
        self.tokenizer = tokenizer
        self.prompt = prompt

    @classmethod
    def from_folder(cls, folder: str | Path, *, prompt: str, device: Any = None) -> "Paraphraser":
        """Load a model folder of transformers; nothing is fetched, and no code of the folder is run.

        Raises:
            ArtifactError: It is no folder, or holds no such model in safetensors.
        """
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

        if not Path(folder).is_dir():
            raise ArtifactError(
                f"{folder} is no folder: dataset.augment.paraphraser names a downloaded text-to-text or "
                "causal model."
            )
        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            config = AutoConfig.from_pretrained(folder, **options)
            kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            model = kind.from_pretrained(folder, use_safetensors=True, **options)
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ArtifactError(f"{folder} cannot be loaded as a paraphraser: {reason}") from error
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(model.to(device).eval(), tokenizer, prompt=prompt)

    def rewrite(self, text: str, *, seed: int, row_id: int | str) -> str:
        """Rewrite a text three sentences at a time; white space between them stays as it was.

        The same seed and row give the same result on the same machine. Sentences too long for the model, and
        those to which it answers nothing, stay as they are.
        """
        import torch

        sentences = split_sentences(text)
        windows = [
            "".join(sentences[start : start + SENTENCES_AT_ONCE])
            for start in range(0, len(sentences), SENTENCES_AT_ONCE)
        ]
        # The caller's random state is not ours to move on.
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed_of(seed, row_id, PARAPHRASE))
            return "".join(self._rewrite_window(window) for window in windows)

    def _rewrite_window(self, window: str) -> str:
        core = window.strip()
        inputs = self.tokenizer(self._ask(core), return_tensors="pt", add_special_tokens=True)
        asked = inputs["input_ids"].shape[1]
        if not core or asked > MOST_TOKENS:
            return window
        answer = self.model.generate(
            input_ids=inputs["input_ids"].to(self.model.device),
            attention_mask=inputs["attention_mask"].to(self.model.device),
            do_sample=True,
            top_p=TOP_P,
            top_k=0,
            max_new_tokens=min(MOST_TOKENS, MOST_GROWTH * asked),
            pad_token_id=self._pad_token_id(),
        )[0]
        new = answer if self.model.config.is_encoder_decoder else answer[asked:]
        rewritten = self.tokenizer.decode(new, skip_special_tokens=True).strip()
        return window.replace(core, rewritten, 1) if rewritten else window

    def _ask(self, text: str) -> str:
        prompt = self.prompt.replace("{text}", text)
        if not getattr(self.tokenizer, "chat_template", None):
            return prompt
        messages = [{"role": "user", "content": prompt}]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _pad_token_id(self) -> int | None:
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return next((token_id for token_id in known if token_id is not None), None)
