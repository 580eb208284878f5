"""The warehouse's SQL, with moto's S3 for COPY and UNLOAD."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet
import pytest
from moto import mock_aws

from local.services.warehouse.database import Database
from local.services.warehouse.errors import CancelledError, ConflictError, WarehouseError
from local.services.warehouse.row_ends import HIDDEN, unify
from local.services.warehouse.session import Session

Open = Callable[..., Session]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="lake")
        yield client


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path, "tidemill")
    yield made
    made.close()


@pytest.fixture
def open_(database: Database, s3: Any) -> Open:
    def session(user: str = "admin", *, superuser: bool = True) -> Session:
        return Session(database, user, superuser=superuser, storage=lambda role: s3)

    return session


@pytest.fixture
def admin(open_: Open) -> Session:
    session = open_()
    session.execute("CREATE SCHEMA models")
    session.execute(
        "CREATE TABLE models.t (row_id VARCHAR(16) NOT NULL, name VARCHAR(4), n INTEGER, x FLOAT,"
        " day DATE, at TIMESTAMP, ok BOOLEAN, loaded_at TIMESTAMP DEFAULT GETDATE())"
        " DISTKEY (row_id) SORTKEY (row_id)"
    )
    return session


def rows(session: Session, sql: str) -> list[tuple[Any, ...]]:
    return session.execute(sql).rows


def copy(session: Session, s3: Any, body: bytes, options: str = "CSV") -> int:
    s3.put_object(Bucket="lake", Key="in/a", Body=body)
    return session.execute(
        "COPY models.t (row_id, name, n, x, day, at, ok) FROM 's3://lake/in/a'"
        f" IAM_ROLE 'arn:role' {options}"
    ).count


# COPY


def row(number: int, end: bytes) -> bytes:
    return b"%d,n,%d,1.5,2026-01-01,2026-01-01 00:00:00,true" % (number, number) + end


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "ends",
    [
        (b"\r\n", b"\n", b"\r\n"),
        (b"\n", b"\r\n", b"\n"),
        (b"\n", b"\n", b"\r\n"),
        (b"\r\n", b"\n", b""),
        (b"\r\n", b"\r\n", b"\r\n"),
    ],
)
def test_copy_takes_either_end_of_a_row(
    admin: Session, s3: Any, ends: tuple[bytes, ...], packed: bool
) -> None:
    body = b"".join(row(number, end) for number, end in enumerate(ends))
    loaded = copy(admin, s3, gzip.compress(body), "CSV GZIP") if packed else copy(admin, s3, body)
    assert loaded == 3
    assert rows(admin, "SELECT n, ok FROM models.t ORDER BY n") == [(n, True) for n in range(3)]


def test_copy_keeps_the_ends_of_lines_in_quotes(admin: Session, s3: Any) -> None:
    body = b'1,"a\r\nb",1,,,,\n2,"a\nb",2,,,,\r\n3,"a""\r",3,,,,t\r\n4,"\r",4,,,,t\n'
    assert copy(admin, s3, body) == 4
    found = rows(admin, "SELECT name, ok FROM models.t ORDER BY n")
    assert found == [("a\r\nb", None), ("a\nb", None), ('a"\r', True), ("\r", True)]


def test_row_ends_across_pieces_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'1,"a\r\n""b\r\n"\r\n2,x\n3,\r\n\r'
    expected = b'1,"a\r\n""b\r\n"\n2,x\n3,\n\r'
    path = tmp_path / "rows"
    for size in range(1, len(body) + 1):
        monkeypatch.setattr("local.services.warehouse.row_ends._CHUNK", size)
        path.write_bytes(body)
        unify(path, "none", '"')
        assert path.read_bytes().replace(HIDDEN.encode(), b"\r") == expected


def test_copy_reads_typed_rows(admin: Session, s3: Any) -> None:
    body = (
        b'a,"x,y",1,1.5e3,2024-02-29,2024-01-01 00:00:00.5,t\n'
        b'b,"q""\n",-2,.5,,,FALSE\n'
        b"c,,,,,,\n"
        b"d,\\N,+3,7.,,2024-01-01,1\n"
    )
    assert copy(admin, s3, body) == 4
    found = rows(admin, "SELECT name, n, x, ok, loaded_at IS NOT NULL FROM models.t ORDER BY 1, 2")
    assert ("x,y", 1, 1500.0, True, True) in found
    assert ('q"\n', -2, 0.5, False, True) in found
    assert ("", None, None, None, True) in found
    assert (None, 3, 7.0, True, True) in found
    assert rows(admin, "SELECT pg_last_copy_count()") == [(4,)]


@pytest.mark.parametrize(
    ("line", "column", "code"),
    [
        (b"a,x,1_0,1,,,t", "n", 1207),
        (b"a,x, 1,1,,,t", "n", 1207),
        (b"a,x,1.0,1,,,t", "n", 1207),
        (b"a,x,0x1,1,,,t", "n", 1207),
        (b"a,x,2147483648,1,,,t", "n", 1207),
        (b"a,x,1,1_0,,,t", "x", 1207),
        (b"a,x,1,1 ,,,t", "x", 1207),
        (b"a,x,1,nan,,,t", "x", 1207),
        (b"a,x,1,inf,,,t", "x", 1207),
        (b"a,x,1,-Infinity,,,t", "x", 1207),
        (b"a,x,1,1e999,,,t", "x", 1207),
        (b"a,x,1,1e-400,,,t", "x", 1207),
        (b"a,x,1,1,2023-02-29,,t", "day", 1205),
        (b"a,x,1,1,1/2/2024,,t", "day", 1205),
        (b"a,x,1,1,,2024-01-01T00:00:00,t", "at", 1206),
        (b"a,x,1,1,,,maybe", "ok", 1210),
        (b"a,abcde,1,1,,,t", "name", 1204),
        ("a,ääa,1,1,,,t".encode(), "name", 1204),
        (b"a,x\0y,1,1,,,t", "name", 1216),
        (b"\\N,x,1,1,,,t", "row_id", 1213),
        (b"a,x,1,1,,", "", 1202),
        (b"a,x,1,1,,,t,extra", "", 1202),
        (b'a,"x"y,1,1,,,t', "", 1214),
        (b"a,\xff,1,1,,,t", "", 1220),
    ],
)
def test_copy_loads_nothing_where_one_value_is_wrong(
    admin: Session, s3: Any, line: bytes, column: str, code: int
) -> None:
    with pytest.raises(WarehouseError, match="sys_load_error_detail"):
        copy(admin, s3, b"good,x,1,1,,,t\n" + line + b"\n")
    assert rows(admin, "SELECT COUNT(*) FROM models.t") == [(0,)]
    [error] = rows(admin, "SELECT column_name, error_code, file_name FROM sys_load_error_detail")
    assert error == (column, code, "s3://lake/in/a")
    if column:
        assert rows(admin, "SELECT line_number FROM stl_load_errors") == [(2,)]


def test_copy_with_options(admin: Session, s3: Any) -> None:
    body = gzip.compress(b"header\na,,1,1,,2024-01-01T00:00:00\nb,x,1\n")
    options = "FORMAT AS CSV GZIP IGNOREHEADER 1 FILLRECORD EMPTYASNULL TIMEFORMAT 'auto'"
    assert copy(admin, s3, body, f"{options} COMPUPDATE OFF STATUPDATE OFF") == 2
    found = rows(admin, "SELECT row_id, name, at IS NULL, ok FROM models.t ORDER BY 1")
    assert found == [("a", None, False, None), ("b", "x", True, None)]


def test_copy_of_a_manifest(admin: Session, s3: Any) -> None:
    for key in ("one", "two"):
        s3.put_object(Bucket="lake", Key=key, Body=f"{key},x,1,1,,,t\n".encode())
    entries = [{"url": f"s3://lake/{key}", "mandatory": True} for key in ("one", "two")]
    s3.put_object(Bucket="lake", Key="m", Body=json.dumps({"entries": entries}).encode())
    sql = (
        "COPY models.t (row_id, name, n, x, day, at, ok) FROM 's3://lake/m' IAM_ROLE 'r'"
        " MANIFEST CSV"
    )
    assert admin.execute(sql).count == 2
    entries.append({"url": "s3://lake/missing", "mandatory": True})
    s3.put_object(Bucket="lake", Key="m", Body=json.dumps({"entries": entries}).encode())
    with pytest.raises(WarehouseError, match="NoSuchKey"):
        admin.execute(sql)
    entries[-1]["mandatory"] = False
    s3.put_object(Bucket="lake", Key="m", Body=json.dumps({"entries": entries}).encode())
    assert admin.execute(sql).count == 2


@pytest.mark.parametrize(
    "options", ["CSV ACCEPTINVCHARS", "CSV MAXERROR 5", "CSV QUOTE AS 'ab'", "LZOP", "CSV NULL"]
)
def test_copy_refuses_what_it_does_not_carry(admin: Session, s3: Any, options: str) -> None:
    with pytest.raises(WarehouseError):
        copy(admin, s3, b"a,x,1,1,,,t\n", options)


# UNLOAD


def test_unload_to_parquet_and_back(admin: Session, s3: Any) -> None:
    copy(admin, s3, b"a,x,1,1.5,2024-02-29,2024-01-01 00:00:00,t\nb,,,,,,\n")
    sql = (
        "UNLOAD ('SELECT row_id, name, n, x, ok FROM models.t WHERE row_id <> ''z'' ORDER BY 1')"
        " TO 's3://lake/out/' IAM_ROLE 'r' FORMAT PARQUET"
    )
    assert admin.execute(f"{sql} PARALLEL OFF").count == 2
    with pytest.raises(WarehouseError, match="not empty"):
        admin.execute(f"{sql} PARALLEL OFF")
    admin.execute("DELETE FROM models.t WHERE row_id = 'b'")
    assert admin.execute(f"{sql} PARALLEL OFF CLEANPATH").count == 1
    body = s3.get_object(Bucket="lake", Key="out/000.parquet")["Body"].read()
    table = pyarrow.parquet.read_table(io.BytesIO(body))
    assert table.to_pylist() == [{"row_id": "a", "name": "x", "n": 1, "x": 1.5, "ok": True}]
    admin.execute(f"{sql} ALLOWOVERWRITE MANIFEST")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="lake", Prefix="out/")["Contents"]]
    assert keys == ["out/000.parquet", "out/0000_part_00.parquet", "out/manifest"]


def test_unload_to_csv(admin: Session, s3: Any) -> None:
    copy(admin, s3, b'a,"x,y",1,1.5,,,t\n')
    admin.execute(
        "UNLOAD ($$SELECT row_id, name, n FROM models.t$$) TO 's3://lake/c/x' IAM_ROLE 'r'"
        " CSV HEADER GZIP PARALLEL OFF"
    )
    body = s3.get_object(Bucket="lake", Key="c/x000.gz")["Body"].read()
    assert gzip.decompress(body) == b'row_id,name,n\na,"x,y",1\n'


# Tables


def test_text_is_bounded_in_bytes_however_it_is_written(admin: Session) -> None:
    for sql in (
        "INSERT INTO models.t (row_id, name) VALUES ('a', 'ääa')",
        "INSERT INTO models.t (row_id, name) SELECT 'a', 'abcde'",
        "UPDATE models.t SET name = 'abcde'",
        "MERGE INTO models.t USING (SELECT 'b' AS k) s ON models.t.row_id = s.k"
        " WHEN NOT MATCHED THEN INSERT (row_id, name) VALUES (s.k, 'abcde')",
    ):
        admin.execute("DELETE FROM models.t")
        admin.execute("INSERT INTO models.t (row_id, name) VALUES ('z', 'ää')")
        with pytest.raises(WarehouseError, match=r"value too long for type character varying\(4\)"):
            admin.execute(sql)
    admin.execute("ALTER TABLE models.t ALTER COLUMN name TYPE VARCHAR(5)")
    admin.execute("INSERT INTO models.t (row_id, name) VALUES ('a', 'ääa')")
    with pytest.raises(WarehouseError, match="size"):
        admin.execute("ALTER TABLE models.t ALTER COLUMN name TYPE VARCHAR(4)")
    with pytest.raises(WarehouseError, match="not supported"):
        admin.execute("ALTER TABLE models.t ALTER COLUMN n TYPE BIGINT")


def test_columns_are_added_with_defaults(admin: Session, s3: Any) -> None:
    copy(admin, s3, b"a,x,1,1,,,t\n")
    admin.execute("ALTER TABLE models.t ADD COLUMN extra VARCHAR(3) DEFAULT 'yes' NOT NULL")
    assert rows(admin, "SELECT extra FROM models.t") == [("yes",)]
    with pytest.raises(WarehouseError, match="already exists"):
        admin.execute("ALTER TABLE models.t ADD COLUMN extra INTEGER")
    found = rows(
        admin,
        "SELECT column_name, data_type, character_maximum_length, is_nullable"
        " FROM information_schema.columns WHERE table_schema = 'models' AND table_name = 't'"
        " ORDER BY ordinal_position",
    )
    assert found[0] == ("row_id", "character varying", 16, "NO")
    assert found[3] == ("x", "double precision", None, "YES")
    assert found[-1] == ("extra", "character varying", 3, "NO")
    defined = rows(admin, 'SELECT "column", type, distkey, sortkey FROM pg_table_def WHERE distkey')
    assert defined == [("row_id", "character varying(16)", True, 1)]


def test_what_a_transaction_did_is_undone_by_an_error(admin: Session) -> None:
    admin.begin()
    admin.execute("CREATE TABLE models.other (a INTEGER)")
    admin.execute("INSERT INTO models.t (row_id) VALUES ('a')")
    admin.execute("CREATE ROLE somebody")
    with pytest.raises(WarehouseError):
        admin.execute("INSERT INTO models.t (row_id) VALUES (NULL)")
    with pytest.raises(WarehouseError, match="aborted"):
        admin.execute("SELECT 1")
    admin.rollback()
    assert rows(admin, "SELECT COUNT(*) FROM models.t") == [(0,)]
    assert rows(admin, "SELECT role_name FROM svv_roles") == []
    with pytest.raises(WarehouseError, match=r'relation "models\.other" does not exist'):
        admin.execute("SELECT * FROM models.other")


def test_a_process_may_end_while_a_database_is_put_to_rest(tmp_path: Path) -> None:
    code = """
import pathlib, sys, time
from local.services.warehouse import database
database.IDLE_SECONDS = 0.05
made = database.Database(pathlib.Path(sys.argv[1]), "tidemill")
connection = made.connect()
connection.execute("CREATE TABLE main.t AS SELECT range AS a, random() AS b FROM range(3000000)")
made.release(connection)
time.sleep(0.06)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_committed_rows_survive_a_lost_process(database: Database, admin: Session) -> None:
    admin.execute("INSERT INTO models.t (row_id) VALUES ('a')")
    copied = Path(str(database.path) + ".wal")
    assert copied.exists(), "the commit is in the log before it is acknowledged"
    again = Database(database.path.parents[1], "tidemill2")
    again.path.parent.mkdir()
    again.path.write_bytes(database.path.read_bytes())
    Path(str(again.path) + ".wal").write_bytes(copied.read_bytes())
    session = Session(again, "admin", superuser=True, storage=lambda role: None)
    assert rows(session, "SELECT row_id FROM models.t") == [("a",)]
    session.close()
    again.close()


def test_truncate_commits(admin: Session) -> None:
    admin.execute("INSERT INTO models.t (row_id) VALUES ('a')")
    admin.begin()
    admin.execute("TRUNCATE models.t")
    admin.rollback()
    assert rows(admin, "SELECT COUNT(*) FROM models.t") == [(0,)]


def test_what_redshift_refuses_in_a_transaction(admin: Session) -> None:
    for sql in ("VACUUM models.t", "ALTER TABLE models.t ALTER COLUMN name TYPE VARCHAR(9)"):
        admin.begin()
        with pytest.raises(WarehouseError, match="transaction block"):
            admin.execute(sql)
        admin.rollback()
    with pytest.raises(WarehouseError, match="transaction block"):
        admin.execute("LOCK models.t")


# Concurrency


def test_a_lock_makes_transactions_wait(admin: Session, open_: Open) -> None:
    other = open_()
    admin.begin()
    admin.execute("LOCK models.t")
    admin.execute("INSERT INTO models.t (row_id) VALUES ('a')")
    seen: list[Any] = []

    def second() -> None:
        other.begin()
        other.execute("LOCK models.t")
        seen.append(rows(other, "SELECT COUNT(*) FROM models.t"))
        other.execute("INSERT INTO models.t (row_id) SELECT 'b' WHERE 1 = 1")
        other.commit()

    thread = threading.Thread(target=second)
    thread.start()
    time.sleep(0.2)
    assert seen == []
    reader = open_()
    assert rows(reader, "SELECT COUNT(*) FROM models.t") == [(0,)]
    admin.commit()
    thread.join(5)
    assert seen == [[(1,)]]
    assert rows(reader, "SELECT COUNT(*) FROM models.t") == [(2,)]


def test_a_conflict_is_error_1023(admin: Session, open_: Open) -> None:
    other = open_()
    for session in (admin, other):
        session.begin()
        rows(session, "SELECT COUNT(*) FROM models.t")
    admin.execute("INSERT INTO models.t (row_id) VALUES ('a')")
    admin.commit()
    with pytest.raises(ConflictError, match=r"1023 DETAIL: Serializable isolation violation"):
        other.execute("INSERT INTO models.t (row_id) VALUES ('b')")
    other.rollback()
    assert rows(other, "SELECT row_id FROM models.t") == [("a",)]


def test_a_waiting_statement_can_be_cancelled(admin: Session, open_: Open) -> None:
    other = open_()
    admin.begin()
    admin.execute("INSERT INTO models.t (row_id) VALUES ('a')")
    threading.Timer(0.2, other.cancel).start()
    with pytest.raises(CancelledError):
        other.execute("DELETE FROM models.t")
    admin.commit()


def test_many_writers_lose_nothing(admin: Session, open_: Open) -> None:
    def write(number: int) -> None:
        session = open_()
        for step in range(5):
            session.execute(
                "INSERT INTO models.t (row_id) VALUES (:id)", {"id": f"{number}-{step}"}
            )
        session.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(admin, "SELECT COUNT(DISTINCT row_id), COUNT(*) FROM models.t") == [(30, 30)]


# Rights


def test_rights_by_role(admin: Session, open_: Open) -> None:
    loader = open_("IAMR:Loader", superuser=False)
    with pytest.raises(WarehouseError, match="permission denied for schema models"):
        loader.execute("SELECT * FROM models.t")
    admin.execute("CREATE ROLE loading")
    admin.execute('CREATE USER "IAMR:Loader" PASSWORD DISABLE')
    admin.execute('GRANT ROLE loading TO "IAMR:Loader"')
    admin.execute("GRANT USAGE ON SCHEMA models TO ROLE loading")
    with pytest.raises(WarehouseError, match="permission denied for relation t"):
        loader.execute("SELECT * FROM models.t")
    admin.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA models TO ROLE loading")
    loader.execute("INSERT INTO models.t (row_id) VALUES ('a')")
    assert rows(loader, "SELECT row_id, current_user FROM models.t") == [("a", "IAMR:Loader")]
    for sql in (
        "DELETE FROM models.t",
        "UPDATE models.t SET n = 1",
        "DROP TABLE models.t",
        "ALTER TABLE models.t ADD COLUMN y INTEGER",
        "CREATE TABLE models.mine (a INTEGER)",
        "CREATE ROLE mine",
        "GRANT SELECT ON models.t TO PUBLIC",
    ):
        with pytest.raises(WarehouseError, match="permission denied"):
            loader.execute(sql)
    loader.begin()
    with pytest.raises(WarehouseError, match="permission denied"):
        loader.execute("LOCK models.t")
    loader.rollback()
    loader.execute("CREATE TEMP TABLE mine (a VARCHAR(2))")
    with pytest.raises(WarehouseError, match="too long"):
        loader.execute("INSERT INTO mine VALUES ('abc')")
    admin.execute("REVOKE SELECT ON models.t FROM ROLE loading")
    with pytest.raises(WarehouseError, match="permission denied for relation t"):
        loader.execute("SELECT * FROM models.t")


def test_default_rights_reach_new_tables(admin: Session, open_: Open) -> None:
    admin.execute("CREATE ROLE reading")
    admin.execute('CREATE USER "IAMR:r" PASSWORD DISABLE')
    admin.execute('GRANT ROLE reading TO "IAMR:r"')
    admin.execute("GRANT USAGE ON SCHEMA models TO ROLE reading")
    admin.execute(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA models GRANT SELECT ON TABLES TO ROLE reading"
    )
    admin.execute("CREATE TABLE models.later (a INTEGER)")
    reader = open_("IAMR:r", superuser=False)
    assert rows(reader, "SELECT * FROM models.later") == []
    admin.execute("DROP TABLE models.later")
    admin.execute("CREATE TABLE models.later (a INTEGER)")
    assert rows(admin, "SELECT COUNT(*) FROM svv_relation_privileges") == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        'SELECT * FROM "/etc/passwd"',
        "SELECT * FROM tidemill_catalogue.users",
        "SELECT * FROM duckdb_tables()",
        "COPY (SELECT 1) TO '/tmp/x'",
        "ATTACH '/tmp/x.duckdb'",
        "INSTALL httpfs",
        "PRAGMA database_list",
        "SELECT 1; SELECT 2",
        "CREATE TABLE t (a BOGUS)",
        "SELEC 1",
        "",
    ],
)
def test_what_is_not_redshifts_is_refused(admin: Session, sql: str) -> None:
    with pytest.raises(WarehouseError):
        admin.execute(sql)


# Queries


def test_parameters_are_values_and_nothing_else(admin: Session) -> None:
    sql = "SELECT COUNT(*) FROM models.t WHERE row_id = :id AND n = :n AND name LIKE ':id'"
    hostile = {"id": "x' OR '1'='1", "n": "1"}
    assert admin.execute(sql, hostile).rows == [(0,)]
    with pytest.raises(WarehouseError, match="there is no parameter :n"):
        admin.execute(sql, {"id": "x"})


def test_functions_and_labels(admin: Session) -> None:
    outcome = admin.execute(
        "SELECT COUNT(*), 7 / 2, NVL(NULL, 1) AS one, DATEADD(day, 1, DATE '2024-02-28') AS d,"
        " GETDATE() IS NOT NULL AS g, DATEDIFF(day, '2024-01-01'::date, '2024-02-01'::date) AS n,"
        " LISTAGG(name, ',') WITHIN GROUP (ORDER BY name) AS l, DECODE(1, 1, 'a', 'b') AS k"
        " FROM models.t"
    )
    assert [name for name, _ in outcome.columns or ()][:3] == ["count", "?column?", "one"]
    row = outcome.rows[0]
    assert (row[0], row[1], row[2], row[4], row[5], row[7]) == (0, 3, 1, True, 31, "a")


def test_errors_read_like_redshifts(admin: Session) -> None:
    for sql, text in {
        "SELECT * FROM nowhere": 'relation "nowhere" does not exist',
        "SELECT * FROM nosuch.t": 'schema "nosuch" does not exist',
        "SELECT nothing FROM models.t": 'column "nothing" does not exist',
        "SELECT 1 / 0": "Divide by zero",
        "INSERT INTO models.t (row_id) VALUES (1, 2)": "more expressions than target columns",
        "CREATE SCHEMA models": "already exists",
        "DROP TABLE models.gone": 'Table "gone" does not exist',
    }.items():
        with pytest.raises(WarehouseError, match=text):
            admin.execute(sql)
