from __future__ import annotations

import pytest

from genesys_engine.engine.cli.failures import report_failure
from genesys_engine.engine.common.redact import SECRET, hide_key, redact
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import Options

KEY = "sk-0123456789"


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("OPENAI_API_KEY", True),
        ("HF_TOKEN", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("DB_PASSWORD", True),
        ("TOKENIZERS_PARALLELISM", False),
        ("KEYBOARD", False),
        ("HOME", False),
    ],
)
def test_names_of_secrets(name: str, hidden: bool) -> None:
    assert bool(SECRET.search(name)) is hidden


def test_values_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", KEY)
    monkeypatch.setenv("MY_OTHER_KEY", KEY + "-more")
    monkeypatch.setenv("ODD_TOKEN", 'with"quote')
    assert redact(f"a {KEY} b {KEY}-more") == "a [key] b [key]"
    assert redact(r'{"said": "with\"quote"}') == '{"said": "[key]"}'
    monkeypatch.setenv("UNUSUAL", "hush-hush")
    assert redact("hush-hush") == "hush-hush"
    assert redact("hush-hush", ["UNUSUAL"]) == "[key]"


class WithDefault(Options):
    key_variable: str = "BY_DEFAULT"


@pytest.mark.parametrize(
    ("model", "options", "variable"),
    [
        (None, {"key_variable": "BY_OPTION"}, "BY_OPTION"),
        (WithDefault, {"key_variable": "BY_OPTION_TOO"}, "BY_OPTION_TOO"),
        (WithDefault, {}, "BY_DEFAULT"),
    ],
)
def test_the_key_that_options_name_is_hidden_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
    model: type[Options] | None,
    options: dict[str, str],
    variable: str,
) -> None:
    monkeypatch.setenv(variable, "hush-hush")
    assert redact("hush-hush") == "hush-hush"
    hide_key(model, options)
    assert redact("hush-hush") == "[key]"


@pytest.mark.parametrize("options", [{}, {"key_variable": ""}, {"key_variable": 3}])
def test_options_that_name_no_variable_hide_nothing(options: dict[str, object]) -> None:
    hide_key(None, options)
    assert redact("as it is") == "as it is"


def test_short_values_are_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "none")
    assert redact("there is none") == "there is none"


@pytest.mark.parametrize("debug", [False, True])
def test_no_message_shows_a_key(
    debug: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_API_KEY", KEY)
    report_failure(InputError(f"refused {KEY}"), debug=debug)
    report_failure(RuntimeError(f"refused {KEY}"), debug=debug)
    told = capsys.readouterr().err
    assert "refused [key]" in told
    assert KEY not in told
