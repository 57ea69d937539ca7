"""The story, top to bottom: one method a stage, in the order in which run() calls them.

A user may call the methods one by one, change any attribute in between, or override one. A method first runs
the steps that it lacks and says so. Every command of the command line is a short recipe over this class.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwenkit.artifacts import read_json, read_manifest, replace_file
from qwenkit.config import Config, config_to_yaml, load_config
from qwenkit.console import Console
from qwenkit.errors import ConfigError, HubError
from qwenkit.runs import Workspace, choose_run_folder, short_name, write_summary
from qwenkit.saved import SavedModel, find_model
from qwenkit.stages import EVALUATE, EXPORT, PREPARE, STAGES, TOKENIZE, TRAIN, StagePlan
from qwenkit.steps.active_run import open_run
from qwenkit.steps.bookkeeping import Bookkeeper, identify_rows, recall_source, refuse_other_origin
from qwenkit.steps.labelled import LabelledSet, find_own_split, read_file, read_labelled
from qwenkit.steps.scoring import publish_evaluation, score_documents
from qwenkit.steps.summaries import show_prepared
from qwenkit.tracking import choose_wandb_mode

if TYPE_CHECKING:
    from qwenkit.data.sources import Source
    from qwenkit.modeling.bundle import Bundle

SPLITS = ("train", "validation", "test")
DATASETS = ("train_dataset", "val_dataset", "test_dataset")
TOKENIZED = ("train_tokenized", "val_tokenized", "test_tokenized")
# A step counts as done when what it provides is there, whoever put it there.
PROVIDES = {
    "load_config": ("config",),
    "load_datasets": DATASETS,
    "create_label_mappings": ("labels", "label2id", "id2label", "class_weights"),
    "setup_tokenizer": ("tokenizer",),
    "tokenize_datasets": TOKENIZED,
    "setup_model": ("model",),
    "apply_lora": ("adapted_model",),
    "create_trainer": ("trainer",),
    "train": ("trained_folder",),
}
TRAINING_STEPS = ("tokenize_datasets", "setup_model", "apply_lora", "create_trainer")
BEFORE = "before"


class QwenTrainingPipeline:
    """Fine-tunes Qwen3 into a text classifier, from raw text to a proven export.

    Attributes hold what the steps made, under the original's names. What a user puts there instead is kept,
    and identified by its content; where that cannot be done, nothing made from it counts as up to date.

    Attributes:
        train_dataset, val_dataset, test_dataset: datasets.Dataset: row_id, text, label, label_id and more.
        train_tokenized, val_tokenized, test_tokenized: datasets.Dataset: row_id, input_ids, length, labels.
        class_weights: One number a class, in id order.
        pre_metrics, post_metrics: Numbers on the test split before and after training.
        callbacks: The user's own TrainerCallbacks.
        trainer_options: More for build_trainer: compute_loss_func, compute_metrics, trainer_class, ...
        run_folder, trained_folder: Where this run lies, and its model once it is trained.
    """

    config: Config = None  # type: ignore[assignment]  # load_config() gives it
    dataset_name: str | None = None
    dataset_info: dict[str, Any] | None = None
    labels: Any = None
    label2id: Any = None
    id2label: Any = None
    class_weights: Any = None
    train_dataset: Any = None
    val_dataset: Any = None
    test_dataset: Any = None
    train_tokenized: Any = None
    val_tokenized: Any = None
    test_tokenized: Any = None
    tokenizer: Any = None
    model: Any = None
    trainer: Any = None
    pre_metrics: dict[str, Any] | None = None
    post_metrics: dict[str, Any] | None = None
    run_folder: Path = None  # type: ignore[assignment]  # setup_model() gives it
    trained_folder: Path | None = None

    def __init__(
        self,
        dataset: str | None = None,
        config_path: str | Path | None = None,
        epochs: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        lora_rank: int | None = None,
        enable_wandb: bool = True,
        resume_from: str | Path | None = None,
        *,
        quantization: str | None = None,
        max_steps: int | None = None,
        run_name: str | None = None,
        root: str | Path | None = None,
        overrides: Sequence[str] = (),
        force: bool | Collection[str] = False,
        console: Console | None = None,
    ) -> None:
        """Remember what was asked for; nothing is read before load_config().

        Args:
            dataset: 10k, 100k, 1M, 2M, demo, a hub id, or a CSV, JSONL or Parquet file or folder.
            config_path: A YAML file or a shipped config's name; None takes ./config.yaml if there is one.
            resume_from: A checkpoint folder, or "auto" for the newest valid one.
            overrides: `section.key=value` settings, stronger than the file, weaker than the named arguments.
            force: Redo what is up to date: all stages, or those named.
        """
        self.console = console or Console()
        self._config_path = config_path
        self._overrides = tuple(overrides)
        self._named = {
            "dataset": dataset,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "lora_rank": lora_rank,
            "quantization": quantization,
            "max_steps": max_steps,
            "run_name": run_name,
            "root": None if root is None else str(root),
            "resume": None if resume_from is None else str(resume_from),
            "wandb": None if enable_wandb else False,
        }
        forced = [stage.name for stage in STAGES] if force is True else (force or ())
        self._books = Bookkeeper(self.console, forced=forced)
        self._is_run_forced = TRAIN.name in forced
        self._resources = ExitStack()
        self._saved: SavedModel | None = None
        self._adapted: Any = None
        self._wandb_mode: str | None = None
        self.callbacks: list[Any] = []
        self.trainer_options: dict[str, Any] = {}

    def run(self) -> None:
        """Run everything in order; what is up to date is skipped."""
        try:
            self.load_config()
            self.initialize_wandb()
            self.load_datasets()
            self.create_label_mappings()
            self.setup_tokenizer()
            self.tokenize_datasets()
            self.setup_model()
            self.apply_lora()
            self.create_trainer()
            self.run_pre_evaluation()
            self.train()
            self.run_post_evaluation()
            self.save_artifacts()
            self.print_summary()
        finally:
            self.cleanup()

    # ---- Settings ----

    def load_config(self, *, reload: bool = False) -> Config:
        """Read and check the settings, once: what code changes in `config` afterwards is kept.

        Args:
            reload: Read again, and drop those changes.
        """
        from qwenkit.data.sources import dataset_id

        if self.config is None or reload:
            self._loaded = load_config(self._config_path, overrides=self._overrides, named=self._named)
            self.config = self._loaded.config
            for note in self._loaded.notes:
                self.console.info(note)
        self.dataset_name = dataset_id(self.config.dataset.name) if self.config.dataset.name else None
        return self.config

    def initialize_wandb(self) -> None:
        """Decide whether and how Weights & Biases follows this run; it opens once the run has a folder."""
        self._require("load_config")
        settings = self.config.wandb
        self._wandb_mode = choose_wandb_mode(settings.mode) if settings.enabled else None
        if self._wandb_mode:
            self.console.info(f"Weights & Biases: {self._wandb_mode}, project {settings.project}")

    # ---- Prepare ----

    def load_datasets(self) -> None:
        """Read, clean and split the data set, or take the prepared one where it is up to date."""
        self._require("load_config")
        from qwenkit.data.prepare import prepare_splits
        from qwenkit.data.prepared import read_prepared, to_dataset

        source = self._find_source()
        folder = self.workspace.prepared(source.folder_name)
        plan = self._books.plan(PREPARE, folder, config=self.config, identity=source.identity)
        self.console.header("prepare", f"{source.name} -> {folder}")
        if self._books.must_make(plan):
            refuse_other_origin(folder, source.origin)
            self._prepared = prepare_splits(source, **self._prepare_settings())
        else:
            self._prepared = read_prepared(folder)
        self.dataset_name = source.dataset_name
        self.dataset_info = source.describe()
        self._put_splits(DATASETS, {split: to_dataset(rows) for split, rows in self._prepared.splits.items()})

    def create_label_mappings(self) -> None:
        """Settle label names, ids, counts and class weights, and publish the prepared data."""
        self._require("load_datasets")
        from qwenkit.data.prepared import write_prepared

        if self._has_users(*DATASETS):
            self._prepare_users_rows()
        self._put_labels(self._prepared.labels.names, self._prepared.labels.class_weights)
        plan = self._books.plans[PREPARE.name]
        if self._books.must_make(plan, say=False):
            with plan.publish(replace=True) as staging:
                write_prepared(staging.folder, self._prepared)
                staging.counts |= {**self._prepared.count_rows(), **(self.dataset_info or {})}
            show_prepared(self.console, self._prepared)
            self.console.success(f"wrote {plan.folder}")

    # ---- Tokenize ----

    def setup_tokenizer(self) -> None:
        """Load the model's tokenizer, or train one on the train split; one that the user put in is kept."""
        self._require("create_label_mappings")
        if self._has_users("tokenizer"):
            return
        from qwenkit.tokens.tokenized import read_tokenizer
        from qwenkit.tokens.tokenizer import load_tokenizer, train_tokenizer

        settings = self.config.tokenization
        name = self._tokenizer_name
        if name != "train":
            revision = self.config.model.revision if name == self.config.model.name else None
            self._put("tokenizer", load_tokenizer(name, revision=revision))
        elif self._books.must_make(self._plan_tokenize(), say=False):
            self.console.info(f"training a tokenizer of {settings.vocab_size:,} tokens on the train split")
            texts = self._prepared.splits["train"]["text"].to_list()
            trained = train_tokenizer(texts, vocab_size=settings.vocab_size, max_length=settings.max_length)
            self._put("tokenizer", trained)
        else:
            self._put("tokenizer", read_tokenizer(self._plan_tokenize().folder))

    def tokenize_datasets(self) -> None:
        """Turn the splits into token ids, or take the tokenized ones where they are up to date."""
        self._require("setup_tokenizer")
        from qwenkit.tokens.tokenized import read_tokenized, write_tokenized

        if self._has_users(*TOKENIZED):
            return
        settings = self.config.tokenization
        plan = self._plan_tokenize()
        self.console.header("tokenize", str(plan.folder))
        if self._books.must_make(plan):
            with plan.publish(replace=True) as staging:
                staging.counts |= write_tokenized(
                    staging.folder,
                    self._prepared.splits,
                    tokenizer=self.tokenizer,
                    settings=settings,
                    console=self.console,
                )
            self.console.success(f"wrote {plan.folder}")
        self._put_splits(TOKENIZED, read_tokenized(plan.folder))

    # ---- Train ----

    def setup_model(self) -> None:
        """Load the base model with a new score head, or the trained model where this run is finished."""
        self._require("tokenize_datasets")
        from qwenkit.modeling.base import (
            BaseIdentity,
            choose_device,
            complete_identity,
            identify_base,
            load_base_model,
            resolve_dtype,
        )

        if self._has_users("model"):
            self._base = BaseIdentity(name=self.model.name_or_path or "own model", kind="folder")
            self._weights_dtype = "float32"
            self._choose_run({"own_model": uuid.uuid4().hex})
            return
        tokens = {"vocab_size": len(self.tokenizer), "pad_token_id": self.tokenizer.pad_token_id}
        self._base = complete_identity(identify_base(self.config.model), **tokens)
        self._choose_run(
            {"base": self._base.model_dump(exclude={"name"} if self._base.kind == "folder" else None)}
        )
        if self.trained_folder is not None:
            self.load_trained(self.trained_folder)
            return
        device = choose_device()
        self._weights_dtype = resolve_dtype(self.config.model.dtype, device)
        model = load_base_model(
            self._base,
            quantization=self.config.quantization,
            labels=self.labels,
            device=device,
            dtype=self._weights_dtype,
            seed=self.config.training.seed,
            **tokens,
        )
        self._put("model", model)

    def apply_lora(self) -> None:
        """Put the adapter on the model, or free all weights where peft is off."""
        self._require("setup_model")
        from qwenkit.modeling.adapters import apply_adapter, count_trainable

        if self.trained_folder is not None or self.adapted_model is not None:
            return
        if not hasattr(self.model, "peft_config"):
            self._check_against_reality()
            training = self.config.training
            adapted = apply_adapter(
                self.model,
                self.config.peft,
                gradient_checkpointing=training.gradient_checkpointing,
                seed=training.seed,
            )
            self._put("model", adapted)
        self._adapted = self.model
        trainable, total = count_trainable(self.model)
        self.console.info(f"{trainable:,} of {total:,} parameters are trained ({trainable / total:.2%})")

    def create_trainer(self) -> None:
        """Build the trainer; from here on the run's folder is locked for others."""
        self._require("apply_lora")
        from qwenkit.training.build import build_trainer
        from qwenkit.training.plan import RunRecord

        if self.trained_folder is not None:
            return
        plan = self._books.plans[TRAIN.name]
        self.cleanup()
        tracker = self._resources.enter_context(
            open_run(
                self.run_folder,
                plan=plan,
                config=self.config,
                wandb_mode=self._wandb_mode,
                console=self.console,
            )
        )
        trainer = build_trainer(
            self.model,
            config=self.config,
            train_dataset=self.train_tokenized,
            eval_dataset=self.val_tokenized,
            pad_token_id=self.tokenizer.pad_token_id,
            labels=self.labels,
            positive_label=self.config.evaluation.positive_label,
            class_weights=self.class_weights,
            run_folder=self.run_folder,
            console=self.console,
            tracker=tracker,
            record=RunRecord(settings=plan.settings, inputs=plan.inputs, identity=plan.identity),
            write_extra=self._write_beside_weights,
            callbacks=self.callbacks,
            **self.trainer_options,
        )
        self._put("trainer", trainer)

    def run_pre_evaluation(self) -> None:
        """Score the model before training, on the rows that the comparison afterwards will use."""
        self._require("create_trainer")
        from qwenkit.evaluation.baselines import sample_rows

        settings = self.config.evaluation
        if not settings.run_pre_training_eval:
            return
        sampled = sample_rows(
            len(self.test_tokenized), size=settings.pre_training_eval_samples, seed=settings.seed
        )
        rows = LabelledSet(
            title=f"{len(sampled):,} test rows",
            frame=self._prepared.splits["test"],
            tokenized=self.test_tokenized.select(sampled),
            identity={"sampled_rows": len(sampled), "sampled_with_seed": settings.seed},
        )
        plan = self._plan_evaluation(self.run_folder / EVALUATE.folder / BEFORE, rows)
        self.console.header("evaluate before training", str(plan.folder))
        if self.trained_folder is not None and not plan.folder.exists():
            self.console.info("skipped: this run is trained already")
            return
        if self._books.must_make(plan):
            self._publish_evaluation(plan, rows, title=f"{self.run_folder.name} before training")
        self._put("pre_metrics", read_json(plan.folder / "metrics.json"))

    def train(self) -> None:
        """Train, or go on from a checkpoint, and publish trained/ before anything after it can fail."""
        self._require("create_trainer")
        from qwenkit.training.checkpoints import resolve_resume

        plan = self._books.plans[TRAIN.name]
        self.console.header("train", str(plan.folder))
        if self.trained_folder is not None:
            self.console.info("up to date, skipped")
            return
        self._loaded.validate_again(self.config)
        # An interrupted run of the same settings goes on by itself: bit for bit what it would have been.
        wanted = self.config.training.resume_from_checkpoint or (None if self._is_run_forced else "auto")
        checkpoint = resolve_resume(wanted, self.run_folder, warn=self.console.warn)
        if checkpoint is not None:
            self.console.info(f"going on from {checkpoint} (--force starts over)")
        self.trainer.train(resume_from_checkpoint=checkpoint)
        self._publish_trained(plan)

    # ---- Evaluate and export ----

    def load_trained(self, path: Path | None = None) -> None:
        """Take a saved model instead of training one: a run, a checkpoint, an export, any classifier folder.

        Args:
            path: None takes the newest run under the root and says which.
        """
        self._require("load_config")
        from qwenkit.modeling.bundle import load_model

        self._saved = find_model(path, self.workspace)
        self.console.header("model", f"{self._saved.folder}{'' if path else ' (the newest run)'}")
        loaded = load_model(self._saved.folder)
        self._bundle = loaded.bundle
        self.trained_folder = self._saved.folder
        if self._saved.run is not None:
            self.run_folder = self._saved.run
        self._put("model", loaded.model)
        self._put("tokenizer", loaded.tokenizer)
        self._put_labels(loaded.bundle.labels, self.class_weights)

    def run_post_evaluation(self, *, data: str | Path | None = None, out: Path | None = None) -> None:
        """Score the trained model on all of the test split, or on any labelled file.

        Args:
            data: A labelled file instead of the test split that the model never saw.
            out: Folder for the results, instead of evaluated/ in the run.
        """
        self._require("train")
        if self._saved is None and not self.config.evaluation.run_post_training_eval:
            return
        saved = self._saved or find_model(self.run_folder, self.workspace)
        rows = self._find_rows(saved, data)
        plan = self._plan_evaluation(
            out or saved.evaluation_folder(self.workspace, rows.name), rows, saved=saved
        )
        self.console.header("evaluate", f"{saved.folder} on {rows.title}")
        if self._books.must_make(plan):
            before = saved.run / EVALUATE.folder / BEFORE if saved.run and rows.name is None else None
            self._publish_evaluation(
                plan,
                rows,
                title=f"{saved.title} on {rows.title}",
                before=before if before and (before / "predictions.parquet").is_file() else None,
                run=saved.run,
            )
        self._put("post_metrics", read_json(plan.folder / "metrics.json"))

    def export(self, formats: Sequence[str] | None = None, *, out: Path | None = None) -> None:
        """Write the trained model for use elsewhere, each export compared with it on validation rows.

        Args:
            formats: adapter, merged, ...; None takes export.formats.
            out: Folder for the exports, instead of exported/ in the run.
        """
        self._require("train")
        from qwenkit.export.formats import export_model, find_format

        wanted = [find_format(name).name for name in formats or self.config.export.formats]
        saved = self._saved or find_model(self.run_folder, self.workspace)
        for name in wanted:
            plan = self._books.plan(
                EXPORT,
                saved.export_folder(name, out=out),
                config=self.config,
                inputs={TRAIN.name: saved.fingerprint},
                identity={"format": name},
            )
            self.console.header("export", f"{saved.folder} -> {plan.folder}")
            if not self._books.must_make(plan):
                continue
            validation = find_own_split(saved, self.workspace, "validation")
            with plan.publish(replace=True) as staging:
                staging.counts |= export_model(
                    name,
                    folder=staging.folder,
                    trained_folder=saved.folder,
                    input_ids=self._encode_for_parity(validation),
                    settings=self.config.export,
                    console=self.console,
                    training={"dataset": saved.dataset},
                )
            self.console.success(f"wrote {plan.folder}")

    # ---- The end ----

    def save_artifacts(self) -> None:
        """Publish the run's config.yaml and summary.json."""
        self._require("train")
        from qwenkit.metrics import flatten_metrics

        facts = {
            "dataset": self.dataset_info,
            "labels": list(self.labels),
            "pre_metrics": flatten_metrics(self.pre_metrics or {}, prefix=""),
            "post_metrics": flatten_metrics(self.post_metrics or {}, prefix=""),
        }
        replace_file(self.run_folder / "config.yaml", config_to_yaml(self.config, comments=False))
        write_summary(self.run_folder, plan=self._books.plans[TRAIN.name], state="trained", **facts)

    def print_summary(self) -> None:
        """Say what lies where."""
        self._require("train")
        self.console.table(self.run_folder.name, ["what", "where"], self._list_results(), numbers=False)

    def cleanup(self) -> None:
        """Close what is open (the W&B run, the lock on the run's folder); the pipeline can be run again."""
        self._resources.close()

    def describe_result(self) -> dict[str, Any]:
        """Give the result as plain values, for --json."""
        return {
            "dataset": self.dataset_info,
            "run": str(self.run_folder) if self.run_folder else None,
            "folders": dict(self._list_results()),
            "pre_metrics": self.pre_metrics,
            "post_metrics": self.post_metrics,
        }

    @property
    def report_path(self) -> Path | None:
        """The report of the last evaluation, or None."""
        plan = self._books.plans.get(EVALUATE.name)
        path = plan.folder / "report.html" if plan else None
        return path if path is not None and path.exists() else None

    # ---- What the steps share ----

    @property
    def workspace(self) -> Workspace:
        """The folders under paths.root."""
        return Workspace(Path(self.config.paths.root))

    @property
    def adapted_model(self) -> Any:
        """The model once its trainable weights are chosen."""
        return self.model if self.model is not None and self._adapted is self.model else None

    def _require(self, step: str) -> None:
        """Run a step whose results are lacking, and say so."""
        is_trained = self.trained_folder is not None and step in TRAINING_STEPS
        if is_trained or all(getattr(self, name) is not None for name in PROVIDES[step]):
            return
        if step != "load_config":
            self.console.info(f"first {step}(), which has not run yet")
        getattr(self, step)()

    def _put(self, name: str, value: Any) -> None:
        setattr(self, name, value)
        self._books.note_made(name, value)

    def _put_splits(self, names: Sequence[str], splits: Mapping[str, Any]) -> None:
        for name, split in zip(names, SPLITS, strict=True):
            if not self._has_users(name):
                self._put(name, splits[split])

    def _put_labels(self, labels: Sequence[str], class_weights: Sequence[float] | None) -> None:
        made = {
            "labels": list(labels),
            "label2id": {name: label_id for label_id, name in enumerate(labels)},
            "id2label": dict(enumerate(labels)),
            "class_weights": class_weights,
        }
        for name, value in made.items():
            if not self._has_users(name):
                self._put(name, value)

    def _has_users(self, *names: str) -> bool:
        return any(self._books.is_users(name, getattr(self, name)) for name in names)

    def _find_source(self) -> "Source":
        """Resolve the data set; without a network the revision that was prepared before counts."""
        from qwenkit.data.sources import resolve_source

        settings = self.config.dataset
        if settings.name is None:
            settings.name = self._recall_dataset_name()
        try:
            return resolve_source(settings.name, revision=settings.revision, config_name=settings.config_name)
        except HubError as error:
            recalled = recall_source(self.workspace, settings.name)
            if recalled is None:
                raise
            self.console.warn(f"{error} Taking what was prepared from revision {recalled.revision}.")
            return recalled

    def _recall_dataset_name(self) -> str:
        """Name the data set prepared last, so that it is found again."""
        folder = self.workspace.last_prepared()
        manifest = read_manifest(folder) if folder else None
        if folder is None or manifest is None:
            raise ConfigError(
                "no data set is named and none is prepared: pass --dataset, e.g. --dataset 10k."
            )
        self.console.info(f"data set: {folder.parent.name} (the one prepared last)")
        described = manifest.counts
        return str(described["origin"] if described["kind"] in ("file", "folder") else described["name"])

    def _prepare_settings(self) -> dict[str, Any]:
        config = self.config
        return {
            "model": config.model,
            "dataset": config.dataset,
            "class_weights": config.class_weights,
            "positive_label": config.evaluation.positive_label,
        }

    def _prepare_users_rows(self) -> None:
        """Clean the rows that the user put in, and give them a folder of their own."""
        from qwenkit.data.prepare import prepare_splits

        settings = self.config.dataset
        rows = {name: getattr(self, name) for name in DATASETS}
        given = (settings.train_split, settings.validation_split, settings.test_split)
        self._prepared = prepare_splits(
            dict(zip(given, rows.values(), strict=True)), **self._prepare_settings()
        )
        name = f"{short_name(settings.name)}-own" if settings.name else "own"
        folder = self.workspace.prepared(name)
        self._books.plan(PREPARE, folder, config=self.config, identity=identify_rows(rows))
        self.dataset_info = {"name": name, "kind": "memory", "origin": "memory"}

    @property
    def _dataset_folder(self) -> str:
        return self._books.plans[PREPARE.name].folder.parent.name

    @property
    def _tokenizer_name(self) -> str:
        """A hub id, a folder, or "train"."""
        wanted = self.config.tokenization.tokenizer
        if wanted != "auto":
            return wanted
        return "train" if self.config.model.name == "tiny" else self.config.model.name

    def _plan_tokenize(self) -> StagePlan:
        from qwenkit.tokens.tokenizer import tokenizer_identity

        settings = self.config.tokenization
        trains = self._tokenizer_name == "train" and not self._has_users("tokenizer")
        identity = {"tokenizer": "train" if trains else tokenizer_identity(self.tokenizer)}
        owner = self.config.model.name if settings.tokenizer == "auto" else settings.tokenizer
        owner = "own-bpe" if self._tokenizer_name == "train" else owner
        folder = self.workspace.tokenized(self._dataset_folder, f"{short_name(owner)}-{settings.max_length}")
        return self._books.plan(TOKENIZE, folder, config=self.config, identity=identity)

    def _choose_run(self, base: Mapping[str, Any]) -> None:
        """Settle what would be trained and where; a finished run of the same kind is taken as it is."""
        settings = self.config.training
        identity = {
            **base,
            "labels": list(self.labels),
            "class_weights": [float(weight) for weight in self.class_weights or ()],
            "dataset": self._dataset_folder,
        }
        if self._has_users(*TOKENIZED):
            identity |= identify_rows({name: getattr(self, name) for name in TOKENIZED})
        facts: dict[str, Any] = {"config": self.config, "identity": identity, "seed": settings.seed}
        folder, reason = choose_run_folder(
            self.workspace,
            name=settings.run_name or f"{short_name(self.config.model.name)}-{self._dataset_folder.lower()}",
            is_explicit=settings.run_name is not None,
            plan=self._books.plan(TRAIN, Path(), **facts),
            force=self._is_run_forced,
        )
        if reason:
            self.console.info(f"{reason}; this one goes to {folder}")
        self.run_folder = folder
        plan = self._books.plan(TRAIN, folder / TRAIN.folder, **facts)
        self.trained_folder = None if self._books.must_make(plan, say=False) else plan.folder

    def _check_against_reality(self) -> None:
        """Hold the settings against the data, the model and the machine."""
        from qwenkit.config.checks_before_training import check_before_training
        from qwenkit.modeling.device import describe_machine, list_layers

        problems = check_before_training(
            self.config,
            train_rows=len(self.train_tokenized),
            model_max_length=getattr(self.model.config, "max_position_embeddings", None),
            module_names=list_layers(self.model),
            machine=describe_machine(),
        )
        self._loaded.require(problems, self.config)

    def _make_bundle(self) -> "Bundle":
        """Describe the model in hand, for qwenkit.json."""
        from qwenkit.modeling.bundle import Bundle, TokenizerFlags
        from qwenkit.modeling.quantization import record_quantization

        if self._saved is not None:
            return self._bundle
        tokenization = self.config.tokenization
        return Bundle(
            kind="adapter" if hasattr(self.model, "peft_config") else "full",
            base_model=self._base,
            labels=list(self.labels),
            positive_label=self.config.evaluation.positive_label or self.labels[0],
            pad_token_id=self.tokenizer.pad_token_id,
            max_length=tokenization.max_length,
            quantization=record_quantization(self.config.quantization),
            dtype="bfloat16" if self.trainer.args.bf16 else "float32",
            weights_dtype=self._weights_dtype,
            tokenizer=TokenizerFlags(truncation=tokenization.truncation),
        )

    def _write_beside_weights(self, folder: Path) -> None:
        """Make a checkpoint a model folder: tokenizer and qwenkit.json beside the weights."""
        from qwenkit.modeling.bundle import save_tokenizer, write_bundle

        bundle = self._make_bundle()
        save_tokenizer(folder, self.tokenizer, bundle)
        write_bundle(folder, bundle)

    def _publish_trained(self, plan: StagePlan) -> None:
        """Write trained/: the model, and its predictions on all of validation for choosing thresholds."""
        import numpy as np

        from qwenkit.evaluation.evaluate import evaluate_split
        from qwenkit.metrics import flatten_metrics
        from qwenkit.modeling.bundle import save_model

        bundle = self._make_bundle()
        logits = score_documents(
            self.model,
            self.val_tokenized,
            bundle=bundle,
            config=self.config,
            console=self.console,
            what="validation",
        )
        evaluation = evaluate_split(
            logits,
            np.asarray(self.val_tokenized["row_id"]),
            self._prepared.splits["validation"],
            labels=bundle.labels,
            positive_label=bundle.positive_label,
            class_weights=self.class_weights,
        )
        metrics = {"validation": flatten_metrics(evaluation.metrics, prefix="")}
        state = self.trainer.state
        with plan.publish(replace=True) as staging:
            save_model(
                staging.folder,
                model=self.model,
                tokenizer=self.tokenizer,
                bundle=bundle.model_copy(update={"metrics": metrics}),
            )
            evaluation.predictions.write_parquet(staging.folder / "validation_predictions.parquet")
            staging.counts |= {"steps": state.global_step, "best_step": state.best_global_step}
        self.trained_folder = plan.folder
        self.console.success(f"wrote {plan.folder}")

    def _find_rows(self, saved: SavedModel, data: str | Path | None) -> LabelledSet:
        """Choose what a saved model is scored on: a file, the set of --dataset, or its own test split."""
        if data is not None:
            settings = self.config.model.model_copy(update={"labels": list(self.labels)})
            return read_file(data, model_settings=settings, console=self.console)
        if self._saved is not None and self._named["dataset"] is not None:
            self.config.model.labels = list(self.labels)
            self.load_datasets()
            self.create_label_mappings()
            plan = self._books.plans[PREPARE.name]
            name = self._dataset_folder if self._dataset_folder != saved.dataset else None
            return read_labelled(
                plan.folder,
                "test",
                title=f"the test split of {self._dataset_folder}",
                name=name,
                fingerprint=plan.fingerprint,
            )
        rows = find_own_split(saved, self.workspace, "test")
        return rows if self._saved is not None else replace(rows, tokenized=self.test_tokenized)

    def _encode_for_parity(self, validation: LabelledSet) -> list[list[int]]:
        from qwenkit.export.parity import choose_rows
        from qwenkit.tokens.encoding import encode_texts

        chosen = validation.frame[choose_rows(validation.frame.height, self.config.export.parity_rows)]
        bundle = self._make_bundle()
        return encode_texts(
            chosen["text"].to_list(),
            tokenizer=self.tokenizer,
            max_length=bundle.max_length,
            truncation=bundle.tokenizer.truncation,
        )

    def _plan_evaluation(
        self, folder: Path, rows: LabelledSet, *, saved: SavedModel | None = None
    ) -> StagePlan:
        model = self._books.plans[TRAIN.name].fingerprint if saved is None else saved.fingerprint
        return self._books.plan(
            EVALUATE,
            folder,
            config=self.config,
            inputs={TRAIN.name: model, **rows.inputs},
            identity={"is_trained": saved is not None, **rows.identity},
        )

    def _publish_evaluation(self, plan: StagePlan, rows: LabelledSet, **more: Any) -> None:
        publish_evaluation(
            plan,
            rows,
            model=self.model,
            tokenizer=self.tokenizer,
            bundle=self._make_bundle(),
            class_weights=self.class_weights,
            config=self.config,
            console=self.console,
            **more,
        )

    def _list_results(self) -> list[list[str]]:
        """Name what the steps made and where it lies, as rows of a table."""
        plans = self._books.plans.values()
        return [[plan.stage.name, str(plan.folder)] for plan in plans if plan.folder.exists()]
