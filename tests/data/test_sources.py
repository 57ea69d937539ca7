"""A data set's name leads to one place, and to an identity that changes with the content and nothing else."""

from pathlib import Path

import pytest

from qwenkit.data.sources import ALIASES, dataset_id, resolve_source
from qwenkit.errors import ConfigError, DataError, HubError


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "my texts.csv"
    path.write_text("text,label\na,A\n")
    return path


def test_aliases_stand_for_the_published_sets() -> None:
    assert dataset_id("10k") == "codefactory4791/raid_aligned_10k"
    assert dataset_id("100k") == "codefactory4791/raid_aligned_100k"
    assert dataset_id("1M") == "codefactory4791/raid_aligned_1000k"
    assert dataset_id("2M") == "codefactory4791/raid_aligned_2000k"
    assert dataset_id("owner/name") == "owner/name"


@pytest.mark.parametrize("alias", ALIASES)
def test_alias_is_asked_of_the_hub_under_its_full_name(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Offline and with an empty cache the hub layer names the repo that it lacks.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nonexistent")
    with pytest.raises(HubError, match=ALIASES[alias]):
        resolve_source(alias)


def test_file_is_named_by_its_stem_and_known_by_its_content(csv: Path, tmp_path: Path) -> None:
    source = resolve_source(str(csv))
    assert (source.kind, source.folder_name, source.dataset_name) == ("file", "my_texts", str(csv))
    assert source.origin == str(csv.resolve())
    copy = tmp_path / "elsewhere" / "other.csv"
    copy.parent.mkdir()
    copy.write_bytes(csv.read_bytes())
    assert resolve_source(str(copy)).identity == source.identity
    assert resolve_source(str(copy)).origin != source.origin
    csv.write_text("text,label\nb,A\n")
    assert resolve_source(str(csv)).identity != source.identity


def test_folder_is_known_by_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\na,A\n")
    before = resolve_source(f"{folder}/")
    assert (before.kind, before.folder_name) == ("folder", "set")
    (folder / "README.md").write_text("not data")
    assert resolve_source(str(folder)).identity == before.identity
    (folder / "train.csv").rename(folder / "test.csv")
    assert resolve_source(str(folder)).identity != before.identity


def test_existing_path_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "owner" / "name" / "a.csv").write_text("text,label\na,A\n")
    monkeypatch.chdir(tmp_path)
    assert resolve_source("owner/name").kind == "folder"


def test_bare_alias_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "a.csv").write_text("text,label\na,A\n")
    monkeypatch.chdir(tmp_path)
    assert resolve_source("demo").kind == "demo"
    assert resolve_source("./demo").kind == "folder"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (None, ConfigError, "no data set is named. Set dataset.name or --dataset."),
        ("  ", ConfigError, "no data set is named"),
        ("100K", ConfigError, "Did you mean 100k?"),
        ("1m", ConfigError, "Did you mean 1M?"),
        ("demmo", ConfigError, "Did you mean demo?"),
        ("imdb", ConfigError, "a hub id (owner/name), or a path to a .csv"),
        ("a b/c", ConfigError, "is no known data set, no file or folder here, and no hub id"),
        ("data/rows.csv", DataError, "data/rows.csv does not exist (looked in "),
        ("rows.parquet", DataError, "does not exist"),
        ("./set", DataError, "does not exist"),
        ("a/b/c", DataError, "does not exist"),
        ("bad\x1b[31m", ConfigError, "\\u001b"),
    ],
)
def test_name_that_leads_nowhere_is_explained(
    name: str | None, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as raised:
        resolve_source(name)
    assert message in str(raised.value)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.xlsx"
    path.write_text("x")
    with pytest.raises(DataError, match=r"has \.xlsx; data files are \.csv"):
        resolve_source(str(path))
