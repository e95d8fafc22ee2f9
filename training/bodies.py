"""The bodies of requests that steer: dataclasses whose fields check themselves, read in one way."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from training.fields import Problems, check_object, schema_of
from training.spec import InvalidConfig


class Body:
    """What a client sends; the fields are those of the dataclass that derives from this."""

    SHAPE: ClassVar[str] = "a JSON object"
    # What further_problems() asks for beside the single fields, as a JSON Schema.
    FURTHER: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def read(cls, data: object) -> Self:
        """What was sent. Raises InvalidConfig, which names every member that is wrong."""
        if not isinstance(data, Mapping):
            raise InvalidConfig({"non_field_errors": [f"the body must be {cls.SHAPE}"]})
        values, problems = check_object(cls, data)
        problems |= cls.further_problems(values, problems)
        if problems:
            raise InvalidConfig(problems)
        return cls(**values)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON Schema of what read() takes."""
        return {**schema_of(cls), **cls.FURTHER}

    @classmethod
    def further_problems(cls, values: Mapping[str, Any], problems: Problems) -> Problems:
        """What is wrong beside the single fields: with the values that are right, and where `problems` were found."""
        return {}
