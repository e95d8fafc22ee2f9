"""The regular chores: scheduled once, each a function that exists."""

from pydoc import locate

import pytest
from django_q.models import Schedule

from training.watch import CHORES, schedule_chores

pytestmark = pytest.mark.django_db


def test_every_chore_is_scheduled_once_and_a_change_by_hand_stays() -> None:
    schedule_chores()
    Schedule.objects.update(schedule_type=Schedule.DAILY)
    schedule_chores()
    assert dict(Schedule.objects.values_list("name", "func")) == CHORES
    assert {schedule.schedule_type for schedule in Schedule.objects.all()} == {Schedule.DAILY}


@pytest.mark.parametrize("function", CHORES.values())
def test_every_chore_can_be_called(function: str) -> None:
    assert callable(locate(function))
    assert locate(function)() == 0  # type: ignore[operator]
