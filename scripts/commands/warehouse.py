"""Questions to the target's warehouse through the Redshift Data API, as its administrator."""

from __future__ import annotations

from typing import Any

from scripts.commands.console import CommandError, backoff
from scripts.commands.target import Target


class Warehouse:
    """The warehouse of a target, asked with the namespace's managed admin secret."""

    def __init__(self, target: Target) -> None:
        self._data = target.client("redshift-data")
        self._workgroup = target.outputs["WorkgroupName"]
        self._database = target.outputs["Database"]
        serverless = target.client("redshift-serverless")
        namespace = serverless.get_workgroup(workgroupName=self._workgroup)["workgroup"][
            "namespaceName"
        ]
        described = serverless.get_namespace(namespaceName=namespace)["namespace"]
        self._secret = described["adminPasswordSecretArn"]

    def execute(self, sql: str, **parameters: str) -> str:
        """Carry out one statement and return its id. Raises `CommandError` where it fails."""
        arguments: dict[str, Any] = {
            "WorkgroupName": self._workgroup,
            "Database": self._database,
            "SecretArn": self._secret,
            "Sql": sql,
        }
        if parameters:
            arguments["Parameters"] = [{"name": k, "value": v} for k, v in parameters.items()]
        statement = self._data.execute_statement(**arguments)["Id"]
        for _ in backoff(0.02, 2.0):
            described = self._data.describe_statement(Id=statement)
            if described["Status"] == "FINISHED":
                return str(statement)
            if described["Status"] in ("FAILED", "ABORTED"):
                raise CommandError(f"the warehouse refused a statement: {described.get('Error')}")
        return str(statement)

    def rows(self, sql: str, **parameters: str) -> list[list[Any]]:
        """The rows that a query answers, each a list of plain values."""
        statement = self.execute(sql, **parameters)
        answer = self._data.get_statement_result(Id=statement)
        found = [[_value(cell) for cell in record] for record in answer["Records"]]
        while token := answer.get("NextToken"):
            answer = self._data.get_statement_result(Id=statement, NextToken=token)
            found += [[_value(cell) for cell in record] for record in answer["Records"]]
        return found

    def count(self, model: str, source_id: str | None = None) -> int:
        """The rows of a model in the warehouse, of all sources or of one."""
        sql = f'SELECT COUNT(*) FROM models."{model}"'  # noqa: S608  # a name checked by its file
        if source_id is None:
            return int(self.rows(sql)[0][0])
        return int(self.rows(f"{sql} WHERE source_id = :source", source=source_id)[0][0])


def _value(cell: dict[str, Any]) -> Any:
    return None if cell.get("isNull") else next(iter(cell.values()))
