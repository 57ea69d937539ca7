"""Where a run's numbers go: metrics.jsonl always, Weights & Biases where it is on.

Training must not notice the service: when it cannot be reached the run goes on offline, and a failing call
switches it off with one warning.
"""

import html
import io
import json
import netrc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qwenkit.console import Console, safe_text
from qwenkit.errors import ConfigError, QwenkitError
from qwenkit.files import replace_file
from qwenkit.model_upload import name_artifact, upload_model

INIT_TIMEOUT_SECONDS = 10
# It refuses a run whose tag is longer, as that of a data set with a long name is.
MOST_TAG_CHARACTERS = 64
WANDB_URL = "https://api.wandb.ai"
_MODES = ("online", "offline", "disabled", "shared")
# The service's older names, which it still takes.
_PLAIN_MODES = {"dryrun": "offline", "run": "online"}


class MetricsLog:
    """metrics.jsonl: one JSON object a logged step, appended, so that a kill loses one line at most."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line; numbers that are not finite become null, since JSON has none."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({name: _plain_number(value) for name, value in record.items()}) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Read all whole lines; one cut by a kill is left out."""
        if not self.path.is_file():
            return []
        records = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def truncate_after(self, step: int) -> None:
        """Drop what was logged after `step`, which a resumed run will log again; 0 starts the file afresh."""
        kept = [record for record in self.read() if step > 0 and record.get("step", 0) <= step]
        if self.path.exists():
            replace_file(self.path, "".join(json.dumps(record) + "\n" for record in kept))


class Tracker:
    """Takes what training logs; owns the run's metrics.jsonl and, where there is one, the W&B run."""

    def __init__(self, log: MetricsLog, *, console: Console, wandb_run: Any = None) -> None:
        self._log = log
        self._console = console
        self._wandb_run = wandb_run

    @property
    def is_watched(self) -> bool:
        """Whether a W&B run takes what is shown."""
        return self._wandb_run is not None

    def log(self, record: Mapping[str, Any], *, step: int) -> None:
        """Record one logged step."""
        self._log.append({"step": step, **record})
        if self._wandb_run is not None:
            self._tell_wandb(self._wandb_run.log, dict(record), step=step)

    def restart_from(self, step: int) -> None:
        """Forget what was logged after the step that training resumes from."""
        self._log.truncate_after(step)

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Put final figures on the W&B run's summary."""
        if self._wandb_run is not None:
            self._tell_wandb(self._wandb_run.summary.update, dict(values))

    def show_images(self, images: Mapping[str, tuple[bytes, str]]) -> None:
        """Put figures on the W&B run, by name: a PNG and its caption."""
        if not self.is_watched:
            return
        import wandb
        from PIL import Image

        found = {
            name: wandb.Image(Image.open(io.BytesIO(png)), caption=caption)
            for name, (png, caption) in images.items()
        }
        self._tell_wandb(self._wandb_run.log, found)

    def show_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Put a table on the W&B run, as HTML: for a table of its own W&B first waits for the service."""
        if not self.is_watched:
            return
        import wandb

        lines = [_lay_out_row(columns, "th"), *(_lay_out_row(row, "td") for row in rows)]
        self._tell_wandb(self._wandb_run.log, {name: wandb.Html(f"<table>{''.join(lines)}</table>")})

    def upload_model(self, folder: Path, *, name: str, timeout_seconds: float) -> None:
        """Upload a model folder as an artifact, in the project and group of the W&B run.

        Args:
            timeout_seconds: Wait no longer; then a command to type is shown.
        """
        run = self._wandb_run
        if run is None:
            return
        artifact = name_artifact(name)
        if run.offline:
            # Kept among the run's files; `wandb sync` sends it with them.
            self._tell_wandb(run.log_model, path=str(folder), name=artifact)
            return
        self._console.info(f"Weights & Biases: uploading the model as {artifact}")
        problem = upload_model(
            folder,
            name=artifact,
            project=f"{run.entity}/{run.project}",
            group=run.group or run.name,
            timeout_seconds=timeout_seconds,
        )
        if problem is not None:
            self._console.warn(f"Weights & Biases: {problem}")

    def finish(self) -> None:
        """Close the W&B run, as failed where an exception is on its way; safe to call twice."""
        if self._wandb_run is not None:
            self._tell_wandb(self._wandb_run.finish, exit_code=int(sys.exception() is not None))
        self._wandb_run = None

    def _tell_wandb(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            call(*args, **kwargs)
        except TimeoutError:
            unsent = Path(self._wandb_run.dir).parent
            self._wandb_run = None
            self._console.warn(
                f"Weights & Biases is too slow to wait for: `wandb sync {unsent}` sends the rest."
            )
        except QwenkitError:
            # A signal's, which came meanwhile.
            raise
        except Exception as error:  # its errors have no base in common, and none may end a training
            self._wandb_run = None
            reason = str(error) or type(error).__name__
            self._console.warn(f"Weights & Biases failed and is off for the rest of this run: {reason}")


def choose_wandb_mode(mode: str | None) -> str:
    """Pick online where a key is at hand and offline where none is, unless the user decided.

    Raises:
        ConfigError: The environment asks for a mode that there is not.
    """
    wanted = mode or os.environ.get("WANDB_MODE") or ("online" if _has_wandb_login() else "offline")
    chosen = _PLAIN_MODES.get(wanted, wanted)
    if chosen not in _MODES:
        raise ConfigError(
            f'the environment variable WANDB_MODE is "{safe_text(wanted, limit=40)}"; expected '
            f"{', '.join(_MODES)}: set it to one of these, or unset it."
        )
    return chosen


def _has_wandb_login() -> bool:
    """Look where `wandb login` leaves its key; wandb's own look-up asks for it, or asks the server."""
    if any(os.environ.get(name) for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or WANDB_URL).netloc
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path.home() / name for name in (".netrc", "_netrc")]:
        with suppress(OSError, netrc.NetrcParseError):
            if netrc.netrc(path).authenticators(host):
                return True
    return False


def start_wandb(
    *,
    folder: Path,
    project: str,
    entity: str | None,
    name: str,
    tags: Sequence[str],
    notes: str | None,
    mode: str,
    config: Mapping[str, Any],
    console: Console,
    group: str | None = None,
    job_type: str | None = None,
    init_timeout_seconds: int | None = None,
    finish_timeout_seconds: int = 0,
) -> Any:
    """Open a W&B run under `folder`/wandb, falling back to offline when the service does not answer.

    Args:
        finish_timeout_seconds: Wait no longer for uploads at the end, what is left stays in `folder`/wandb;
            0 waits until all is there.

    Returns:
        The W&B run; None where not even an offline one can be had, which has been told then.
    """
    # Its reports of errors to a third service wait for that one when the program ends, 10 s and more.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb
    from pydantic import ValidationError

    folder.mkdir(parents=True, exist_ok=True)
    arguments: dict[str, Any] = {
        "dir": str(folder),
        "project": project,
        "entity": entity,
        "name": name,
        "tags": [tag[:MOST_TAG_CHARACTERS] for tag in tags if tag],
        "notes": notes,
        "config": dict(config),
        "group": group,
        "job_type": job_type,
        "reinit": "create_new",
    }
    settings: dict[str, Any] = {"silent": True, "console": "off", "disable_git": True}
    settings["init_timeout"] = init_timeout_seconds or INIT_TIMEOUT_SECONDS
    settings |= {"finish_timeout": finish_timeout_seconds, "finish_timeout_raises": True}
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            return wandb.init(mode=attempt, settings=wandb.Settings(**settings), **arguments)  # type: ignore[arg-type]
        except (wandb.Error, OSError) as error:
            reason = str(error).partition("\n")[0]
            if attempt == "offline":
                console.warn(f"Weights & Biases is off for this run: {reason}")
            else:
                console.warn(f"Weights & Biases cannot be reached ({reason}); this run is recorded offline.")
        except ValidationError as error:
            # Its own settings, as from WANDB_BASE_URL, are wrong; offline they would be too.
            wrong = error.errors()[0]
            named = ".".join(map(str, wrong["loc"]))
            console.warn(f"Weights & Biases is off for this run: {named}: {wrong['msg']}")
            break
    return None


def _lay_out_row(cells: Sequence[Any], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def _plain_number(value: Any) -> Any:
    if isinstance(value, float) and value not in (float("inf"), float("-inf")) and value == value:
        return value
    return None if isinstance(value, float) else value
