"""Which packages, in which versions, a result was made with."""

from functools import cache
from importlib import metadata

RECORDED_PACKAGES = (
    "qwenkit",
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "bitsandbytes",
    "datasets",
    "accelerate",
    "polars",
    "scikit-learn",
    "numpy",
)


@cache
def package_versions() -> dict[str, str]:
    """List the versions of the packages that decide a result."""
    versions = {}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
