"""Settings of what is trained on what: model, data set, tokenization, quantization, adapter."""

from typing import ClassVar, Literal

from pydantic import Field

from qwenkit.config.section import RUNTIME_ONLY, Flag, Name, Names, NamesByValue, Section, Seed


class TinyModel(Section):
    """Size of the random Qwen3 that `model.name: tiny` builds, for a demo or a test on a CPU."""

    section_name: ClassVar[str] = "model.tiny"

    hidden_size: int = Field(128, ge=8)
    """Width of the residual stream."""
    num_hidden_layers: int = Field(2, ge=1)
    """Transformer blocks."""
    num_attention_heads: int = Field(4, ge=1)
    """Query heads a layer."""
    num_key_value_heads: int = Field(2, ge=1)
    """Key and value heads a layer; must divide num_attention_heads."""
    head_dim: int = Field(32, ge=2, multiple_of=2)
    """Width of one head; even, because rotary embeddings turn pairs."""
    intermediate_size: int = Field(384, ge=8)
    """Width of the feed-forward layer."""
    seed: Seed = 42
    """Decides the random weights, so that the same tiny base can be built again."""


class Model(Section):
    """The base model and the classes that it learns."""

    section_name: ClassVar[str] = "model"

    name: Name = "Qwen/Qwen3-0.6B"
    """A hub id of the Qwen3 family, a folder, or `tiny` for a small random Qwen3."""
    revision: Name | None = None
    """Commit, tag or branch of the hub model; null takes the newest. The commit really used is recorded."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Precision of weights that are not quantized; auto is bfloat16 where the GPU has it, else float32."""
    num_labels: int | None = Field(None, ge=2, json_schema_extra=RUNTIME_ONLY)
    """Number of classes, only to be checked against labels; null takes their number."""
    labels: list[Name] = Field(["AI_Generated", "Human_Written"])
    """Class names as they stand in the label column, in the order of their ids: the first is id 0."""
    text_column: Name = "text"
    """Column that holds the text."""
    label_column: Name = "label"
    """Column that holds the class name."""
    label_mapping: NamesByValue = Field({})
    """Class name for each value of that column, where they differ: {0: Human_Written, 1: AI_Generated}. It
    names all values that occur; null drops a value's rows. {} takes names, or ids in the order of labels."""
    tiny: TinyModel = Field(default_factory=TinyModel)


class NearDuplicates(Section):
    """Which texts count as copies of each other, so that they are never on both sides of a split."""

    section_name: ClassVar[str] = "dataset.near_duplicates"

    enabled: Flag = True
    """Look for them; false groups exact copies and equal dataset.group_columns alone."""
    threshold: float = Field(0.3, ge=0.2, le=1)
    """Jaccard similarity of two texts' word shingles from which on they are copies; unrelated texts stay
    below 0.1. Every pair is verified. Of pairs right at 0.3, 68 % are found, at 0.4 94 %, at 0.5 99.6 %."""
    shingle_words: int = Field(2, ge=1, le=10)
    """Words of a shingle; more make small changes weigh more."""
    permutations: int = Field(128, ge=16, le=1024)
    """Length of a MinHash signature, read in bands of r numbers: a pair of similarity J is found with
    probability 1 - (1 - J^r)^(permutations / r), where r (3 at threshold 0.3) gives 2/3 or more there."""


class Augment(Section):
    """Attacked copies of training rows, of both classes alike; validation and test stay as they are."""

    section_name: ClassVar[str] = "dataset.augment"

    attacks: Names = Field([])
    """Attacks that add copies: article_deletion, homoglyph, number, insert_paragraphs, upper_lower,
    whitespace, zero_width_space, alternative_spelling, approximate_misspelling, approximate_synonym; and
    paraphrase, which wants a paraphraser."""
    share: float = Field(0.1, gt=0, le=1)
    """Copies that each attack adds, as a share of the training rows of each class."""
    paraphraser: Name | None = None
    """Folder of a downloaded text-to-text or causal model (safetensors) that paraphrases."""
    paraphrase_prompt: Name = "paraphrase: {text}"
    """What it is asked, with {text} where the text goes; a chat model gets it as the user's message."""


class Dataset(Section):
    """Where the rows come from and how they are split."""

    section_name: ClassVar[str] = "dataset"

    name: Name | None = None
    """10k, 100k, 1M, 2M, demo, raid (with dataset.path), a hub id, or a CSV, JSONL or Parquet file or folder.
    Null: use --dataset."""
    path: Name | None = None
    """For raid: RAID's own train.csv or extra.csv (or a .gz of it), from https://dataset.raid-bench.xyz."""
    revision: Name | None = None
    """Commit, tag or branch of the hub data set; null takes the newest. The commit used is recorded."""
    config_name: Name | None = None
    """Configuration (subset) of a hub data set that has several."""
    train_split: Name = "train"
    """Name of the split to train on."""
    validation_split: Name = "validation"
    """Name of the split that picks the best checkpoint and the thresholds."""
    test_split: Name = "test"
    """Name of the split that only the final scores see."""
    split_ratios: list[float] = Field([0.8, 0.1, 0.1], min_length=3, max_length=3)
    """Shares of train, validation and test where the source has no splits; they add up to 1."""
    shuffle_seed: Seed = 42
    """Decides which row goes to which split, and which rows are taken where not all are."""
    max_rows: int | None = Field(None, ge=1)
    """Most rows to take of the source, before cleaning; null takes all. Given splits share them by
    split_ratios, every domain and label keeps its share. Of raid: a balanced sample of this size, in equal
    shares of human and machine text, then of domain, generator, attack and decoding."""
    streaming: Flag = False
    """Read a hub data set only as far as max_rows wants, without downloading it: random row groups of Parquet
    files, of other formats the first rows of each split. false downloads it, and chooses among all rows."""
    max_train_samples: int | None = Field(None, ge=1)
    """Most rows of the final train split (before augment), each domain and label by its share; null: all."""
    max_validation_samples: int | None = Field(None, ge=1)
    """Most rows of the final validation split, likewise."""
    max_test_samples: int | None = Field(None, ge=1)
    """Most rows of the final test split and of each held-out one, likewise."""
    domain_column: Name | None = None
    """Column to stratify by and to report by; null takes domain_name or domain where there is one."""
    deduplicate: Flag = True
    """Drop texts that stand twice under one label, and all rows of a text that stands under several."""
    near_duplicates: NearDuplicates = Field(default_factory=NearDuplicates)
    group_columns: list[Name] | None = None
    """Columns whose equal values keep rows in one split; null takes RAID's source_id and adv_source_id where
    they are there, [] none."""
    leakage: Literal["report", "drop_from_train", "drop_from_eval", "resplit"] = "report"
    """What to do with rows whose group two given splits hold: report keeps and flags them (leaks_from_train),
    drop_from_train keeps test's, drop_from_eval keeps train's, resplit cuts all anew by split_ratios."""
    holdout: dict[Name, list[Name]] = Field({})
    """Values by column that only a test split of their own holds, test_holdout_COLUMN: {model: [gpt4]} keeps
    a generator out of train and validation, {domain_name: [poetry]} a domain."""
    normalize: Names = Field([])
    """Rules that take traits out of every text, here and wherever the model is used, in the order given:
    nfkc, strip_zero_width, fold_homoglyphs, fold_punctuation, strip_markup, collapse_whitespace, lower_case,
    mask_digits."""
    audit: Flag = Field(True, json_schema_extra=RUNTIME_ONLY)
    """Look for traits that give a class away (audit.json); `qwenkit prepare --force` does it afterwards."""
    augment: Augment = Field(default_factory=Augment)


class Tokenization(Section):
    """How text becomes token ids."""

    section_name: ClassVar[str] = "tokenization"

    max_length: int = Field(384, ge=1)
    """Most tokens of a document; the rest is cut off."""
    truncation: Flag = True
    """Cut documents at max_length; false keeps longer ones whole."""
    pad_to_multiple_of: int | None = Field(8, ge=1)
    """Round the length of each micro-batch up to a multiple of this, for tensor cores; null does not."""
    tokenizer: Name = "auto"
    """auto is the model's own (for a tiny model: train); train is a byte-level BPE made from the train split;
    else a hub id or folder."""
    vocab_size: int = Field(8192, ge=300)
    """Size of the vocabulary of a tokenizer made by `train`; 256 bytes and the special tokens included."""
    num_workers: int | None = Field(None, ge=1, json_schema_extra=RUNTIME_ONLY)
    """Processes that tokenize; null is one a CPU core."""


class Quantization(Section):
    """How the frozen base is compressed (bitsandbytes); the class head never is."""

    section_name: ClassVar[str] = "quantization"

    enabled: Flag = True
    """Quantize the base; false keeps it in model.dtype."""
    load_in_4bit: Flag = True
    """4 bits a weight: QLoRA."""
    load_in_8bit: Flag = False
    """8 bits a weight (LLM.int8); wants load_in_4bit: false."""
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    """Code book of the 4-bit weights; nf4 suits normally distributed ones."""
    bnb_4bit_use_double_quant: Flag = True
    """Quantize the scaling factors too; saves 0.4 bits a weight."""
    bnb_4bit_compute_dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Precision in which the decompressed 4-bit weights are multiplied."""

    @property
    def method(self) -> Literal["nf4", "fp4", "int8", "none"]:
        """Name the one method that the switches add up to."""
        if self.enabled and self.load_in_8bit:
            return "int8"
        return self.bnb_4bit_quant_type if self.enabled and self.load_in_4bit else "none"


class Peft(Section):
    """The LoRA adapter; the class head is always trained and saved beside it."""

    section_name: ClassVar[str] = "peft"

    enabled: Flag = True
    """Train an adapter on a frozen base; false trains all weights and wants quantization off."""
    lora_r: int = Field(16, ge=1)
    """Rank of the update matrices."""
    lora_alpha: int = Field(32, ge=1)
    """Scale of the update: alpha / r, with use_rslora alpha / sqrt(r). --lora-rank sets it to twice that."""
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on the adapter's input; at 0 the cut into micro-batches makes no difference to a step."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which bias terms are trained; Qwen3 has none in its projections."""
    target_modules: list[Name] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    """Linear layers that get an adapter, by the end of their names."""
    modules_to_save: Names = Field([])
    """Modules trained whole beside the adapter, such as embed_tokens; the class head `score` always is."""
    use_rslora: Flag = False
    """Scale by alpha / sqrt(r), which keeps high ranks stable."""
    use_dora: Flag = False
    """Train the magnitude of each weight apart from its direction (DoRA); slower."""
    init_lora_weights: Literal[True, False, "gaussian"] = True
    """true (Kaiming A, zero B) and gaussian (normal A, zero B) start as the bare base; false at random."""
