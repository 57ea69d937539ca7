"""What all sections share: strict types, access by attribute and by item, and errors that name the setting.

Types are strict because YAML guesses: `no`, `012` and `1e-4` each have a trap. An int may stand for a float;
a bool is never a number, and no number is text.
"""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from qwenkit.config.problems import config_error, problems_of, unknown_setting

RUNTIME_ONLY: dict[str, Any] = {"runtime_only": True}
"""Marks a field that changes where, how fast or whether something is made, not what: in no fingerprint."""


class Section(BaseModel):
    """A group of settings: `section.key` and `section["key"]` are the same, each assignment is checked."""

    model_config = ConfigDict(
        extra="forbid",
        validate_assignment=True,
        use_attribute_docstrings=True,
        strict=True,
        allow_inf_nan=False,
    )
    section_name: ClassVar[str] = ""

    def __getitem__(self, key: str) -> Any:
        self._require(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __contains__(self, key: object) -> bool:
        # Without this `in` would search the (name, value) pairs that pydantic iterates over, and say no.
        return key in type(self).model_fields

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self._require(name)
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            known = [each for each, _ in iterate_fields(type(self))]
            raise config_error("the config", problems_of(error, known, section=self.section_name)) from None

    def _require(self, key: str) -> None:
        if key in type(self).model_fields:
            return
        prefix = f"{self.section_name}." if self.section_name else ""
        known = [f"{prefix}{each}" for each in type(self).model_fields]
        raise config_error("the config", [unknown_setting(f"{prefix}{key}", known)])


def iterate_fields(kind: type[Section]) -> Iterator[tuple[str, FieldInfo]]:
    """Walk all settings below a section: dotted name and field, sections themselves left out."""
    for key, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            for name, inner in iterate_fields(field.annotation):
                yield f"{key}.{name}", inner
        else:
            yield key, field


def iterate_settings(section: Section) -> Iterator[tuple[str, Any]]:
    """Walk all settings below a section: dotted name and value as it stands, checked or not."""
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Section):
            for name, inner in iterate_settings(value):
                yield f"{key}.{name}", inner
        else:
            yield key, value


def read_bool_word(value: Any) -> Any:
    """Take the words that YAML 1.1 files write: where a boolean is expected there is no doubt about them."""
    words = {"yes": True, "on": True, "no": False, "off": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


def _refuse_broken_text(value: str) -> str:
    # Both pass every check here and fail much later: NUL in a file name, a lone surrogate when it is written.
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("expected text of whole characters, without NUL")
    return value


def _spell_keys(value: Any) -> Any:
    """Write the keys of a mapping as a file has them; in Python one types {0: ...} and {True: ...}."""
    if not isinstance(value, dict):
        return value
    return {str(key).lower() if isinstance(key, bool) else str(key): name for key, name in value.items()}


Flag = Annotated[bool, BeforeValidator(read_bool_word)]
Text = Annotated[str, AfterValidator(_refuse_broken_text)]
Name = Annotated[str, Field(min_length=1), AfterValidator(_refuse_broken_text)]
# An empty list is often written as null.
Names = Annotated[list[Name], BeforeValidator(lambda value: [] if value is None else value)]
# None drops the rows of a value.
NamesByValue = Annotated[dict[Name, Name | None], BeforeValidator(_spell_keys)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
