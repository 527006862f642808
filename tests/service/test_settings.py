"""Settings: flags over environment over defaults, and clear refusals."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.errors import InvalidSettings
from service.settings import Settings, flag_name, read_settings, settings_table, variable_name


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable_name(name), raising=False)


def test_flag_outweighs_environment_and_environment_outweighs_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADCUE_PORT", "9001")
    monkeypatch.setenv("ROADCUE_WORKERS", "3")
    settings = read_settings({"port": "9002"})
    assert (settings.port, settings.workers, settings.device) == (9002, 3, "auto")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_unknown_variable_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADCUE_MAX_FRAME_BYTE", "1")
    with pytest.raises(
        InvalidSettings, match=r"MAX_FRAME_BYTE is not a setting; did you mean ROADCUE_MAX_FRAME_BYTES\?"
    ):
        read_settings()


def test_variable_far_from_all_names_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADCUE_ZZZZZZZZZZZZ", "1")
    with pytest.raises(InvalidSettings, match="the settings are ROADCUE_HOST, ROADCUE_PORT"):
        read_settings()


@pytest.mark.parametrize("name", ["ROADCUE_PORT", "ROADCUE_SERVICE_PORT"])
def test_kubernetes_service_link_is_recognised(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:8000")
    with pytest.raises(InvalidSettings, match="enableServiceLinks: false"):
        read_settings()


def test_unknown_flag_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidSettings, match=r"prot is not a setting; did you mean port\?"):
        read_settings({"prot": 1})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("port", "abc", "0 to 65535"),
        ("port", "65536", "0 to 65535"),
        ("traces", "collector:4318", "http:// or https:// URL"),
        ("port", "-1", "0 to 65535"),
        ("workers", "1.5", "1 to 64"),
        ("workers", "0", "1 to 64"),
        ("inference_workers", "1.5", "0 to 256"),
        ("device", "gpu", "auto, cuda, cpu"),
        ("drain_seconds", "nan", "0 to 3600"),
        ("drain_seconds", "inf", "0 to 3600"),
        ("upload_timeout_seconds", "0", "0.1 to 3600"),
        ("max_frame_bytes", "16MB", "1024 to 1073741824"),
        ("log_format", "xml", "text, json"),
        ("host", "", "text"),
    ],
)
def test_bad_value_is_refused_with_what_came_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(variable_name(name), value)
    with pytest.raises(InvalidSettings) as refused:
        read_settings()
    assert str(refused.value) == f"{name} ({flag_name(name)}, {variable_name(name)}) is {value!r}; allowed: {allowed}"


def test_all_bad_values_are_told_at_once() -> None:
    with pytest.raises(InvalidSettings, match=r"port .*; workers .*"):
        read_settings({"port": "x", "workers": "y"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_frame_bytes": 2048, "max_request_bytes": 1024}, "max_frame_bytes is larger than max_request_bytes"),
        (
            {"max_request_bytes": 64 * 1024**2, "max_upload_bytes_in_flight": 32 * 1024**2},
            "max_request_bytes is larger than max_upload_bytes_in_flight",
        ),
        (
            {"max_frames_per_request": 11, "max_queue_frames": 10},
            "max_frames_per_request is larger than max_queue_frames",
        ),
    ],
)
def test_limits_that_contradict_each_other_are_refused(given: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidSettings, match=message):
        read_settings(given)


def test_every_setting_has_a_description_and_a_default() -> None:
    assert all(field.description and not field.is_required() for field in Settings.model_fields.values())


def test_default_model_lies_in_the_package() -> None:
    assert Settings().model == Path(__file__).parents[2] / "service" / "models" / "street.onnx"


def test_the_document_holds_exactly_the_settings_table(repository: Path) -> None:
    document = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    between = document.partition("<!-- settings -->\n")[2].partition("\n<!-- /settings -->")[0]
    assert between == settings_table()


@pytest.mark.parametrize("value", ["", "off"])
def test_an_empty_variable_or_the_default_that_the_help_shows_keeps_no_frames(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """A compose file passes on what is not set as an empty text; neither may mean a folder."""
    for name in ("UNCERTAIN", "TUNING", "TRACES"):
        monkeypatch.setenv(f"ROADCUE_{name}", value)
    settings = read_settings()
    assert (settings.uncertain, settings.tuning, settings.traces) == (None, None, None)
    assert read_settings({"uncertain": "kept"}).uncertain == Path("kept")
