"""Whatever stands in a file, on the command line or in code: a valid config or one clear error, no crash."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qwenkit.config import (
    Config,
    ConfigError,
    LoadedConfig,
    check_config,
    config_to_yaml,
    find_shipped_config,
    flatten_config,
    load_config,
    setting_names,
    shipped_configs,
)
from qwenkit.config.legacy import DROPPED, RENAMED
from qwenkit.config.options import NAMED_OPTIONS

KNOWN = [
    *setting_names(),
    *DROPPED,
    *RENAMED,
    "training.report_to",
    "misc.trust_remote_code",
    "training.hub_token",
]
KEYS = sorted({part for name in KNOWN for part in name.split(".")})

words = st.sampled_from(
    ["1e-4", ".inf", "1e999", "no", "", "~", "012", "&a x", "*a", "<<", "!!int 1", "a: b", "\t", '"\\ud800"']
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), words)
# Fits many settings, so that valid configs are drawn as well.
small = st.sampled_from([1, 2, 500, 1.5, 0.5, True, "nf4", "auto", None])
lists = st.lists(scalars, max_size=3)
values = (
    scalars
    | lists
    | st.lists(lists, max_size=2)
    | st.dictionaries(st.text(max_size=4), scalars | lists, max_size=3)
)
names = st.sampled_from(KNOWN) | st.text(max_size=12)
# The shapes of a real file: known sections and keys mostly, with anything in any place.
sections = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), values, max_size=5)
trees = st.dictionaries(st.sampled_from(KEYS), sections | values, max_size=5)
lines = st.lists(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n\t\\0e.<~", max_size=30), max_size=8).map(
    "\n".join
)

fuzz = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def load_or_refuse(source: Path | None, **options: object) -> None:
    """Load; what comes out is valid and loads again as it is written, or it is one error with a message."""
    try:
        loaded = load_config(source, **options)  # type: ignore[arg-type]
    except ConfigError as error:
        assert all(char.isprintable() or char == "\n" for char in str(error))
        return
    assert isinstance(loaded, LoadedConfig)
    assert check_config(loaded.config) == []
    loaded.validate_again()
    again = Path("again.yaml")
    again.write_text(config_to_yaml(loaded.config, comments=True), encoding="utf-8")
    assert flatten_config(load_config(again).config) == flatten_config(loaded.config)


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@fuzz
@example(b"\xef\xbb\xbftraining: {seed: 1}")
@example(b'"\\UFFFFFFFF": 1')
@example(b"? [a]\n: b\n")
@given(st.binary(max_size=200) | lines.map(str.encode))
def test_any_bytes_are_a_config_or_an_error(content: bytes) -> None:
    Path("my.yaml").write_bytes(content)
    load_or_refuse(Path("my.yaml"))


@fuzz
@given(
    st.sampled_from(sorted(shipped_configs())),
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 40), words | st.text(max_size=6)), max_size=3),
)
def test_any_edit_of_a_shipped_config_is_a_config_or_an_error(
    name: str, edits: list[tuple[int, int, str]]
) -> None:
    text = find_shipped_config(name).read_text(encoding="utf-8")
    for place, length, inserted in edits:
        at = place % len(text)
        text = text[:at] + inserted + text[at + length :]
    Path("my.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    load_or_refuse(Path("my.yaml"))


@fuzz
@given(trees)
def test_any_structure_is_a_config_or_an_error(tree: dict[str, object]) -> None:
    Path("my.yaml").write_text(
        yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8", errors="surrogatepass"
    )
    load_or_refuse(Path("my.yaml"))


@fuzz
@given(
    st.lists(st.builds("{}={}".format, names, words | small) | st.text(max_size=12), max_size=2),
    st.dictionaries(st.sampled_from([*NAMED_OPTIONS, "quantization"]) | names, small | values, max_size=2),
)
def test_any_options_are_a_config_or_an_error(overrides: list[str], named: dict[str, object]) -> None:
    load_or_refuse(None, overrides=overrides, named=named)


@fuzz
@given(st.sampled_from(setting_names()), values)
def test_any_assignment_is_taken_or_refused_whole(name: str, value: object) -> None:
    config = Config()
    before = flatten_config(config)
    *path, key = name.split(".")
    section = config
    for each in path:
        section = section[each]
    try:
        section[key] = value
    except ConfigError:
        assert flatten_config(config) == before
    else:
        changed = {each for each, now in flatten_config(config).items() if now != before[each]}
        assert changed <= {name}
