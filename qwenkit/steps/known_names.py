"""Names in the config held against the lists of what there is, first of all: nothing heavy is imported."""

from qwenkit.config import Config, check_names
from qwenkit.config.problems import ConfigProblem
from qwenkit.export.formats import FORMATS
from qwenkit.text.attacks import ATTACKS, BY_MODEL
from qwenkit.text.normalize import RULES


def check_known_names(config: Config) -> list[ConfigProblem]:
    """Find rules of normalisation, attacks and export formats that do not exist."""
    return check_names(config, rules=RULES, attacks=[*ATTACKS, *BY_MODEL], formats=FORMATS)
