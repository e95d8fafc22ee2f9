"""What makes a test a property: 100 examples, none of which sees what another one stored."""

import functools
from collections.abc import Callable
from typing import Any

from django.db import transaction
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy

Test = Callable[..., None]

EXAMPLES = 100


def for_all(**strategies: SearchStrategy[Any]) -> Callable[[Test], Test]:
    """Try a test with 100 examples, each in a transaction of its own that is undone at the end."""

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def try_and_undo(*args: Any, **kwargs: Any) -> None:
            example = transaction.atomic()
            # As Django marks its own, so that what has to be durable counts as that.
            example._from_testcase = True  # type: ignore[attr-defined]
            with example:
                test(*args, **kwargs)
                transaction.set_rollback(True)

        return for_all_committed(**strategies)(try_and_undo)

    return decorate


def for_all_committed(**strategies: SearchStrategy[Any]) -> Callable[[Test], Test]:
    """Try a test with 100 examples that really commit; each has to clear away what it stored."""

    def decorate(test: Test) -> Test:
        return settings(max_examples=EXAMPLES)(given(**strategies)(test))

    return decorate
