"""All settings: schema, loading, checks, and writing them out. Needs pydantic and PyYAML, nothing heavier."""

from qwenkit.config.checks import check_config, check_metric, check_names
from qwenkit.config.checks_before_training import Machine, check_before_training
from qwenkit.config.loading import LoadedConfig, find_shipped_config, load_config, shipped_configs
from qwenkit.config.problems import ConfigProblem
from qwenkit.config.reference import (
    config_json_schema,
    config_reference,
    config_to_markdown,
    config_to_yaml,
)
from qwenkit.config.schema import Config, flatten_config, runtime_only_settings, setting_names
from qwenkit.errors import ConfigError

__all__ = [
    "Config",
    "ConfigError",
    "ConfigProblem",
    "LoadedConfig",
    "Machine",
    "check_before_training",
    "check_config",
    "check_metric",
    "check_names",
    "config_json_schema",
    "config_reference",
    "config_to_markdown",
    "config_to_yaml",
    "find_shipped_config",
    "flatten_config",
    "load_config",
    "runtime_only_settings",
    "setting_names",
    "shipped_configs",
]
