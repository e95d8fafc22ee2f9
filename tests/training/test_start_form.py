"""The form that starts a session: without a script it queues what the API would, or says beside each field why not."""

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from authkeys.models import AuthLog
from registry.models import Dataset
from tests.configuration_page import PAGE
from tests.training.conftest import CONFIG, MakeSession
from tests.training.test_restart import save_checkpoint
from training import installation
from training.catalogue import Architecture
from training.fields import fields_of
from training.form_fields import read_number
from training.forms import FIRST, MORE, ConfigurationForm
from training.installation import CatalogueUnavailable, Installation, catalogue
from training.models import TrainingSession
from training.restart import CHANGEABLE
from training.spec import EarlyStopping, SchedulerArgs, TrainingConfig
from training.state import State

pytestmark = pytest.mark.django_db

PAGE_OF_FORM = "/admin/training/trainingsession/start/"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def staff(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def as_form(config: dict[str, Any]) -> dict[str, Any]:
    """What a browser sends for a configuration: the form as it comes, with these values typed into it."""
    form = ConfigurationForm(catalogue=catalogue())
    sent = {}
    for name in form.fields:
        value = form[name].value()
        if value is not False:  # a box without its tick is not sent
            sent[name] = "on" if value is True else value
    return sent | config


def errors_beside(page: str) -> dict[str, str]:
    """Field → what stands below it."""
    found = re.findall(r'<ul id="id_([\w.-]+)_error"[^>]*>(.*?)</ul>', page, re.DOTALL)
    return {name: unescape(re.sub("<.*?>", " ", text)).strip() for name, text in found if text.strip()}


def queue(client: Client, **typed: Any) -> TrainingSession:
    before = set(TrainingSession.objects.values_list("pk", flat=True))
    answer = client.post(PAGE_OF_FORM, as_form(typed))
    assert answer.status_code == 302, errors_beside(answer.text)
    session = TrainingSession.objects.exclude(pk__in=before).get()
    assert answer["Location"] == f"/admin/training/trainingsession/{session.pk}/change/"
    return session


def test_every_field_has_its_place_in_the_form_under_the_heading_of_the_documentation() -> None:
    names = [*FIRST, *(name for names in MORE.values() for name in names)]
    assert sorted([*names, "model_args"]) == sorted(field.name for field in fields_of(TrainingConfig))
    sections = re.split("^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    documented = {text.partition("\n")[0]: tuple(re.findall(r"^\| `(\w+)`", text, re.MULTILINE)) for text in sections}
    assert {title: documented[title] for title in MORE} == MORE


def test_a_session_is_started_with_what_was_typed(staff: Client, dataset: Dataset) -> None:
    session = queue(staff, **{name: str(value) for name, value in CONFIG.items()})
    assert session.config == TrainingConfig.from_json(CONFIG).as_dict()
    assert session.transitions.get().by == "user:root"
    page = staff.get(PAGE_OF_FORM).text
    assert f"Session {session} is queued at position 1." in page


def test_every_kind_of_field_is_read(staff: Client, dataset: Dataset) -> None:
    typed = {
        **CONFIG,
        "model_args.mlp.width": "64",
        "model_args.mlp.dropout": ".5",
        "model_args.lstm.width": "not of this architecture",
        "deterministic": "on",
        "seed": str(2**63 - 1),
        "class_weights": '{"0": 2, "1": 1.5}',
        "scheduler": "cosine",
        "scheduler_args.final_fraction": "1e-2",
        "early_stopping": "on",
        "early_stopping.patience": "7",
        "freeze": "network.0.*\nnetwork.1.*",
        "tags": f"first, of all\n\n{HOSTILE}",
        "notes": "two\nlines",
    }
    config = queue(staff, **typed).config
    assert config["model_args"] == {"width": 64, "dropout": 0.5}
    assert (config["deterministic"], config["seed"]) == (True, 2**63 - 1)
    assert config["class_weights"] == {"0": 2, "1": 1.5}
    assert (config["scheduler"], config["scheduler_args"]["final_fraction"]) == ("cosine", 0.01)
    assert config["early_stopping"] == {"metric": "val_loss", "patience": 7, "min_delta": 0, "keep_best": True}
    assert config["freeze"] == ["network.0.*", "network.1.*"]
    assert config["tags"] == ["first, of all", HOSTILE]
    assert config["notes"].splitlines() == ["two", "lines"]


def test_the_arguments_of_any_architecture_are_read(
    staff: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = {
        "norm": {"enum": ["batch", "layer", None], "default": "batch"},
        "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": 9, "default": 3},
        "tied": {"type": ["boolean", "null"], "default": None},
        "sizes": {"type": "array", "items": {"type": "integer"}, "default": [64, 32]},
        "label": {"type": "string", "default": HOSTILE},
        "bias": {"type": "boolean", "default": True},
    }
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    entry = Architecture("of.mine", ("rows",), schema, HOSTILE, "nets 1.0")
    monkeypatch.setattr(installation, "installation", lambda: Installation({"of.mine": entry}, ()))
    page = staff.get(PAGE_OF_FORM).text
    assert HOSTILE not in page
    assert unescape(page).count(HOSTILE) > 1
    typed = {**CONFIG, "model_architecture": "of.mine"}
    assert queue(staff, **typed).config["model_args"] == {"norm": "batch", "tied": None, "bias": True}
    more = {"norm": "null", "limit": "null", "tied": "true", "sizes": "8, 4", "label": "ours"}
    typed |= {f"model_args.of.mine.{name}": text for name, text in more.items()}
    wanted = {"norm": None, "limit": None, "tied": True, "sizes": [8, 4], "label": "ours", "bias": True}
    assert queue(staff, **typed).config["model_args"] == wanted
    wrong = staff.post(PAGE_OF_FORM, as_form(typed | {"model_args.of.mine.limit": "10"}))
    assert errors_beside(wrong.text) == {"model_args.of.mine.limit": "model_args.limit must be between 1 and 9"}


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"learning_rate": "5"}, "learning_rate", "learning_rate must be between 0.0001 and 1.0"),
        ({"learning_rate": "much"}, "learning_rate", "learning_rate must be a number"),
        ({"learning_rate": ""}, "learning_rate", "learning_rate is required"),
        ({"epochs": "1.5"}, "epochs", "epochs must be an integer"),
        ({"epochs": "9" * 5000}, "epochs", "epochs must be an integer"),
        ({"dataset_name": ""}, "dataset_name", "dataset_name is required"),
        ({"dataset_name": HOSTILE}, "dataset_name", f"dataset_name: no dataset is registered as {HOSTILE!r}"),
        ({"model_architecture": "cnn"}, "model_architecture", "cnn takes images, and this dataset holds rows"),
        ({"model_args.mlp.width": "0"}, "model_args.mlp.width", "model_args.width must be between"),
        ({"model_args.mlp.depth": HOSTILE}, "model_args.mlp.depth", "model_args.depth must be of type integer"),
        ({"optimizer": "adam", "momentum": "0.5"}, "momentum", "adam has none"),
        ({"scheduler_args.factor": "2"}, "scheduler_args.factor", "scheduler_args.factor must be between"),
        ({"early_stopping": "on", "early_stopping.patience": "0"}, "early_stopping.patience", "must be between"),
        ({"class_weights": "{"}, "class_weights", "class_weights must be an object or balanced"),
        ({"class_weights": "[" * 100_000}, "class_weights", "class_weights must be an object or balanced"),
        ({"tags": "x" * 51}, "tags", "1 to 50 printable characters"),
        ({"notes": "a\0b"}, "notes", "Null characters are not allowed."),
        ({"initial_weights": HOSTILE}, "initial_weights", "is neither a registered model nor a session"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 30 else "",
)
def test_what_is_wrong_is_said_beside_the_field_and_nothing_typed_is_lost(
    staff: Client, dataset: Dataset, typed: dict[str, str], field: str, said: str
) -> None:
    answer = staff.post(PAGE_OF_FORM, as_form({**CONFIG, "model_name": "kept-as-typed", **typed}))
    assert answer.status_code == 200
    beside = errors_beside(answer.text)
    assert list(beside) == [field]
    assert said in beside[field]
    assert 'value="kept-as-typed"' in answer.text
    assert HOSTILE not in answer.text
    assert re.search(rf'<(input|select|textarea)[^>]*name="{field}"[^>]*aria-invalid="true"', answer.text)
    assert not TrainingSession.objects.exists()
    assert AuthLog.objects.filter(endpoint=PAGE_OF_FORM, method="POST").count() == 1


def test_an_error_outside_the_first_fields_opens_the_others(staff: Client, dataset: Dataset) -> None:
    assert "<details" in staff.get(PAGE_OF_FORM).text
    assert not re.search("<details[^>]* open", staff.get(PAGE_OF_FORM).text)
    answer = staff.post(PAGE_OF_FORM, as_form({**CONFIG, "warmup_steps": "-1"}))
    assert re.search("<details[^>]* open", answer.text)


def test_the_page_has_each_fields_help_range_and_default(staff: Client, dataset: Dataset) -> None:
    page = unescape(staff.get(PAGE_OF_FORM).text)
    members = [field for cls in (TrainingConfig, SchedulerArgs, EarlyStopping) for field in fields_of(cls)]
    for field in members:
        if field.name not in ("model_args", "scheduler_args"):  # which are their members
            assert field.rule.help in page
    assert "0.0001 to 1" in page
    assert 'placeholder="0.2"' in page
    assert "tiny: 40 rows of 4 features, 2 classes" in page


def test_parameters_fill_in_fields(staff: Client, dataset: Dataset) -> None:
    page = staff.get(f"{PAGE_OF_FORM}?dataset_name=tiny&epochs=77&nonsense=1").text
    assert re.search(r'<option value="tiny"[^>]* selected', page)
    assert 'value="77"' in page


def test_a_start_has_its_row_in_the_audit_log(staff: Client, dataset: Dataset) -> None:
    queue(staff, **CONFIG)
    row = AuthLog.objects.get(endpoint=PAGE_OF_FORM, method="POST")
    assert (row.key_name, row.status) == ("user:root", 302)


def test_a_start_that_cannot_be_recorded_does_not_happen(
    staff: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from authkeys import audit

    def refuse(*arguments: Any) -> None:
        raise audit.AuditUnavailable

    monkeypatch.setattr(audit, "record", refuse)
    monkeypatch.setattr(audit, "record_once", lambda *arguments: None)
    assert staff.post(PAGE_OF_FORM, as_form(CONFIG)).status_code == 503
    assert not TrainingSession.objects.exists()


def test_without_a_catalogue_the_page_says_so(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Installation:
        raise CatalogueUnavailable("The engine could not list its architectures.")

    monkeypatch.setattr(installation, "installation", refuse)
    assert "The engine could not list" in staff.get(PAGE_OF_FORM, follow=True).text


@pytest.mark.parametrize("method", ["get", "post"])
def test_it_is_for_those_who_may_add_sessions(dataset: Dataset, method: str) -> None:
    user = User.objects.create_user("clerk", is_staff=True)
    client = Client()
    client.force_login(user)
    user.user_permissions.set(Permission.objects.filter(codename="view_trainingsession"))
    assert "Start a session" not in client.get("/admin/training/trainingsession/").text
    assert getattr(client, method)(PAGE_OF_FORM, as_form(CONFIG)).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="add_trainingsession"))
    assert PAGE_OF_FORM in client.get("/admin/training/trainingsession/").text
    assert getattr(client, method)(PAGE_OF_FORM, as_form(CONFIG)).status_code == {"get": 200, "post": 302}[method]


def test_a_stranger_is_sent_to_the_login(db: None) -> None:
    answer = Client().post(PAGE_OF_FORM, CONFIG)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_the_form_needs_its_token(dataset: Dataset) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    assert client.post(PAGE_OF_FORM, as_form(CONFIG)).status_code == 403
    assert not TrainingSession.objects.exists()


# --- From another session ---


@pytest.fixture
def parent(make_session: MakeSession) -> TrainingSession:
    config = {
        "model_args": {"width": 48},
        "validation_split": 0.3,
        "early_stopping": {"patience": 9},
        "tags": ["of the parent"],
        "notes": HOSTILE,
        "model_name": "the-parents-own",
    }
    session = make_session(config, state=State.STOPPED, current_epoch=2, steps_done=10)
    session.directory.create()
    for step, epoch in ((4, 1), (10, 2)):
        save_checkpoint(session, step, epoch)
    return session


def as_form_from(client: Client, parent: TrainingSession, **typed: Any) -> dict[str, Any]:
    """What a browser sends for the form that begins with a session."""
    form = client.get(PAGE_OF_FORM, {"from": parent.session_id}).context["form"]
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in values.items() if value is not False} | typed


def start_from(client: Client, parent: TrainingSession, **typed: Any) -> Any:
    return client.post(f"{PAGE_OF_FORM}?from={parent}", as_form_from(client, parent, **typed))


def test_the_form_begins_with_the_sessions_configuration(staff: Client, parent: TrainingSession) -> None:
    answer = staff.get(PAGE_OF_FORM, {"from": parent.session_id})
    form = answer.context["form"]
    shown: dict[str, Any] = {
        "learning_rate": "0.01",
        "model_args.mlp.width": "48",
        "validation_split": "0.3",
        "model_name": "",
    }
    shown |= {"early_stopping": True, "early_stopping.patience": "9", "early_stopping.min_delta": ""}
    shown |= {"tags": "of the parent", "momentum": "", "model_args.lstm.width": ""}
    assert {name: form[name].value() for name in shown} == shown
    assert HOSTILE not in answer.text
    assert re.search("<details[^>]* open", answer.text)


def test_what_is_not_changed_is_as_it_was(staff: Client, parent: TrainingSession) -> None:
    assert start_from(staff, parent).status_code == 302
    session = TrainingSession.objects.get(parent=parent)
    assert session.config == parent.config | {"model_name": None}
    assert session.transitions.get().reason == f"restarted from {parent}"


def test_what_is_changed_is_changed_and_what_is_emptied_is_the_default(staff: Client, parent: TrainingSession) -> None:
    assert start_from(staff, parent, learning_rate="0.5", validation_split="", tags="").status_code == 302
    session = TrainingSession.objects.get(parent=parent)
    changes = {"learning_rate": 0.5, "validation_split": 0.2, "tags": [], "model_name": None}
    assert session.config == parent.config | changes


def test_a_fork_goes_on_from_a_checkpoint(staff: Client, parent: TrainingSession) -> None:
    assert start_from(staff, parent, from_checkpoint="step-00000004", epochs="9").status_code == 302
    fork = TrainingSession.objects.get(parent=parent)
    assert (fork.parent_checkpoint, fork.current_epoch, fork.total_epochs) == ("step-00000004", 1, 9)
    row = AuthLog.objects.get(endpoint=PAGE_OF_FORM, method="POST")
    assert row.status == 302


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"learning_rate": "0.5"}, "learning_rate", "cannot change where a session goes on from a checkpoint"),
        ({"epochs": "2"}, "epochs", "epochs must be more than 2"),
        ({"early_stopping.metric": "loss"}, "early_stopping", "not its metric and keep_best"),
        ({"from_checkpoint": "step-00000099"}, "from_checkpoint", "is not there"),
        ({"from_checkpoint": "../../x"}, "from_checkpoint", "from_checkpoint must be newest, or a checkpoint's name"),
    ],
)
def test_what_a_fork_cannot_change_is_said_beside_the_field(
    staff: Client, parent: TrainingSession, typed: dict[str, str], field: str, said: str
) -> None:
    answer = start_from(staff, parent, **{"from_checkpoint": "step-00000010", **typed})
    assert answer.status_code == 200
    beside = errors_beside(answer.text)
    assert list(beside) == [field]
    assert said in beside[field]
    assert TrainingSession.objects.get() == parent


def test_a_dataset_that_is_not_what_it_was_is_said(staff: Client, parent: TrainingSession) -> None:
    sent = as_form_from(staff, parent)
    parent.dataset.path.unlink()
    answer = staff.post(f"{PAGE_OF_FORM}?from={parent}", sent)
    assert "is gone" in answer.text
    assert TrainingSession.objects.get() == parent


@pytest.mark.parametrize("session_id", ["sess_0123456789ab", "", "\0", HOSTILE])
def test_a_session_that_is_not_there_is_not_found(staff: Client, session_id: str) -> None:
    assert staff.get(PAGE_OF_FORM, {"from": session_id}).status_code == 404


def test_the_script_knows_what_may_change_in_a_fork(staff: Client, parent: TrainingSession) -> None:
    page = staff.get(PAGE_OF_FORM, {"from": parent.session_id}).text
    data = re.search(r'<script id="changeable" type="application/json">(.*?)</script>', page)
    assert data is not None
    assert json.loads(data[1]) == list(CHANGEABLE)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("-5", -5), ("+5", 5), ("007", 7), (".5", 0.5), ("1e-3", 0.001), ("1.0", 1.0), ("1,5", "1,5")]
    + [(text, text) for text in ("NaN", "Infinity", "0x10", "1_000", "true", "5.", "", "٣")],
)
def test_a_number_is_what_looks_like_one(text: str, number: Any) -> None:
    assert (read_number(text), type(read_number(text))) == (number, type(number))
