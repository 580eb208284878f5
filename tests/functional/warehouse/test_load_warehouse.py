"""load_warehouse and migrate_warehouse over a real SQL engine, S3 by moto."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote_plus

import pytest

from tidemill.errors import MigrationError

ROOT = Path(__file__).parents[3]
STOCK = (ROOT / "models" / "stock_price.toml").read_text()
ROWS = [f"row{n:013d},source0000000000,AAA,tech,{n}.5,{n}" for n in range(1, 6)]


def fresh(name: str) -> ModuleType:
    sys.modules.pop(name, None)
    return importlib.import_module(name)


@pytest.fixture
def migrate(data_api: Any, context: Any) -> Any:
    return lambda: fresh("lambdas.migrate_warehouse.handler").handler({}, context)["changes"]


@pytest.fixture
def load(data_api: Any, context: Any, migrate: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    migrate()
    module = fresh("lambdas.load_warehouse.handler")
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def run(*messages: dict[str, Any]) -> set[str]:
        answer = module.handler({"Records": list(messages)}, context)
        return {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}

    return run


def count(data_api: Any, model: str = "stock_price") -> int:
    return int(data_api.rows(f"SELECT COUNT(*) FROM models.{model}")[0][0])  # noqa: S608 - a name of ours


def test_files_of_two_models_load_in_a_transaction_each(
    data_api: Any, lake: Any, load: Any
) -> None:
    iris = lake.put(["iris000000000001,source0000000000,5.1,3.5,1.4,0.2,setosa"], model="iris")
    messages = [
        lake.message(lake.put(ROWS[:2]), lake.put(ROWS[2:4])),
        lake.message(lake.put(ROWS[4:]), iris),
    ]
    before = len(data_api.batches)
    assert load(*messages) == set()
    assert count(data_api) == 5
    assert count(data_api, "iris") == 1
    assert len(data_api.batches) - before == 2
    assert data_api.rows(
        "SELECT model, rows, COUNT(*) FROM tidemill.loaded_files GROUP BY 1, 2 ORDER BY 1"
    ) == [("iris", 1, 1), ("stock_price", 5, 3)]
    assert data_api.rows(
        "SELECT ticker_symbol, sector, change, price FROM models.stock_price WHERE price = 3"
    ) == [("AAA", "tech", 3.5, 3.0)]


def test_a_redelivery_loads_nothing_twice(data_api: Any, lake: Any, load: Any) -> None:
    key = lake.put(ROWS)
    assert load(lake.message(key)) == set()
    assert load(lake.message(key)) == set()  # the same token: the same transaction
    assert load(lake.message(key, received=2)) == set()  # another transaction
    assert load(lake.message(key, lake.put([*ROWS, ROWS[0]]))) == set()
    assert count(data_api) == 5
    assert data_api.rows("SELECT COUNT(*), COUNT(DISTINCT file) FROM tidemill.loaded_files") == [
        (2, 2)
    ]


def test_a_row_that_is_twice_in_the_staging_table_loads_once(
    data_api: Any, lake: Any, load: Any
) -> None:
    assert load(lake.message(lake.put(ROWS + ROWS), lake.put(ROWS))) == set()
    assert count(data_api) == 5


def test_a_loader_killed_between_copy_and_commit(data_api: Any, lake: Any, load: Any) -> None:
    key = lake.put(ROWS)
    run, sessions = data_api._run, []

    def die(sqls: list[str], who: dict[str, str], *, explicit: bool, keep: str = "") -> Any:
        sessions.append(sqls)
        if len(sessions) == 1:
            run([*sqls[:3], "SELECT 1 FROM nothing_of_the_kind"], who, explicit=True)
            raise SystemExit("killed")
        return run(sqls, who, explicit=explicit, keep=keep)

    data_api._run = die
    with pytest.raises(SystemExit):
        load(lake.message(key))
    assert count(data_api) == 0
    assert load(lake.message(key, received=2)) == set()
    assert count(data_api) == 5


def test_a_conflict_is_tried_again_under_a_token_of_its_own(
    data_api: Any, lake: Any, load: Any
) -> None:
    data_api.conflicts = 2
    before = len(data_api.batches)
    assert load(lake.message(lake.put(ROWS))) == set()
    tokens = [batch["token"] for batch in data_api.batches[before:]]
    assert [token.rpartition("-")[2] for token in tokens] == ["1", "2", "3"]
    assert len({token.split("-")[0] for token in tokens}) == 1
    assert count(data_api) == 5


@pytest.mark.parametrize(
    "bad",
    [
        ["row0000000000009,source0000000000,AAA,tech,no number,1"],
        ["row0000000000009,source0000000000,AAA,tech"],
        ["row0000000000009,source0000000000,TOOLONGATICKER,tech,1,1"],
        ["row0000000000009,source0000000000,AAA,tech,1,1,1,1"],
        b"no gzip at all",
    ],
    ids=["number", "short", "long text", "more fields", "no gzip"],
)
def test_a_bad_file_does_not_hold_up_its_neighbours(
    data_api: Any, lake: Any, load: Any, bad: list[str] | bytes
) -> None:
    good = [lake.message(lake.put([row])) for row in ROWS]
    bad_key = lake.put_raw(bad) if isinstance(bad, bytes) else lake.put(bad)
    message = lake.message(bad_key)
    failed = load(*good[:2], message, *good[2:])
    if isinstance(bad, list) and bad[0].endswith("tech"):
        assert failed == set()  # FILLRECORD: columns that a file lacks at its end are NULL
        assert count(data_api) == 6
    else:
        assert failed == {message["messageId"]}
        assert count(data_api) == 5


def test_a_missing_file_fails_its_message_alone(data_api: Any, lake: Any, load: Any) -> None:
    gone = lake.message("rows/stock_price/2026/gone.gz")
    assert load(gone, lake.message(lake.put(ROWS))) == {gone["messageId"]}
    assert count(data_api) == 5


def test_strange_messages(data_api: Any, lake: Any, load: Any) -> None:
    test_event = {"messageId": "t", "body": json.dumps({"Event": "s3:TestEvent"})}
    garbage = {"messageId": "g", "body": "no JSON"}
    other = {
        "messageId": "o",
        "body": json.dumps(
            {"Records": [{"s3": {"bucket": {"name": "other"}, "object": {"key": "rows/a/b"}}}]}
        ),
    }
    unknown = lake.message(lake.put(ROWS, model="nobody"))
    odd = lake.put(ROWS, name="a b+c%é")
    good = lake.message(quote_plus(odd, safe="/"))
    assert load(test_event, garbage, other, unknown, good) == {"g", "o", unknown["messageId"]}
    assert count(data_api) == 5


def test_a_load_that_has_no_time_is_not_begun(
    data_api: Any, lake: Any, load: Any, context: Any
) -> None:
    context.left = 8_000
    message = lake.message(lake.put(ROWS))
    before = len(data_api.batches)
    assert load(message) == {message["messageId"]}
    assert len(data_api.batches) == before


def test_many_files_fit_into_statements(data_api: Any, lake: Any, load: Any) -> None:
    row = "row{0:013d},source0000000000,AAA,tech,1,1"
    keys = [lake.put([row.format(n)], name=f"{n:0>100}") for n in range(210)]
    assert load(*[lake.message(key) for key in keys]) == set()
    assert count(data_api) == 210


def test_empty_fields_are_null_and_quoted_text_is_kept(data_api: Any, lake: Any, load: Any) -> None:
    lines = ['row0000000000001,source0000000000,"a""b,\nc",,,2', "row0000000000002,s,\\n'x,x,1e3,3"]
    assert load(lake.message(lake.put(lines))) == set()
    rows = data_api.rows(
        "SELECT ticker_symbol, sector, change, price FROM models.stock_price ORDER BY row_id"
    )
    assert rows == [('a"b,\nc', None, None, 2.0), ("\\n'x", "x", 1000.0, 3.0)]


def test_migrating_twice_changes_nothing(data_api: Any, migrate: Any) -> None:
    first = migrate()
    assert any("models.iris" in change for change in first)
    assert "user IAMR:tidemill-dev-refresh" in first
    assert migrate() == []


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "stock_price.toml").write_text(STOCK)
    monkeypatch.setenv("MODELS_DIR", str(folder))
    return folder / "stock_price.toml"


def test_an_additive_change(
    models: Path, data_api: Any, lake: Any, load: Any, migrate: Any, context: Any
) -> None:
    old = lake.put(ROWS[:1])
    assert load(lake.message(lake.put(ROWS[1:2]))) == set()
    models.write_text(
        STOCK.replace(
            'price = "FLOAT"', 'price = "FLOAT"\nvolume = "BIGINT"\nnote = "VARCHAR"'
        ).replace('sector = "VARCHAR(16)"', 'sector = "VARCHAR(64)"')
    )
    changes = migrate()
    assert len(changes) == 3
    new = lake.put(["row9,s," + "AAA," + "x" * 60 + ",1,2,3,hello"])
    handler = fresh("lambdas.load_warehouse.handler").handler
    answer = handler({"Records": [lake.message(old, new)]}, context)
    assert answer == {"batchItemFailures": []}
    rows = data_api.rows("SELECT volume, note FROM models.stock_price ORDER BY row_id")
    assert rows == [(None, None), (None, None), (3, "hello")]
    assert migrate() == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('change = "FLOAT"', 'change = "REAL"', "column change is FLOAT in the warehouse and REAL"),
        ('"VARCHAR(16)"', '"VARCHAR(8)"', r"sector is VARCHAR\(16\) .* and VARCHAR\(8\)"),
        ('sector = "VARCHAR(16)"\n', "", r"column sector \(VARCHAR\(16\)\) is in the warehouse"),
        ('sector = "VARCHAR(16)"', 'branch = "VARCHAR(16)"', "column sector"),
        ('sector = "VARCHAR(16)"', 'volume = "BIGINT"\nsector = "VARCHAR(16)"', "at the end"),
    ],
)
def test_other_changes_are_refused(
    models: Path, data_api: Any, migrate: Any, old: str, new: str, words: str
) -> None:
    migrate()
    models.write_text(STOCK.replace(old, new))
    with pytest.raises(MigrationError, match=words):
        migrate()


def test_the_loader_has_the_rights_to_load_and_no_more(data_api: Any, migrate: Any) -> None:
    migrate()
    for statement in (
        "DELETE FROM models.stock_price",
        "DROP TABLE models.stock_price",
        "SELECT * FROM tidemill.migrations",
    ):
        who = {"WorkgroupName": "tidemill-dev", "Database": "tidemill"}
        answer = data_api._run([statement], who, explicit=True)
        assert answer["Status"] == "FAILED"
        assert "permission denied" in answer["Error"] or "must be" in answer["Error"]


def test_a_custom_resource_is_answered(
    data_api: Any, context: Any, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[tuple[Any, ...]] = []
    module = fresh("lambdas.migrate_warehouse.handler")
    monkeypatch.setattr(module, "respond", lambda *args, **more: answers.append((*args[1:], more)))
    event = {"ResponseURL": "https://x", "RequestType": "Create"}
    assert module.handler(event, context)["changes"]
    models.write_text(STOCK.replace("FLOAT", "REAL"))
    module.handler({**event, "RequestType": "Update"}, context)
    module.handler({**event, "RequestType": "Delete"}, context)
    assert [answer[0] for answer in answers] == ["SUCCESS", "FAILED", "SUCCESS"]
    assert len({answer[1] for answer in answers}) == 1
    assert "MigrationError: model stock_price: column change is FLOAT" in answers[1][-1]["reason"]


def test_a_deployment_that_is_rolled_back_finds_what_it_needs(
    data_api: Any, context: Any, models: Path, lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses: list[str] = []
    module = fresh("lambdas.migrate_warehouse.handler")
    monkeypatch.setattr(module, "respond", lambda event, status, *_, **__: statuses.append(status))

    def deploy(text: str, version: str) -> str:
        models.write_text(text)
        event = {"ResponseURL": "https://x", "RequestType": "Update"}
        module.handler({**event, "ResourceProperties": {"Version": version}}, context)
        return statuses[-1]

    wider = STOCK.replace('price = "FLOAT"', 'price = "FLOAT"\nvolume = "BIGINT"')
    assert deploy(STOCK, "one") == "SUCCESS"
    assert deploy(wider, "two") == "SUCCESS"
    assert deploy(STOCK, "three") == "FAILED"
    assert deploy(STOCK, "one") == "SUCCESS"
    load = fresh("lambdas.load_warehouse.handler").handler
    assert load({"Records": [lake.message(lake.put(ROWS))]}, context) == {"batchItemFailures": []}
    assert deploy(wider, "two") == "SUCCESS"
    assert count(data_api) == 5


def test_an_applied_migration_may_not_change(data_api: Any, migrate: Any) -> None:
    migrate()
    data_api.rows("UPDATE tidemill.migrations SET checksum = 'x' WHERE name LIKE '0001%'")
    with pytest.raises(MigrationError, match=r"0001_create_schema_models\.sql has changed"):
        migrate()
