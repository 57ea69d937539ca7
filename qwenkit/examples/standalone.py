"""Fine-tune Qwen3-0.6B to tell AI-generated from human-written text: the whole job in one file.

    python standalone.py --dataset 10k            # a RAID-derived set from the hub; wants a GPU
    python standalone.py --data FOLDER --tiny     # offline, on a CPU, in minutes: a small random Qwen3

FOLDER holds train, validation and test.parquet with the columns text and label; `qwenkit prepare` leaves such
files in output/datasets/NAME/prepared. To change a setting, change its constant.
No qwenkit is imported, so this file can be read alone, and checks the package: from the same rows and seed
both have to come to the same numbers. Left out: checkpoints, several GPUs, tracking, reports, exports.
"""

import argparse
import json
import logging
import math
import warnings
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import peft
import polars as pl
import tokenizers
import torch
import transformers
from sklearn import metrics
from torch import nn
from torch.nn.functional import cross_entropy, linear

# ---- Data ----
SELECTED_DATASET = "10k"  # --dataset; one of these, or any hub id with the same columns
RAID = "codefactory4791/raid_aligned_"
DATASETS = {"10k": f"{RAID}10k", "100k": f"{RAID}100k", "1M": f"{RAID}1000k", "2M": f"{RAID}2000k"}
TEXT_COLUMN, LABEL_COLUMN = "text", "label"
LABELS = ["AI_Generated", "Human_Written"]  # in id order, never sorted: it decides the sign of every score
DEDUPLICATE = True  # a text that is in train and in test is remembered, not judged

# ---- Model and tokens ----
MODEL_NAME = "Qwen/Qwen3-0.6B"  # small enough for any GPU, large enough to know how people write
REVISION = None  # a commit here pins the weights; None takes the newest
MAX_LENGTH = 384  # the RAID-derived sets hold texts of up to that many tokens
PAD_TO_MULTIPLE_OF = 8  # widths that tensor cores like

# ---- Quantization: the frozen base in 4 bits, the Q of QLoRA ----
QUANTIZE = True  # False holds the base in bfloat16: 1.2 GB instead of 0.5, and faster where that fits
BNB_4BIT_QUANT_TYPE = "nf4"  # its 16 values suit weights that are normally distributed
BNB_4BIT_USE_DOUBLE_QUANT = True  # quantizes the scales too: 0.4 bits a weight less
BNB_4BIT_COMPUTE_DTYPE = "bfloat16"  # float16 would overflow where bfloat16 rounds

# ---- LoRA: what is trained beside it ----
LORA_R = 16  # 10 million weights, 1.7 % of the model
LORA_ALPHA = 32  # the update counts alpha / r = 2 times
LORA_DROPOUT = 0.05  # some noise, for sets as small as 10k
TARGET_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MODULES_TO_SAVE: list[str] = []  # trained whole, besides the class head, which always is

# ---- Training ----
NUM_TRAIN_EPOCHS = 3.0
MAX_STEPS = -1  # above 0: so many steps, whatever the epochs
PER_DEVICE_TRAIN_BATCH_SIZE = 32  # documents in one forward and backward pass
GRADIENT_ACCUMULATION_STEPS = 8  # 32 x 8 = 256 documents a step: each domain and class has a say in it
LEARNING_RATE = 1e-4
WARMUP_RATIO = 0.05  # at first a random head sends large gradients into the adapter
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0  # one odd batch must not undo an hour
BF16 = True  # where there is a GPU that has it
EVAL_STEPS = None  # None: ten times an epoch
PATIENCE = 4  # stop after so many evaluations without a better balanced accuracy on validation
THRESHOLD = 0.001  # a smaller gain counts as none
SEED = 42  # decides the first weights, the order of the documents and the dropout

# ---- Evaluation ----
PER_DEVICE_EVAL_BATCH_SIZE = 32
PRE_TRAINING_EVAL_SAMPLES = 1000  # enough to see that an untrained head guesses

# ---- The small random Qwen3 of --tiny, and its tokenizer: nothing has to be downloaded ----
TINY = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
VOCAB_SIZE = 8192

parser = argparse.ArgumentParser(description="Fine-tune Qwen3 into a text classifier, in one file.")
parser.add_argument("--dataset", default=SELECTED_DATASET, help=f"{', '.join(DATASETS)}, or a hub id")
parser.add_argument("--data", type=Path, help="folder with train, validation and test.parquet, not the hub")
parser.add_argument("--tiny", action="store_true", help="small random Qwen3: offline, on a CPU, in minutes")
parser.add_argument("--output", type=Path, help="folder for the results; default: output/standalone-NAME")
arguments = parser.parse_args()
name = arguments.data.resolve().name if arguments.data else arguments.dataset.replace("/", "--")
output = arguments.output or Path("output", f"standalone-{name}{'-tiny' if arguments.tiny else ''}")
if (output / "metrics.json").exists():
    parser.error(f"{output} holds the results of another run; name another folder with --output.")

if arguments.tiny:
    VOCAB_SIZE, MAX_LENGTH = 4096, 160  # more would only make it slower
    MODULES_TO_SAVE = ["embed_tokens"]  # the base is random, so its embeddings have everything to learn
    LORA_DROPOUT, LEARNING_RATE = 0.0, 1e-3
    MAX_STEPS, EVAL_STEPS, GRADIENT_ACCUMULATION_STEPS = 150, 30, 2
    PER_DEVICE_EVAL_BATCH_SIZE, PRE_TRAINING_EVAL_SAMPLES = 64, 500

# ---- 1. Rows ----
frames = []
# Test first: of a text in two splits the first copy stays, and what is tested on must not be trained on.
for split in ("test", "validation", "train"):
    if not arguments.data:
        hub_id = DATASETS.get(arguments.dataset, arguments.dataset)
        frame: Any = datasets.load_dataset(hub_id, split=split).to_polars()
    elif (path := arguments.data / f"{split}.parquet").is_file():
        frame = pl.read_parquet(path)
    else:
        parser.error(f"{path} is missing; --data wants train, validation and test.parquet in one folder.")
    if missing := {TEXT_COLUMN, LABEL_COLUMN} - set(frame.columns):
        parser.error(f"{split} has no column {', '.join(missing)}; it has {', '.join(frame.columns)}.")
    frames.append(frame.select(split=pl.lit(split), text=TEXT_COLUMN, label=LABEL_COLUMN))
# A text without a visible character has nothing to be judged by; an empty one crashes the model.
rows = pl.concat(frames).filter(pl.col("text").str.contains(r"[^\s\p{Cc}\p{Cf}]"))
rows = rows.filter(pl.col("label").is_in(LABELS))
if DEDUPLICATE:
    # No copy of a text that stands under both labels can be trusted, so all of them go.
    rows = rows.filter(pl.col("label").n_unique().over("text") == 1)
    rows = rows.unique("text", keep="first", maintain_order=True)
splits = {split: rows.filter(split=split) for split in ("train", "validation", "test")}

# ---- 2. Label ids and class weights ----
truth = {split: np.array([LABELS.index(label) for label in part["label"]]) for split, part in splits.items()}
for split, ids in truth.items():
    counts = np.array([(ids == label_id).sum() for label_id in range(len(LABELS))])
    print(f"{split:<10} " + "  ".join(f"{label} {n:,}" for label, n in zip(LABELS, counts, strict=True)))
    if not counts.all():
        parser.error(f"{split} has a class without rows; its labels must be {' and '.join(LABELS)}.")
    if split == "train":
        # By inverse frequency, 1 for the mean row, so that the learning rate keeps its meaning.
        class_weights = torch.tensor(counts.sum() / (len(LABELS) * counts), dtype=torch.float32)

# ---- 3. Tokens ----
# A text that holds "<|endoftext|>" must not be able to write the padding id: it is text like any other.
# Never pass add_prefix_space besides: in transformers 5 it puts a space before every piece of a text.
options = {"split_special_tokens": True}
if arguments.tiny:
    # A byte-level BPE that splits text as Qwen's does. Its vocabulary ends with as many special tokens as
    # Qwen3 has, of which a classifier needs the first.
    special = ["<|endoftext|>", *(f"<|unused_{number}|>" for number in range(13))]
    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    qwen = transformers.Qwen2Tokenizer().backend_tokenizer
    learner.normalizer, learner.pre_tokenizer = qwen.normalizer, qwen.pre_tokenizer
    trainer = tokenizers.trainers.BpeTrainer(min_frequency=2, show_progress=False)
    trainer.vocab_size = VOCAB_SIZE - len(special)
    # All bytes, seen or not: then no text is out of vocabulary.
    trainer.initial_alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(splits["train"]["text"].to_list(), trainer)
    learner.add_special_tokens(special)
    fast = transformers.PreTrainedTokenizerFast
    tokenizer: Any = fast(tokenizer_object=learner, pad_token=special[0], **options)
else:
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL_NAME, revision=REVISION, **options)
assert tokenizer.pad_token_id not in tokenizer(f"a {tokenizer.pad_token} b")["input_ids"]
documents: dict[str, list[np.ndarray]] = {split: [] for split in splits}
for split, part in splits.items():
    for some_rows in part.iter_slices(10_000):  # the tokenizer's own results are large
        # No padding yet: each batch will be padded to its own longest document.
        encoded = tokenizer(some_rows["text"].to_list(), truncation=True, max_length=MAX_LENGTH)
        documents[split] += [np.array(ids, dtype=np.int32) for ids in encoded["input_ids"]]

# ---- 4. The base model, quantized, with a new class head ----
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
uses_bf16 = BF16 and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
logging.disable(logging.WARNING)  # of the missing head, which is drawn below
warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft's business
transformers.logging.disable_progress_bar()
source, pinned = MODEL_NAME, {"revision": REVISION}
if arguments.tiny:
    # The size of the vocabulary moves all draws after the embeddings: another one is another model.
    TINY |= {"vocab_size": math.ceil(len(tokenizer) / 64) * 64, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(SEED)
    tiny = transformers.Qwen3Model(transformers.Qwen3Config(**TINY))
    source, pinned = str(output / "base"), {}
    tiny.save_pretrained(source)  # bitsandbytes quantizes while it reads a file
quantization = transformers.BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type=BNB_4BIT_QUANT_TYPE,
    bnb_4bit_use_double_quant=BNB_4BIT_USE_DOUBLE_QUANT,
    bnb_4bit_compute_dtype=getattr(torch, BNB_4BIT_COMPUTE_DTYPE),
    llm_int8_skip_modules=["score"],  # holds for 4 bits too: a quantized head could not be trained
)
model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
    source,
    id2label=dict(enumerate(LABELS)),
    label2id={label: label_id for label_id, label in enumerate(LABELS)},
    problem_type="single_label_classification",  # by which servers choose the softmax
    pad_token_id=tokenizer.pad_token_id,  # Qwen3 leaves it open; the stock forward finds the last token by it
    use_cache=False,  # nothing is generated, so no keys and values need be kept
    dtype=torch.bfloat16 if uses_bf16 else torch.float32,
    device_map={"": device},
    quantization_config=quantization if QUANTIZE else None,
    use_safetensors=True,
    **pinned,
)
for layer in model.modules():
    if hasattr(layer, "support_avx512bf16_for_cpu"):
        # Else, on such CPUs, bitsandbytes repacks its weights in the first evaluation, and from then on LoRA
        # gets no gradient, without a word.
        layer.support_avx512bf16_for_cpu = False
# The head comes from a generator of its own and in float32: the same one on every device, in every
# precision, however many random numbers the loading used up.
drawn = torch.randn(model.score.weight.shape, generator=torch.Generator().manual_seed(SEED))
assert type(model.score) is nn.Linear
model.score.weight = nn.Parameter((drawn * model.config.initializer_range).to(device))

# ---- 5. LoRA ----
# Not prepare_model_for_kbit_training: it turns on gradient checkpointing, half as much work again.
model.requires_grad_(False)
torch.manual_seed(SEED)  # for the A matrices, which are drawn layer by layer; B begins at zero
lora = peft.LoraConfig(
    task_type=peft.TaskType.SEQ_CLS,  # trains and saves `score`; otherwise the head stays random, and is lost
    r=LORA_R,
    lora_alpha=LORA_ALPHA,
    lora_dropout=LORA_DROPOUT,
    target_modules=TARGET_MODULES,
    modules_to_save=MODULES_TO_SAVE,
)
model = peft.get_peft_model(model, lora)
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
for parameter in trained:
    parameter.data = parameter.data.float()  # a step of 1e-4 vanishes in the eight bits of bfloat16
print(f"{sum(parameter.numel() for parameter in trained):,} weights are trained, on {device}")


# ---- 6. Evaluation, before training ----
def classify(batch: list[np.ndarray]) -> torch.Tensor:
    """Compute the logits of some documents, shape (documents, classes)."""
    # Padded on the right and without a mask: attention is causal, so nothing real sees the padding. The head
    # reads each document's last token, in float32: in bfloat16 documents would tie by the hundred.
    lengths = torch.tensor([len(ids) for ids in batch], device=device)
    width = math.ceil(int(lengths.max()) / PAD_TO_MULTIPLE_OF) * PAD_TO_MULTIPLE_OF
    padded = [np.pad(ids, (0, width - len(ids)), constant_values=tokenizer.pad_token_id) for ids in batch]
    classifier = model.get_base_model()
    with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16):
        states = classifier.model(input_ids=torch.tensor(np.stack(padded)).to(device)).last_hidden_state
    last = states[torch.arange(len(batch), device=device), lengths - 1]
    return linear(last.float(), classifier.score.weight)


@torch.inference_mode()
def predict(some_documents: list[np.ndarray]) -> np.ndarray:
    """Compute the logits of many documents, in their order; those of like length share a batch."""
    model.eval()
    order = np.argsort([-len(ids) for ids in some_documents], kind="stable")
    logits = np.empty((len(order), len(LABELS)), dtype=np.float32)
    for start in range(0, len(order), PER_DEVICE_EVAL_BATCH_SIZE):
        batch = order[start : start + PER_DEVICE_EVAL_BATCH_SIZE]
        logits[batch] = classify([some_documents[row] for row in batch]).cpu().numpy()
    return logits


def measure(logits: np.ndarray, ids: np.ndarray) -> dict[str, Any]:
    """Measure logits against the true ids; the first label is the positive class of AUROC and TPR."""
    exact = torch.from_numpy(logits).double()
    guesses, scores = logits.argmax(axis=1), exact.softmax(dim=1)[:, 0].numpy()
    report = metrics.classification_report(ids, guesses, output_dict=True, zero_division=0)
    fpr, tpr, _ = metrics.roc_curve(ids == 0, scores, drop_intermediate=False)
    return {
        "rows": len(ids),
        "loss": cross_entropy(exact, torch.from_numpy(ids), weight=class_weights.double()).item(),
        "accuracy": report["accuracy"],
        "balanced_accuracy": report["macro avg"]["recall"],
        "precision": report["weighted avg"]["precision"],
        "recall": report["weighted avg"]["recall"],
        "f1": report["weighted avg"]["f1-score"],
        "auroc": float(metrics.roc_auc_score(ids == 0, scores)),
        **{f"tpr_at_fpr_{percent}": float(tpr[fpr <= percent / 100].max()) for percent in (5, 1)},
        "confusion_matrix": metrics.confusion_matrix(ids, guesses).tolist(),
    }


size = min(PRE_TRAINING_EVAL_SAMPLES, len(documents["test"]))
sampled = np.sort(np.random.default_rng(SEED).choice(len(documents["test"]), size, replace=False))
before = measure(predict([documents["test"][row] for row in sampled]), truth["test"][sampled])
print(f"before training: AUROC {before['auroc']:.4f} on {before['rows']:,} test rows")

# ---- 7. Training ----
documents_per_step = PER_DEVICE_TRAIN_BATCH_SIZE * GRADIENT_ACCUMULATION_STEPS
steps_per_epoch = math.ceil(len(documents["train"]) / documents_per_step)
last_step = MAX_STEPS if MAX_STEPS > 0 else math.ceil(NUM_TRAIN_EPOCHS * steps_per_epoch)
warmup_steps = math.ceil(WARMUP_RATIO * last_step)
optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
best: dict[str, Any] = {}
patience = PATIENCE
torch.manual_seed(SEED)  # from here on dropout alone draws from it
for step in range(last_step):
    # A new order each epoch, from a generator of its own: what else is drawn doesn't change it.
    epoch, place = divmod(step, steps_per_epoch)
    if place == 0:
        order = np.random.default_rng((SEED, epoch)).permutation(len(documents["train"]))
    chosen = order[place * documents_per_step : (place + 1) * documents_per_step]
    # Sorted within the step only: it stays the same step, with a quarter of the padding.
    chosen = np.array(sorted(chosen, key=lambda row: -len(documents["train"][row])))
    # Up in a straight line and down along half a cosine; the very first step has rate 0.
    rate = step / max(1, warmup_steps)
    if step >= warmup_steps:
        rate = 0.5 + 0.5 * math.cos(math.pi * (step - warmup_steps) / max(1, last_step - warmup_steps))
    optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate
    # Divided once, by the class weights of the whole step. A mean of the micro-batches' means would be
    # another loss, as their weights differ; the stock Trainer doesn't divide at all for this model.
    divisor = class_weights[truth["train"][chosen]].sum().to(device)
    loss = torch.zeros((), device=device)
    model.train()
    for start in range(0, len(chosen), PER_DEVICE_TRAIN_BATCH_SIZE):
        some = chosen[start : start + PER_DEVICE_TRAIN_BATCH_SIZE]
        logits = classify([documents["train"][row] for row in some])
        label_ids = torch.from_numpy(truth["train"][some]).to(device)
        part = cross_entropy(logits, label_ids, weight=class_weights.to(device), reduction="sum") / divisor
        part.backward()
        loss += part.detach()
    if not loss.isfinite():
        raise SystemExit(f"training diverged at step {step + 1}: the loss is {loss}. Lower LEARNING_RATE.")
    nn.utils.clip_grad_norm_(trained, MAX_GRAD_NORM)
    optimizer.step()
    optimizer.zero_grad()
    if (step + 1) % max(1, steps_per_epoch // 20) == 0:
        print(f"step {step + 1}/{last_step}  loss {loss:.4f}")
    if (step + 1) % (EVAL_STEPS or max(1, steps_per_epoch // 10)) and step + 1 < last_step:
        continue
    now = measure(predict(documents["validation"]), truth["validation"])
    gain = now["balanced_accuracy"] - best.get("balanced_accuracy", -math.inf)
    print(f"  validation: loss {now['loss']:.4f}, balanced accuracy {now['balanced_accuracy']:.4f}")
    patience = PATIENCE if gain > THRESHOLD else patience - 1
    if gain > 0:
        weights = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
        best, best_weights = {"step": step + 1, **now}, {key: value.clone() for key, value in weights.items()}
    if patience == 0:
        break
peft.set_peft_model_state_dict(model, best_weights)

# ---- 8. Evaluation, after training; and saving ----
test_logits = predict(documents["test"])
after = measure(test_logits, truth["test"])
same = measure(test_logits[sampled], truth["test"][sampled])
print(f"after step {best['step']}: AUROC {after['auroc']:.4f} on {after['rows']:,} test rows")
print(f"on the {same['rows']:,} rows of before: AUROC {before['auroc']:.4f} -> {same['auroc']:.4f}")

model.save_pretrained(output, save_embedding_layers=False)
tokenizer.save_pretrained(output)
guesses = pl.Series("predicted_label", [LABELS[label_id] for label_id in test_logits.argmax(axis=1)])
columns = [pl.Series(f"logit_{label}", test_logits[:, label_id]) for label_id, label in enumerate(LABELS)]
predicted = splits["test"].select(guesses, *columns, true_label="label", correct=pl.col("label") == guesses)
predicted.write_csv(output / "predictions.csv")
# The adapter's own files tell neither the class names nor the quantization, so the next reader needs these.
facts = {"base_model": source, "labels": LABELS, "max_length": MAX_LENGTH, "quantized": QUANTIZE}
scores = {"validation": best, "before": before, "after": after, "after_on_rows_of_before": same}
(output / "metrics.json").write_text(json.dumps(facts | scores, indent=2) + "\n")
print(f"wrote {output}: adapter_model.safetensors, tokenizer.json, predictions.csv, metrics.json")
