"""The assets: the same bytes for the same sources, pure Python, nothing that the runtime has."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import build_assets


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> build_assets.Assets:
    return build_assets.build(target=tmp_path_factory.mktemp("assets"))


def test_building_twice_gives_the_same(assets: build_assets.Assets, tmp_path: Path) -> None:
    again = build_assets.build(target=tmp_path)
    assert content(again.functions) == content(assets.functions)
    assert content(again.image) == content(assets.image)


def test_functions_are_pure_python_and_leave_to_the_runtime_what_it_has(
    assets: build_assets.Assets,
) -> None:
    rooms = {path.name for path in assets.functions.iterdir()}
    assert {"lambdas", "tidemill", "models", "sql", "aws_lambda_powertools"} <= rooms
    assert not rooms & {"boto3", "botocore", "urllib3", "s3transfer", "local", "stacks"}
    suffixes = {Path(name).suffix for name in content(assets.functions)}
    assert not suffixes & {".so", ".pyc", ".pth"}


def test_the_image_context_has_what_its_dockerfile_copies(assets: build_assets.Assets) -> None:
    files = content(assets.image)
    assert "containers/Dockerfile" in files
    assert "containers/requirements.txt" in files
    assert {name.partition("/")[0] for name in files} == {"containers", "tidemill"}


def test_models_come_from_the_folder_of_the_settings(tmp_path: Path) -> None:
    models = tmp_path / "mine"
    models.mkdir()
    (models / "one.toml").write_text("")
    (models / "notes.txt").write_text("")
    assets = build_assets.build(models, tmp_path / "target")
    assert [path.name for path in (assets.functions / "models").iterdir()] == ["one.toml"]


def test_missing_packages_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build_assets, "BUILD", tmp_path)
    with pytest.raises(FileNotFoundError, match="make setup"):
        build_assets.build(target=tmp_path / "target")
