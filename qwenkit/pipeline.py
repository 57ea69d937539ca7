"""The story, top to bottom: one method a stage, in the order in which run() calls them.

A user may call the methods one by one, change any attribute in between, or override one. A method first runs
the steps that it lacks and says so. Every command of the command line is a short recipe over this class; what
a step is made of lies in steps/.
"""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwenkit.artifacts import verify
from qwenkit.config import Config, config_to_yaml, load_config
from qwenkit.console import Console
from qwenkit.files import read_json, replace_file
from qwenkit.ranks import find_ranks
from qwenkit.runs import Workspace, write_summary
from qwenkit.saved import BEFORE, SavedModel, find_model
from qwenkit.stages import EVALUATE, PREPARE, SPLITS, STAGES, TOKENIZE, TRAIN, StagePlan
from qwenkit.steps.bookkeeping import Bookkeeper
from qwenkit.steps.known_names import check_known_names
from qwenkit.steps.on_demand import MadeOnDemand, offer_datasets
from qwenkit.steps.order import DATASETS, STEPS, TOKENIZED, after
from qwenkit.tracking import Tracker, choose_wandb_mode

if TYPE_CHECKING:
    from qwenkit.modeling.bundle import Bundle
    from qwenkit.steps.base import ChosenBase
    from qwenkit.steps.labelled import LabelledSet


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
    train_dataset: Any = MadeOnDemand()
    val_dataset: Any = MadeOnDemand()
    test_dataset: Any = MadeOnDemand()
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
        rehearsal: bool | None = None,
        run_name: str | None = None,
        root: str | Path | None = None,
        overrides: Sequence[str] = (),
        force: bool | Collection[str] = False,
        console: Console | None = None,
    ) -> None:
        """Remember what was asked for; nothing is read before load_config().

        Args:
            dataset: 10k, 100k, 1M, 2M, demo, raid, a hub id, or a CSV, JSONL or Parquet file or folder.
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
            "rehearsal": rehearsal,
            "run_name": run_name,
            "root": None if root is None else str(root),
            "resume": None if resume_from is None else str(resume_from),
            "wandb": None if enable_wandb else False,
        }
        forced = [stage.name for stage in STAGES] if force is True else (force or ())
        self._books = Bookkeeper(self, self.console, forced=forced)
        self._resources = ExitStack()
        self._wandb_mode: str | None = None
        self._tracker: Tracker | None = None
        self._prepared: Any = None
        self._base: ChosenBase | None = None
        self._adapted: Any = None
        self._saved: SavedModel | None = None
        self._bundle: Bundle | None = None
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
            self._loaded.require(check_known_names(self.config))
            for note in self._loaded.notes:
                self.console.info(note)
        self.dataset_name = dataset_id(self.config.dataset.name) if self.config.dataset.name else None
        return self.config

    def check_before_data(self) -> None:
        """Find what cannot be trained whatever the rows are; for commands, where no code adds anything."""
        from qwenkit.steps.settings import check_before_data
        from qwenkit.training.checkpoints import resolve_resume

        self._loaded.require(check_before_data(self.config))
        wanted = self.config.training.resume_from_checkpoint
        if wanted not in (None, "auto") and (checkpoint := resolve_resume(wanted, Path(wanted))):
            verify(checkpoint, deep=False)

    @after("load_config")
    def initialize_wandb(self) -> None:
        """Decide whether and how Weights & Biases follows this run; it opens once the run has a folder."""
        from qwenkit.steps.tracked_evaluation import choose_wandb_settings

        if self._saved is not None:
            self.config.wandb = choose_wandb_settings(self._saved.run, self.config.wandb)
        settings = self.config.wandb
        self._wandb_mode = choose_wandb_mode(settings.mode) if settings.enabled else None
        if self._wandb_mode:
            self.console.info(f"Weights & Biases: {self._wandb_mode}, project {settings.project}")

    # ---- Prepare ----

    @after("load_config")
    def load_datasets(self) -> None:
        """Read, clean and split the data set, or take the prepared one where it is up to date.

        Rows that the user put in are kept; without a data set to take the other splits from, they are all.
        """
        from qwenkit.data.augment import identify_paraphraser
        from qwenkit.data.prepare import prepare_splits
        from qwenkit.data.prepared import read_prepared
        from qwenkit.steps.source import find_source, refuse_other_origin

        if self._books.has_users("labels"):
            self.config.model.labels = list(self.labels)
        if self._books.has_users(*DATASETS) and self.config.dataset.name is None:
            return
        source = find_source(self.config, workspace=self.workspace, console=self.console)
        own = identify_paraphraser(self.config.dataset.augment)
        folder = self.workspace.prepared(source.folder_name)
        plan = self._books.plan(PREPARE, folder, config=self.config, identity={**source.identity, **own})
        self.console.header("prepare", f"{source.name} -> {folder}")
        if plan.find_reasons_to_redo():
            refuse_other_origin(folder, source.origin)
        if self._books.must_make(plan):
            self._prepared = prepare_splits(source, **self._prepare_settings(), console=self.console)
        else:
            self._prepared = read_prepared(folder)
        self.dataset_name = source.dataset_name
        self.dataset_info = source.describe()
        self._offer_datasets()

    @after("load_datasets")
    def create_label_mappings(self) -> None:
        """Settle label names, ids, counts and class weights, and publish the prepared data."""
        from qwenkit.data.prepared import write_prepared
        from qwenkit.steps.own_data import map_labels
        from qwenkit.steps.summaries import show_prepared

        if self._books.has_users("labels") and list(self.labels) != self.config.model.labels:
            # The rows take their ids from this order, so they are labelled anew.
            self.load_datasets()
        if self._books.has_users(*DATASETS):
            self._prepare_users_rows()
        table = self._prepared.labels
        self._books.fill({**map_labels(table.names), "class_weights": table.class_weights})
        plan = self._books.plans[PREPARE.name]
        if self._books.must_make(plan, say=False):
            with self._books.publish(plan) as staging:
                write_prepared(staging.folder, self._prepared)
                staging.counts |= {**self._prepared.count_rows(), **(self.dataset_info or {})}
            show_prepared(self.console, self._prepared)
            self.console.success(f"wrote {plan.folder}")

    # ---- Tokenize ----

    @after("create_label_mappings")
    def setup_tokenizer(self) -> None:
        """Load the model's tokenizer, or train one on the train split; one that the user put in is kept."""
        if self._books.has_users("tokenizer"):
            return
        from qwenkit.steps.tokenizing import make_tokenizer, trains_tokenizer
        from qwenkit.tokens.tokenized import read_tokenizer

        if trains_tokenizer(self.config) and not self._books.must_make(self._plan_tokenize(), say=False):
            tokenizer = read_tokenizer(self._plan_tokenize().folder)
        else:
            tokenizer = make_tokenizer(self.config, self._prepared.splits, console=self.console)
        self._books.put("tokenizer", tokenizer)

    @after("setup_tokenizer")
    def tokenize_datasets(self) -> None:
        """Turn the splits into token ids, or take the tokenized ones where they are up to date."""
        from qwenkit.data.prepared import find_split
        from qwenkit.tokens.tokenized import read_tokenized, write_tokenized

        prepared = self._books.plans[PREPARE.name].folder
        plan = self._plan_tokenize()
        self.console.header("tokenize", str(plan.folder))
        if self._books.must_make(plan):
            with self._books.publish(plan) as staging:
                staging.counts |= write_tokenized(
                    staging.folder,
                    {split: find_split(prepared, split) for split in self._prepared.splits},
                    tokenizer=self.tokenizer,
                    settings=self.config.tokenization,
                    console=self.console,
                )
            self.console.success(f"wrote {plan.folder}")
        tokenized = read_tokenized(plan.folder)
        self._books.fill({name: tokenized[split] for name, split in zip(TOKENIZED, SPLITS, strict=True)})

    # ---- Train ----

    @after("tokenize_datasets")
    def setup_model(self) -> None:
        """Load the base model with a new score head, or the trained model where this run is finished.

        A model that the user put in is trained as it is, and kept beside what is trained on it.
        """
        from qwenkit.steps.base import choose_base, load_chosen
        from qwenkit.steps.settings import check_launcher, check_open_names

        own_metrics = "compute_metrics" in self.trainer_options
        self._loaded.require(check_open_names(self.config, own_metrics=own_metrics), self.config)
        own = self.model if self._books.has_users("model") else None
        self._base = choose_base(
            self.config, tokenizer=self.tokenizer, labels=self.labels, own_model=own, known=self._base
        )
        self._choose_run()
        if self.trained_folder is not None:
            self.load_trained(self.trained_folder)
        else:
            self._saved = self._bundle = None
            has_own_base = self._base.identity.kind == "own"
            self._loaded.require(check_launcher(self.config, has_own_base=has_own_base), self.config)
            self._books.put("model", load_chosen(self._base, self.config, labels=self.labels))

    @after("setup_model")
    def apply_lora(self) -> None:
        """Put the adapter on the model, or free all weights where peft is off."""
        from qwenkit.modeling.adapters import apply_adapter, count_trainable
        from qwenkit.steps.settings import check_metric_on_rows, check_reality
        from qwenkit.tokens.tokenized import read_numbers

        if self.trained_folder is not None or self.adapted_model is not None:
            return
        if not hasattr(self.model, "peft_config"):
            problems = check_reality(self.config, model=self.model, train_rows=len(self.train_tokenized))
            if self.val_tokenized is not None and "compute_metrics" not in self.trainer_options:
                problems += check_metric_on_rows(self.config, read_numbers(self.val_tokenized, "labels"))
            self._loaded.require(problems, self.config)
            training = self.config.training
            adapted = apply_adapter(
                self.model,
                self.config.peft,
                gradient_checkpointing=training.gradient_checkpointing,
                seed=training.seed,
            )
            self._books.put("model", adapted)
        self._adapted = self.model
        trainable, total = count_trainable(self.model)
        self.console.info(f"{trainable:,} of {total:,} parameters are trained ({trainable / total:.2%})")

    @after("apply_lora")
    def create_trainer(self) -> None:
        """Build the trainer; from here on the run's folder is locked for others."""
        from qwenkit.steps.active_run import open_run
        from qwenkit.steps.base import keep_own_base
        from qwenkit.training.build import build_trainer
        from qwenkit.training.plan import RunRecord

        if self.trained_folder is None:
            self._choose_run()
            if self.trained_folder is not None:
                # A setting or callback of the last moment made it a finished run: in hand is only its base.
                self.load_trained(self.trained_folder)
        if self.trained_folder is not None:
            return
        plan = self._books.plans[TRAIN.name]
        self.cleanup()
        self._tracker = self._resources.enter_context(
            open_run(
                self.run_folder,
                plan=plan,
                config=self.config,
                wandb_mode=self._wandb_mode,
                console=self.console,
            )
        )
        assert self._base is not None
        self._base = replace(self._base, own_folder=keep_own_base(self._base, self.model, self.run_folder))
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
            tracker=self._tracker,
            record=RunRecord(settings=plan.settings, inputs=plan.inputs, identity=plan.identity),
            write_extra=self._write_beside_weights,
            callbacks=self.callbacks,
            **self.trainer_options,
        )
        self._books.put("trainer", trainer)

    @after("create_trainer")
    def run_pre_evaluation(self) -> None:
        """Score the model before training, on the rows that the comparison afterwards will use."""
        from qwenkit.steps.labelled import sample_test_rows

        if not self.config.evaluation.run_pre_training_eval:
            return
        rows = sample_test_rows(
            self._prepared.splits["test"],
            self.test_tokenized,
            size=self.config.evaluation.pre_training_eval_samples,
            seed=self.config.evaluation.seed,
        )
        plan = self._plan_evaluation(self.run_folder / EVALUATE.folder / BEFORE, rows)
        self.console.header("evaluate before training", str(plan.folder))
        if self.trained_folder is not None and not plan.folder.exists():
            self.console.info("skipped: this run is trained already")
            return
        if self._books.must_make(plan):
            self._publish_evaluation(plan, rows, title=f"{self.run_folder.name} before training")
        self._books.put("pre_metrics", read_json(plan.folder / "metrics.json"))

    @after("create_trainer")
    def train(self) -> None:
        """Train, or go on from a checkpoint, and publish trained/ before anything after it can fail."""
        from qwenkit.steps.summaries import describe_work
        from qwenkit.steps.trained import publish_trained
        from qwenkit.training.checkpoints import resolve_resume

        plan = self._books.plans[TRAIN.name]
        self.console.header("train", str(plan.folder))
        if self.trained_folder is not None:
            self.console.info("up to date, skipped")
            return
        self._loaded.validate_again(self.config)
        # An interrupted run of the same settings goes on by itself: bit for bit what it would have been.
        is_fresh = self._books.is_forced(TRAIN)
        wanted = self.config.training.resume_from_checkpoint
        # Nobody asked for a checkpoint, so one of other settings is left where it lies.
        own = None if wanted else self.trainer.plan.record.fingerprint
        wanted = wanted or (None if is_fresh else "auto")
        checkpoint = resolve_resume(wanted, self.run_folder, fingerprint=own, warn=self.console.warn)
        if checkpoint is not None:
            hint = "" if self.config.training.resume_from_checkpoint else " (--force starts over)"
            self.console.info(f"going on from {checkpoint}{hint}")
        self.console.info(describe_work(self.trainer.args, self.train_tokenized))
        self.trainer.train(resume_from_checkpoint=checkpoint)
        bundle = self._make_bundle()
        self._bundle = publish_trained(
            plan,
            model=self.model,
            tokenizer=self.tokenizer,
            bundle=bundle,
            own_base=self._own_base_for(bundle),
            tokenized=self.val_tokenized,
            rows=self._prepared.splits["validation"],
            class_weights=self.class_weights,
            trainer=self.trainer,
            config=self.config,
            console=self.console,
        )
        self.trained_folder = plan.folder
        if self._tracker is not None and self.config.wandb.log_model == "end":
            seconds = self.config.wandb.upload_timeout
            self._tracker.upload_model(plan.folder, name=self.run_folder.name, timeout_seconds=seconds)

    # ---- Evaluate and export ----

    @after("load_config")
    def load_trained(self, path: str | Path | None = None, *, weights: bool = True) -> None:
        """Take a saved model instead of training one: a run, a checkpoint, an export, any classifier folder.

        Args:
            path: None takes the newest run under the root and says which.
            weights: False leaves model and tokenizer None until a step needs them: what was scored before is
                measured without them.
        """
        from qwenkit.modeling.loading import inspect_model
        from qwenkit.steps.own_data import map_labels

        self._saved = find_model(None if path is None else Path(path), self.workspace)
        self.console.header("model", f"{self._saved.folder}{'' if path else ' (the newest run)'}")
        self._bundle = inspect_model(self._saved.folder)
        self.trained_folder = self._saved.folder
        if self._saved.run is not None:
            self.run_folder = self._saved.run
        self._books.put("model", None)
        self._books.put("tokenizer", None)
        class_weights = self._saved.class_weights or self.class_weights
        self._books.fill({**map_labels(self._bundle.labels), "class_weights": class_weights})
        if weights:
            self._give_model()

    @after("train")
    def run_post_evaluation(
        self, *, split: str = "test", data: str | Path | None = None, out: Path | None = None
    ) -> None:
        """Score the trained model on all of the test split, on another split, or on any labelled file.

        Args:
            split: Of the data that it was trained from: test, or test_holdout_COLUMN (dataset.holdout).
            data: A labelled file instead of the test split that the model never saw.
            out: Folder for the results, instead of evaluated/ in the run.
        """
        from qwenkit.steps.provenance import write_commands
        from qwenkit.steps.tracked_evaluation import track_evaluation

        if self._saved is None and not self.config.evaluation.run_post_training_eval:
            return
        saved = self._saved or find_model(self.run_folder, self.workspace)
        rows = self._find_rows(saved, data, split)
        folder = out or saved.evaluation_folder(self.workspace, rows.name)
        plan = self._plan_evaluation(folder, rows, saved=saved)
        self.console.header("evaluate", f"{saved.folder} on {rows.title}")
        if out is not None:
            self._books.refuse_other_results(plan)
        if self._books.must_make(plan):
            before = saved.run / EVALUATE.folder / BEFORE if saved.run and rows.name is None else None
            self._publish_evaluation(
                plan,
                rows,
                title=f"{saved.title} on {rows.title}",
                before=before if before and (before / "predictions.parquet").is_file() else None,
                run=saved.run,
                validation_predictions=saved.validation_predictions,
                scored_passes=saved.scored_folder(self.workspace),
                may_reuse=not self._books.is_forced(EVALUATE),
                commands=write_commands(
                    plan,
                    saved,
                    root=self.config.paths.root,
                    split=split,
                    options={"--dataset": self._named["dataset"], "--data": data, "--out": out},
                ),
                track=partial(
                    track_evaluation,
                    tracker=self._tracker,
                    mode=self._wandb_mode,
                    folder=saved.run or self.workspace.root / "evaluations",
                    plan=plan,
                    config=self.config,
                    console=self.console,
                ),
            )
        self._books.put("post_metrics", read_json(plan.folder / "metrics.json"))

    @after("train")
    def write_raid_submission(
        self,
        path: Path,
        *,
        out: Path | None = None,
        detector_name: str | None = None,
        contact: str | None = None,
    ) -> None:
        """Score a file of the RAID benchmark and write what its leaderboard takes.

        Args:
            path: RAID's test.csv, or a file of its with labels, which is then scored as the leaderboard does.
            out: Folder for the results, instead of evaluated/ in the run.
        """
        from qwenkit.steps.raid import submit_to_raid

        submit_to_raid(
            path,
            saved=self._saved or find_model(self.run_folder, self.workspace),
            give_model=self._give_model,
            bundle=self._make_bundle(),
            out=out,
            detector_name=detector_name,
            contact=contact,
            config=self.config,
            workspace=self.workspace,
            books=self._books,
            console=self.console,
        )

    @after("train")
    def export(self, formats: Sequence[str] | None = None, *, out: Path | None = None) -> None:
        """Write the trained model for use elsewhere, each export compared with it on validation rows.

        Args:
            formats: adapter, merged, onnx, gguf; None takes export.formats.
            out: Folder for the exports, instead of exported/ in the run.
        """
        from qwenkit.steps.exporting import export_saved

        export_saved(
            self._saved or find_model(self.run_folder, self.workspace),
            formats or self.config.export.formats,
            out=out,
            config=self.config,
            workspace=self.workspace,
            books=self._books,
            console=self.console,
        )

    # ---- The end ----

    @after("train")
    def save_artifacts(self) -> None:
        """Publish the run's config.yaml and summary.json."""
        from qwenkit.metrics import flatten_metrics

        facts = {
            "dataset": self.dataset_info,
            "labels": list(self.labels),
            "pre_metrics": flatten_metrics(self.pre_metrics or {}, prefix=""),
            "post_metrics": flatten_metrics(self.post_metrics or {}, prefix=""),
        }
        if find_ranks().is_main:
            replace_file(self.run_folder / "config.yaml", config_to_yaml(self.config, comments=False))
            write_summary(self.run_folder, plan=self._books.plans[TRAIN.name], state="trained", **facts)

    @after("train")
    def print_summary(self) -> None:
        """Say what lies where."""
        self.console.table(self.run_folder.name, ["what", "where"], self._list_results(), numbers=False)

    def cleanup(self) -> None:
        """Close what is open (the W&B run, the lock on the run's folder); the pipeline can be run again."""
        self._tracker = None
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
    def adopted_model(self) -> Any:
        """The model, once setup_model() has seen it."""
        is_known = self._base is not None and self.model is self._base.own_model
        return self.model if is_known or not self._books.has_users("model") else None

    @property
    def adapted_model(self) -> Any:
        """The model, once its trainable weights are chosen."""
        return self.model if self.model is not None and self._adapted is self.model else None

    def _offer_datasets(self) -> None:
        offered = offer_datasets(self._prepared.splits)
        self._books.fill({name: offered[split] for name, split in zip(DATASETS, SPLITS, strict=True)})

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
        from qwenkit.data.augment import identify_paraphraser
        from qwenkit.data.prepare import prepare_splits
        from qwenkit.steps.own_data import identify_rows, name_splits

        rows = {name: getattr(self, name) for name in DATASETS}
        own = identify_paraphraser(self.config.dataset.augment)
        given = {name: each for name, each in rows.items() if each is not None}
        self._prepared = prepare_splits(name_splits(rows, self.config), **self._prepare_settings())
        name = self._dataset_folder if PREPARE.name in self._books.plans else "own"
        name = name if name == "own" or name.endswith("-own") else f"{name}-own"
        folder = self.workspace.prepared(name)
        self._books.plan(PREPARE, folder, config=self.config, identity={**identify_rows(given), **own})
        self.dataset_info = {"name": name, "kind": "memory", "origin": "memory"}
        self._offer_datasets()

    @property
    def _dataset_folder(self) -> str:
        return self._books.plans[PREPARE.name].folder.parent.name

    def _plan_tokenize(self) -> StagePlan:
        from qwenkit.steps.tokenizing import identify_tokenizer, name_tokenized

        folder = self.workspace.tokenized(self._dataset_folder, name_tokenized(self.config))
        is_users = self._books.has_users("tokenizer")
        identity = identify_tokenizer(self.tokenizer, self.config, is_users=is_users)
        return self._books.plan(TOKENIZE, folder, config=self.config, identity=identity)

    def _choose_run(self) -> None:
        """Settle what would be trained and where; a finished run of the same kind is taken as it is."""
        from qwenkit.steps.chosen_run import find_run_folder, identify_run
        from qwenkit.steps.own_code import identify_training_code
        from qwenkit.steps.own_data import check_label_maps

        names = self._prepared.labels.names
        check_label_maps(self.labels, self.label2id, self.id2label, prepared=names)
        assert self._base is not None
        has_own_rows = self._books.has_users(*TOKENIZED)
        identity = identify_run(
            base=self._base,
            labels=self.labels,
            class_weights=self.class_weights,
            dataset=self._dataset_folder,
            own_rows={name: getattr(self, name) for name in TOKENIZED} if has_own_rows else {},
            own_code=identify_training_code(
                type(self),
                QwenTrainingPipeline,
                names=STEPS,
                options=self.trainer_options,
                callbacks=self.callbacks,
            ),
        )
        seed = self.config.training.seed
        self.run_folder = find_run_folder(
            self._books.plan(TRAIN, Path(), config=self.config, identity=identity, seed=seed),
            config=self.config,
            workspace=self.workspace,
            is_forced=self._books.is_forced(TRAIN),
            known=self.run_folder,
            console=self.console,
        )
        folder = self.run_folder / TRAIN.folder
        plan = self._books.plan(TRAIN, folder, config=self.config, identity=identity, seed=seed)
        self.trained_folder = None if self._books.must_make(plan, say=False) else plan.folder

    def _make_bundle(self) -> "Bundle":
        """Describe the model in hand, for qwenkit.json."""
        from qwenkit.steps.trained import describe_model

        if self._bundle is not None:
            return self._bundle
        assert self._base is not None
        return describe_model(
            self.model,
            base=self._base,
            labels=self.labels,
            config=self.config,
            computes_in_bf16=self.trainer.args.bf16,
        )

    def _give_model(self) -> tuple[Any, Any]:
        """Hand out model and tokenizer; those of a saved model are read when they are first needed."""
        from qwenkit.modeling.loading import load_model

        if self.model is None and self._saved is not None:
            loaded = load_model(self._saved.folder)
            self._books.put("model", loaded.model)
            self._books.put("tokenizer", loaded.tokenizer)
        return self.model, self.tokenizer

    def _write_beside_weights(self, folder: Path) -> None:
        """Make a checkpoint a model folder."""
        from qwenkit.steps.trained import write_beside_weights

        bundle = self._make_bundle()
        write_beside_weights(
            folder, tokenizer=self.tokenizer, bundle=bundle, own_base=self._own_base_for(bundle)
        )

    def _own_base_for(self, bundle: "Bundle") -> Path | None:
        return self._base.own_folder if self._base is not None and bundle.kind == "adapter" else None

    def _find_rows(self, saved: SavedModel, data: str | Path | None, split: str) -> "LabelledSet":
        """Choose what a saved model is scored on: a file, the set of --dataset, or a split of its own."""
        from qwenkit.steps.labelled import find_own_split, name_classes, read_labelled_file, read_test_split

        if data is not None:
            return read_labelled_file(
                data,
                saved,
                bundle=self._make_bundle(),
                config=self.config,
                workspace=self.workspace,
                console=self.console,
            )
        if self._saved is not None and not self._names_own_data(saved):
            self.config.model = name_classes(self.config.model, self._make_bundle())
            self.load_datasets()
            self.create_label_mappings()
            return read_test_split(self._books.plans[PREPARE.name].folder, saved, split)
        if split == "train":
            self.console.warn("these are the rows that the model learned from: they say little of new text.")
        rows = find_own_split(saved, self.workspace, split)
        is_at_hand = self._saved is None and split == "test"
        return replace(rows, tokenized=self.test_tokenized) if is_at_hand else rows

    def _names_own_data(self, saved: SavedModel) -> bool:
        """Tell whether the data set is the one that the model learned from: its split must stay as it was."""
        from qwenkit.steps.source import find_source, refuse_other_origin

        if self._named["dataset"] is None:
            return True
        if PREPARE.name in self._books.plans:
            return self._dataset_folder == saved.dataset
        source = find_source(self.config, workspace=self.workspace, console=self.console)
        refuse_other_origin(self.workspace.prepared(source.folder_name), source.origin)
        return source.folder_name == saved.dataset

    def _plan_evaluation(
        self, folder: Path, rows: "LabelledSet", *, saved: SavedModel | None = None
    ) -> StagePlan:
        model = self._books.plans[TRAIN.name].fingerprint if saved is None else saved.fingerprint
        return self._books.plan(
            EVALUATE,
            folder,
            config=self.config,
            inputs={TRAIN.name: model, **rows.inputs},
            identity={"is_trained": saved is not None, **rows.identity},
        )

    def _publish_evaluation(self, plan: StagePlan, rows: "LabelledSet", **more: Any) -> None:
        from qwenkit.steps.evaluating import publish_evaluation

        publish_evaluation(
            plan,
            rows,
            give_model=self._give_model,
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
