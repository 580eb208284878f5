"""The warehouse's SQL: quoting, rendering, and what a load and a migration plan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.services.warehouse.database import Database
from local.services.warehouse.session import Session
from tidemill import warehouse
from tidemill.errors import (
    MigrationError,
    StatementConflictError,
    StatementTimeoutError,
    TidemillError,
    WarehouseError,
)
from tidemill.load import Loader, Outcome, client_token, manifest
from tidemill.migration import column_type, migrations, plan_table
from tidemill.model import ColumnType, load_models
from tidemill.warehouse import Sql, identifier, literal, load_statements, render, unload_sql

# A busy machine is no failure.
patiently = settings(deadline=None)
ROOT = Path(__file__).parents[2]
MODELS = load_models(ROOT / "models")
STOCK = MODELS["stock_price"]
ROLE = "arn:aws:iam::123456789012:role/copy"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("warehouse")
    return Session(Database(folder, "d"), "admin", superuser=True, storage=lambda role: None)


@patiently
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_literal_says_the_text_itself(session: Session, text: str) -> None:
    assert session.execute(f"SELECT {literal(text)} AS t").rows == [(text,)]


@patiently
@given(name=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20))
def test_a_quoted_name_is_one_name(session: Session, name: str) -> None:
    quoted = identifier(name)
    assert quoted[0] == quoted[-1] == '"'
    assert quoted[1:-1].replace('""', "").count('"') == 0
    assert quoted[1:-1].replace('""', '"') == name
    assert len(session.execute(f"SELECT 1 AS {quoted}").rows[0]) == 1


@pytest.mark.parametrize("name", ["", "a\nb", "a\0", "x" * 128, "é" * 64])
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(TidemillError, match="cannot be a name"):
        identifier(name)


def test_a_text_with_a_nul_cannot_be_a_literal() -> None:
    with pytest.raises(TidemillError, match="NUL"):
        literal("a\0b")


def test_rendering_wants_exactly_the_parameters_quoted() -> None:
    with pytest.raises(TidemillError, match="differ in: role"):
        render("migrate/create_role")
    with pytest.raises(TidemillError, match="differ in: extra"):
        render("migrate/create_role", role=identifier("r"), extra=identifier("x"))
    with pytest.raises(TidemillError, match="is not quoted"):
        render("migrate/create_role", role="r; DROP TABLE x")  # type: ignore[arg-type]  # the point
    with pytest.raises(TidemillError, match="no statement"):
        render("migrate/nothing")
    with pytest.raises(TidemillError, match="longer than"):
        render("migrate/create_role", role=Sql("x" * 100_000))
    braces = literal("{role} {x}")
    assert render("migrate/create_role", role=braces) == f"CREATE ROLE {braces}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "sql").rglob("*.sql")), ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_a_file_holds_one_statement_that_is_used(path: Path) -> None:
    text = warehouse.statement_text(f"{path.parent.name}/{path.stem}")
    assert ";" not in text
    assert not text.startswith("--")
    used = "".join(file.read_text() for file in (ROOT / "tidemill").glob("*.py"))
    if path.parent.name == "migrations":
        assert re.fullmatch(r"\d{4}_[a-z_]+", path.stem)
    else:
        assert f'"{path.parent.name}/{path.stem}"' in used or f'"{path.stem}"' in used


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [int(name[:4]) for name in migrations()] == list(range(1, len(migrations()) + 1))


def test_the_snapshot_of_a_model() -> None:
    sql = unload_sql(STOCK, "s3://bucket/snapshots/stock_price/r1/", ROLE)
    query = (
        'SELECT row_id, "ticker_symbol", "sector", "change", "price" '
        'FROM "models"."stock_price" WHERE "price" IS NOT NULL ORDER BY row_id'
    )
    assert " ".join(sql.split()) == (
        f"UNLOAD ('{query}') TO 's3://bucket/snapshots/stock_price/r1/' "
        f"IAM_ROLE '{ROLE}' FORMAT PARQUET CLEANPATH PARALLEL OFF"
    )


def test_the_statements_of_a_load() -> None:
    statements = load_statements(
        STOCK, ["s3://l/a", "s3://l/it's"], manifest="s3://l/m", load_id="id", role_arn=ROLE
    )
    firsts = [" ".join(statement.split()[:3]) for statement in statements]
    assert firsts == [
        "LOCK tidemill.loaded_files",
        "CREATE TEMP TABLE",
        "COPY staging (row_id,",
        'INSERT INTO "models"."stock_price"',
        "INSERT INTO tidemill.loaded_files",
        "DROP TABLE staging",
    ]
    assert firsts[warehouse.INSERT_ROWS].startswith('INSERT INTO "models"')
    assert "SELECT 's3://l/it''s' AS file" in statements[4]


@patiently
@given(st.lists(st.sampled_from(["s3://l/a", "s3://l/b", "s3://l/c"]), min_size=1))
def test_the_same_files_make_the_same_manifest(files: list[str]) -> None:
    assert manifest(files) == manifest(files[::-1]) == manifest(files + files)


def test_a_token_fits() -> None:
    assert len(client_token(["COPY"] * 6, 10_000, 99)) <= 64
    assert client_token(["a", "b"], 1, 1) != client_token(["ab"], 1, 1)


TABLE = {
    "row_id": ColumnType("VARCHAR", 16),
    "source_id": ColumnType("VARCHAR", 16),
    **{column.name: column.type for column in STOCK.columns},
    "loaded_at": ColumnType("TIMESTAMP"),
}


def test_a_table_that_fits_needs_nothing() -> None:
    change = plan_table(STOCK, TABLE)
    assert not change.statements
    assert not change.widenings


def test_a_table_that_lacks_a_column_and_has_a_narrow_one() -> None:
    narrow = {**TABLE, "sector": ColumnType("VARCHAR", 4)}
    del narrow["price"]
    change = plan_table(STOCK, narrow)
    assert change.statements == ['ALTER TABLE "models"."stock_price" ADD COLUMN "price" FLOAT']
    assert change.widenings == [
        'ALTER TABLE "models"."stock_price" ALTER COLUMN "sector" TYPE VARCHAR(16)'
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"row_id": ColumnType("BIGINT")}, "column row_id is BIGINT where VARCHAR.16. is wanted"),
        ({"price": ColumnType("SUPER")}, "price is SUPER in the warehouse and FLOAT in the model"),
        ({"old": ColumnType("DATE")}, "column old .DATE. is in the warehouse"),
    ],
)
def test_tables_that_cannot_be_changed(change: dict[str, ColumnType], words: str) -> None:
    with pytest.raises(MigrationError, match=words):
        plan_table(STOCK, {**TABLE, **change})


def test_a_foreign_table_is_left_alone() -> None:
    with pytest.raises(MigrationError, match="not a table of Tidemill's"):
        plan_table(STOCK, {"price": ColumnType("FLOAT")})


def test_types_as_the_catalogue_tells_them() -> None:
    assert column_type("character varying", 8) == ColumnType("VARCHAR", 8)
    assert column_type("double precision", None) == ColumnType("FLOAT")
    assert column_type("numeric", 18) == ColumnType("NUMERIC")


class Transactions:
    """Fails for bad files, and in the ways it is told."""

    def __init__(self, bad: set[str] = frozenset(), *failures: WarehouseError) -> None:  # type: ignore[assignment]  # empty
        self.bad, self.failures = bad, list(failures)
        self.tokens: list[str] = []

    def transaction(
        self, statements: Sequence[str], *, token: str, deadline: float
    ) -> Sequence[int]:
        self.tokens.append(token)
        if self.failures:
            raise self.failures.pop(0)
        files = re.findall(r"SELECT '(.*?)' AS file", statements[4])
        if self.bad & set(files):
            raise WarehouseError("Load into table 'staging' failed")
        return [0, 0, len(files), len(files), len(files), 0]


class Manifests:
    def put(self, model: str, digest: str, content: bytes) -> str:
        return f"s3://l/manifests/{model}/{digest}.json"


def loading(
    transactions: Any, files: list[str], *, deadline: float = 1000.0
) -> tuple[Outcome, list[float]]:
    pauses: list[float] = []
    loader = Loader(transactions, Manifests(), ROLE, now=lambda: 0.0, sleep=pauses.append)
    return loader.load(STOCK, files, delivery=1, deadline=deadline), pauses


@patiently
@given(st.integers(1, 40), st.sets(st.integers(0, 39), max_size=5))
def test_bad_files_are_found_and_all_others_load(number: int, bad_numbers: set[int]) -> None:
    files = [f"s3://l/{n:03}" for n in range(number)]
    bad = {f"s3://l/{n:03}" for n in bad_numbers if n < number}
    transactions = Transactions(bad)
    outcome, _ = loading(transactions, files + files)
    assert set(outcome.errors) == bad
    assert sorted(outcome.loaded) == sorted(set(files) - bad)
    assert outcome.new_rows == number - len(bad)
    assert len(set(transactions.tokens)) == len(transactions.tokens)
    assert len(transactions.tokens) <= 1 + 2 * len(bad) * 6


def test_what_is_no_fault_of_a_file_is_not_looked_for_in_files() -> None:
    transactions = Transactions(set(), WarehouseError("permission denied for schema models"))
    outcome, _ = loading(transactions, ["s3://l/a", "s3://l/b"])
    assert set(outcome.errors) == {"s3://l/a", "s3://l/b"}
    assert len(transactions.tokens) == 1


def test_conflicts_are_tried_again_with_growing_pauses_and_an_end() -> None:
    outcome, pauses = loading(
        Transactions(set(), *[StatementConflictError("1023")] * 2), ["s3://l/a"]
    )
    assert outcome.loaded == ["s3://l/a"]
    assert pauses == [0.2, 0.4]
    outcome, pauses = loading(
        Transactions(set(), *[StatementConflictError("1023")] * 9), ["s3://l/a"]
    )
    assert isinstance(outcome.errors["s3://l/a"], StatementConflictError)
    assert len(pauses) == 5


def test_no_load_begins_without_time() -> None:
    transactions = Transactions()
    outcome, _ = loading(transactions, ["s3://l/a"], deadline=4.0)
    assert isinstance(outcome.errors["s3://l/a"], StatementTimeoutError)
    assert not transactions.tokens
