"""Settings: typed, bounded, documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from stacks.settings import Settings, SettingsError, load_settings

from .conftest import ROOT, run_app


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TIDEMILL_{name.upper()}", raising=False)
    monkeypatch.chdir(ROOT)


def test_the_context_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_STAGE", "test")
    monkeypatch.setenv("TIDEMILL_API_RATE_LIMIT", "5")
    settings = load_settings({"tidemill:stage": "prod", "@aws-cdk/other": True})
    assert (settings.stage, settings.prefix) == ("prod", "tidemill-prod")
    assert settings.api_rate_limit == 5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stage", "Prod"),
        ("stage", "averyveryverylongstage"),
        ("models_dir", "no/such/folder"),
        ("log_retention_days", "31"),
        ("log_retention_days", "a month"),
        ("alarm_email", "nobody"),
        ("stream_shards", "0"),
        ("loader_batching_window_seconds", "301"),
        ("warehouse_capacity", "12"),
        ("processing_instance_type", "m5.large"),
        ("training_instance_type", ""),
        ("api_auth", "open"),
        ("api_rate_limit", "0"),
        ("api_burst_limit", "1"),
        ("keep_data", "perhaps"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=key):
        load_settings({f"tidemill:{key}": value})


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"stagee = .*is no setting.*stage"):
        load_settings({"tidemill:stagee": "prod"})


@pytest.mark.slow
def test_a_wrong_setting_ends_the_app_without_a_traceback(tmp_path: Path) -> None:
    done = run_app(tmp_path, stage="Prod")
    assert done.returncode == 1
    assert "stage = 'Prod'" in done.stderr
    assert "Traceback" not in done.stderr


def test_data_is_kept_in_production_unless_told_otherwise() -> None:
    assert load_settings({"tidemill:stage": "prod"}).keeps_data
    assert not load_settings({"tidemill:stage": "dev"}).keeps_data
    assert not load_settings({"tidemill:stage": "prod", "tidemill:keep_data": "false"}).keeps_data
    assert load_settings({"tidemill:keep_data": "true"}).keeps_data


def test_every_setting_is_documented_with_its_default() -> None:
    rows = {
        cells[1].strip().strip("`"): cells[2].strip().strip("`")
        for line in (ROOT / "docs" / "settings.md").read_text().splitlines()
        if len(cells := line.split("|")) == 6
    }
    for name, setting in Settings.model_fields.items():
        assert name in rows
        if setting.default is not None:
            assert rows[name] == str(setting.default)
