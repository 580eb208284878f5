"""Queries and DML: from Redshift's SQL to DuckDB's, with sqlglot.

On the way every table is looked up and the rights that the statement needs are collected; named
parameters become text literals (as text they reach Redshift too, which infers their types); and
what is written to a text column is bound to its length in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.services.warehouse import catalogue
from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.names import TableName
from local.services.warehouse.tables import Table
from local.services.warehouse.types import ColumnType

Lookup = Callable[[TableName], Table]
"""Finds a table, or raises `WarehouseError`."""


@dataclass(frozen=True)
class Settings:
    """What the functions about the session answer."""

    user: str
    database: str
    schema: str = "public"


@dataclass
class Translation:
    """A statement for DuckDB and what it touches."""

    sql: str
    kind: str
    """`select`, `insert`, `update`, `delete`, `merge`, `create table` or `create view`."""
    needs: list[tuple[Table, str]] = field(default_factory=list)
    """The rights: pairs of a table and a privilege."""
    created: TableName | None = None
    temporary: bool = False


def translate(
    sql: str, parameters: Mapping[str, str], lookup: Lookup, settings: Settings
) -> Translation:
    """Translate one statement. Raises `WarehouseError` for what Redshift would refuse."""
    root = _parse(sql)
    return _Translator(root, parameters, lookup, settings).run()


def expression(sql: str) -> str:
    """Translate a DEFAULT expression."""
    from sqlglot import exp

    root = _parse(f"SELECT {sql}")
    if root.find(exp.Column, exp.Table):
        raise WarehouseError("cannot use column references in default expression")
    _functions(root, Settings("", ""))
    return str(root.expressions[0].sql(dialect="duckdb"))


def _parse(sql: str) -> Any:
    import logging

    import sqlglot
    from sqlglot.errors import SqlglotError

    # What sqlglot cannot say in DuckDB's SQL it logs; DuckDB's own answer is the error.
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    try:
        statements = [s for s in sqlglot.parse(sql, read="redshift") if s is not None]
    except SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        near = details[0].get("highlight") or sql.strip().split(" ", 1)[0]
        raise WarehouseError(f'syntax error at or near "{near}"') from None
    if len(statements) != 1:
        if not statements:
            raise WarehouseError("the statement is empty")
        raise WarehouseError("cannot insert multiple commands into a prepared statement")
    return statements[0]


def _functions(root: Any, settings: Settings) -> None:
    """Put in place what differs: the session's functions and the time."""
    from sqlglot import exp

    for node in list(root.find_all(exp.Func)):
        replacement: Any = None
        if isinstance(node, exp.CurrentTimestamp):
            name = "sysdate_" if node.args.get("sysdate") else "getdate"
            replacement = exp.Anonymous(this=f"{catalogue.SCHEMA}.{name}")
        elif isinstance(node, exp.CurrentUser | exp.SessionUser):
            replacement = exp.Literal.string(settings.user)
        elif isinstance(node, exp.CurrentSchema):
            replacement = exp.Literal.string(settings.schema)
        elif isinstance(node, exp.CurrentDatabase | exp.CurrentCatalog):
            replacement = exp.Literal.string(settings.database)
        elif isinstance(node, exp.CurrentVersion):
            replacement = exp.Literal.string("PostgreSQL 8.0.2 (Tidemill's local warehouse)")
        if replacement is not None:
            node.replace(replacement)


class _Translator:
    def __init__(
        self, root: Any, parameters: Mapping[str, str], lookup: Lookup, settings: Settings
    ) -> None:
        self.root = root
        self.parameters = parameters
        self.lookup = lookup
        self.settings = settings
        self.result = Translation("", "")

    def run(self) -> Translation:
        from sqlglot import exp

        kinds = {
            exp.Select: "select",
            exp.SetOperation: "select",
            exp.Subquery: "select",
            exp.Values: "select",
            exp.Insert: "insert",
            exp.Update: "update",
            exp.Delete: "delete",
            exp.Merge: "merge",
        }
        kind = next((kinds[c] for c in kinds if isinstance(self.root, c)), None)
        if isinstance(self.root, exp.Create) and self.root.expression is not None:
            kind = f"create {str(self.root.args['kind']).lower()}"
        if kind not in (*kinds.values(), "create table", "create view"):
            word = str(self.root.sql(dialect="redshift")).split(" ", 1)[0]
            raise WarehouseError(f'syntax error at or near "{word}"')
        self.result.kind = kind
        self._parameters()
        for identifier in self.root.find_all(exp.Identifier):
            identifier.set("this", identifier.name.lower())
        _functions(self.root, self.settings)
        if kind == "select":
            _label(self.root)
        target = self._target()
        self._tables(target)
        if kind == "insert":
            self._insert(target)
        elif kind == "update":
            self._assignments(self.root, target)
        elif kind == "merge":
            self._merge(target)
        self.result.sql = self.root.sql(dialect="duckdb")
        return self.result

    def _parameters(self) -> None:
        from sqlglot import exp

        used = set()
        for placeholder in list(self.root.find_all(exp.Placeholder)):
            name = placeholder.name
            if name not in self.parameters:
                raise WarehouseError(f"there is no parameter :{name}")
            used.add(name)
            placeholder.replace(exp.Literal.string(self.parameters[name]))

    def _target(self) -> Any:
        """The node of the table that is written to, if the statement writes."""
        from sqlglot import exp

        if self.result.kind == "select":
            return None
        node = self.root.this
        node = node.this if isinstance(node, exp.Schema) else node
        if not isinstance(node, exp.Table):
            raise WarehouseError(f'syntax error at or near "{self.result.kind}"')
        if self.result.kind.startswith("create"):
            self._creation(node)
        return node

    def _creation(self, node: Any) -> None:
        from sqlglot import exp

        properties = self.root.args.get("properties")
        kept = []
        if properties is not None:
            kept = [p for p in properties.expressions if isinstance(p, exp.TemporaryProperty)]
        self.result.temporary = bool(kept) or node.name.startswith("#")
        if self.result.temporary:
            kept = [exp.TemporaryProperty()]
        self.root.set("properties", exp.Properties(expressions=kept) if kept else None)
        self.root.set("no_schema_binding", None)
        name = TableName(node.db or None, node.name)
        self.result.created = name
        if self.result.temporary:
            node.set("db", exp.to_identifier("main", quoted=True))
            node.set("catalog", exp.to_identifier("temp", quoted=True))
        else:
            node.set("db", exp.to_identifier(name.schema or self.settings.schema, quoted=True))

    def _tables(self, target: Any) -> None:
        from sqlglot import exp

        privileges = {"insert": "INSERT", "update": "UPDATE", "delete": "DELETE"}
        for node in list(self.root.find_all(exp.Table)):
            if not isinstance(node.this, exp.Identifier):
                function = getattr(node.this, "name", "") or node.this.key
                raise WarehouseError(f"function {function} does not exist")
            if node is target and self.result.created is not None:
                continue
            if not node.db and _is_cte(node):
                continue
            view = catalogue.system_view(node.db or None, node.name)
            if view is not None and node is not target:
                self._place(node, *view.split("."))
                continue
            table = self.lookup(TableName(node.db or None, node.name))
            if table.temporary:
                self._place(node, "main", table.name, "temp")
            else:
                self._place(node, table.schema, table.name)
            if node is not target:
                self.result.needs.append((table, "SELECT"))
            elif self.result.kind == "merge":
                self.result.needs += [(table, "SELECT"), (table, "UPDATE"), (table, "INSERT")]
            else:
                self.result.needs.append((table, privileges[self.result.kind]))

    @staticmethod
    def _place(node: Any, schema: str, name: str, database: str | None = None) -> None:
        from sqlglot import exp

        if not node.alias and node.name != name:
            node.set("alias", exp.TableAlias(this=exp.to_identifier(node.name, quoted=True)))
        node.set("this", exp.to_identifier(name, quoted=True))
        node.set("db", exp.to_identifier(schema, quoted=True))
        node.set("catalog", exp.to_identifier(database, quoted=True) if database else None)

    def _written(self, target: Any) -> dict[str, ColumnType]:
        return next(table for table, _ in self.result.needs if table.name == target.name).columns

    def _insert(self, target: Any) -> None:
        """Put the rows through a query that checks the lengths of text."""
        from sqlglot import exp

        columns = self._written(target)
        schema = self.root.this
        names = (
            [item.name for item in schema.expressions]
            if isinstance(schema, exp.Schema)
            else list(columns)
        )
        for name in names:
            if name not in columns:
                raise WarehouseError(f'column "{name}" of relation "{target.name}" does not exist')
        source = self.root.expression
        if source is None:
            return
        if isinstance(source, exp.Values):
            self._values(source, names, target)
        elif len(source.selects) == len(names) or any(s.is_star for s in source.selects):
            pass
        elif len(source.selects) > len(names):
            raise WarehouseError("INSERT has more expressions than target columns")
        else:
            raise WarehouseError("INSERT has more target columns than expressions")
        checked = [
            _bounded(exp.column(f"c{index}", table="written"), columns[name]).as_(name)
            for index, name in enumerate(names)
        ]
        inner = source if isinstance(source, exp.Values) else source.subquery()
        alias = exp.TableAlias(
            this=exp.to_identifier("written"),
            columns=[exp.to_identifier(f"c{index}") for index in range(len(names))],
        )
        inner.set("alias", alias)
        self.root.set("expression", exp.select(*checked).from_(inner))
        if not isinstance(schema, exp.Schema):
            self.root.set(
                "this",
                exp.Schema(
                    this=schema, expressions=[exp.to_identifier(n, quoted=True) for n in names]
                ),
            )

    def _values(self, source: Any, names: list[str], target: Any) -> None:
        from sqlglot import exp

        details = next(t for t, _ in self.result.needs if t.name == target.name).details
        for row in source.expressions:
            if len(row.expressions) != len(names):
                more = "expressions than target columns"
                if len(row.expressions) < len(names):
                    more = "target columns than expressions"
                raise WarehouseError(f"INSERT has more {more}")
            for value, name in zip(list(row.expressions), names, strict=True):
                if isinstance(value, exp.Var) and value.name.upper() == "DEFAULT":
                    default = details["columns"][name].get("default")
                    value.replace(_default(default))

    def _assignments(self, node: Any, target: Any) -> None:
        columns = self._written(target)
        for assignment in node.expressions:
            name = assignment.this.name
            if name not in columns:
                raise WarehouseError(f'column "{name}" of relation "{target.name}" does not exist')
            assignment.set("expression", _bounded(assignment.expression, columns[name]))

    def _merge(self, target: Any) -> None:
        from sqlglot import exp

        columns = self._written(target)
        for when in self.root.args["whens"].expressions:
            then = when.args["then"]
            if isinstance(then, exp.Update):
                self._assignments(then, target)
            elif isinstance(then, exp.Insert) and then.this is not None:
                values = [
                    _bounded(value, columns[name.name])
                    for name, value in zip(
                        then.this.expressions, then.expression.expressions, strict=True
                    )
                ]
                then.expression.set("expressions", values)


def _default(sql: str | None) -> Any:
    from sqlglot import exp

    if sql is None:
        return exp.Null()
    node = _parse(f"SELECT {sql}")
    _functions(node, Settings("", ""))
    return node.expressions[0]


def _bounded(value: Any, column: ColumnType) -> Any:
    """The value, or an error where it is text that is longer than its column."""
    from sqlglot import exp

    if not column.is_text:
        return value
    return exp.Anonymous(
        this=f"{catalogue.SCHEMA}.within_bytes",
        expressions=[
            exp.cast(value, "text"),
            exp.Literal.number(column.length),
            exp.Literal.string(column.name),
        ],
    )


def _is_cte(node: Any) -> bool:
    """Whether a name without a schema is one of a WITH around it."""
    parent = node.parent
    while parent is not None:
        clause = parent.args.get("with_") or parent.args.get("with")
        if clause is not None and any(cte.alias == node.name for cte in clause.expressions):
            return True
        parent = parent.parent
    return False


def _label(root: Any) -> None:
    """Name the unnamed columns of a result as Redshift does."""
    from sqlglot import exp

    select = root
    while not isinstance(select, exp.Select):
        inner = select.this
        if not isinstance(inner, exp.Query):
            return
        select = inner
    labelled = []
    for item in select.expressions:
        inner = item
        while isinstance(inner, exp.Cast | exp.Paren | exp.Window):
            inner = inner.this
        if isinstance(item, exp.Alias | exp.Star | exp.Column) or item.is_star:
            labelled.append(item)
        elif isinstance(inner, exp.Column):
            labelled.append(item.as_(inner.name, quoted=True))
        else:
            labelled.append(item.as_(_function_name(inner), quoted=True))
    select.set("expressions", labelled)


def _function_name(node: Any) -> str:
    from sqlglot import exp

    if isinstance(node, exp.Anonymous):
        return str(node.name).rpartition(".")[2].lower()
    if isinstance(node, exp.Func) and not isinstance(node, exp.Case | exp.Binary):
        return str(node.sql_name()).lower()
    return "case" if isinstance(node, exp.Case) else "?column?"
