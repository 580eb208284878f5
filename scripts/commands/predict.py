"""`predict`: ask the deployed API, as curl or as a Postman collection where that is wanted."""

from __future__ import annotations

import json
import shlex
import socket
from pathlib import Path
from typing import Any

from scripts.commands.console import CommandError, Console
from scripts.commands.target import Target


class Asker:
    """Asks the API over one kept-alive connection."""

    def __init__(self, target: Target) -> None:
        from botocore.httpsession import URLLib3Session

        self._target = target
        # The local cloud vouches for itself; in an account the system's certificates do.
        bundle: Any = target.ca_bundle or True
        # A body that waits for the headers' acknowledgement waits 40 ms.
        at_once: Any = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]  # its stubs want text
        self._http = URLLib3Session(verify=bundle, socket_options=at_once)

    def ask(self, model: str, features: str) -> dict[str, Any]:
        """POST `features` (a JSON object). Raises `CommandError` unless the API answers 200."""
        answer = self._http.send(_signed(self._target, model, features).prepare())
        try:
            document = json.loads(answer.content)
        except ValueError:
            document = {"message": answer.content.decode(errors="replace")[:500]}
        if answer.status_code != 200:
            hint = ""
            if answer.status_code == 503:
                hint = f"train a first version: {self._target.command(f'refresh {model}')}"
            message = document.get("message") or document
            raise CommandError(f"the API answered {answer.status_code}: {message}", hint)
        return dict(document)


def predict(target: Target, model: str, features: str) -> dict[str, Any]:
    """Ask the API once; see `Asker.ask`."""
    return Asker(target).ask(model, features)


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print a prediction and the version that made it."""
    value = answer.get("prediction", answer.get("predictions"))
    console.result(answer, [f"{value}  ({answer['model']} version {answer['version']})"])


def curl(target: Target, model: str, features: str) -> str:
    """The signed request as a curl command; its signature is valid for some minutes."""
    request = _signed(target, model, features).prepare()
    words = ["curl", "--request", "POST", request.url, "--data", features]
    if bundle := target.ca_bundle:
        words += ["--cacert", bundle]
    for name, value in request.headers.items():
        if name.lower() != "content-length":
            text = value.decode() if isinstance(value, bytes) else str(value)
            words += ["--header", f"{name}: {text}"]
    return shlex.join(words)


def postman(target: Target, file: Path) -> int:
    """Write a Postman collection with one request a model; returns how many there are.

    The credentials are Postman variables, so that the file holds no secret.
    """
    from tidemill.model import load_models

    models = load_models(target.models_directory)
    region = target.session.region_name
    signing = {
        "accessKey": "{{aws_access_key_id}}",
        "secretKey": "{{aws_secret_access_key}}",
        "sessionToken": "{{aws_session_token}}",
        "region": region,
        "service": "execute-api",
    }
    auth = {
        "type": "awsv4",
        "awsv4": [{"key": k, "value": v, "type": "string"} for k, v in signing.items()],
    }
    requests = [
        {
            "name": name,
            "request": {
                "method": "POST",
                "url": f"{target.api_url}/{name}",
                "header": [{"key": "Content-Type", "value": "application/json"}],
                "body": {
                    "mode": "raw",
                    "raw": json.dumps(
                        {column.name: _example(column.type.kind) for column in model.features},
                        indent=2,
                    ),
                },
            },
        }
        for name, model in models.items()
    ]
    schema = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
    document = {
        "info": {"name": f"Tidemill {target.stage}", "schema": schema},
        "auth": auth,
        "item": requests,
    }
    file.write_text(json.dumps(document, indent=2) + "\n")
    return len(requests)


def _example(kind: str) -> Any:
    text = {"VARCHAR": "text", "DATE": "2026-01-31", "TIMESTAMP": "2026-01-31 12:00:00"}
    return True if kind == "BOOLEAN" else text.get(kind, 0)


def _signed(target: Target, model: str, features: str) -> Any:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    target.require_model(model)
    try:
        json.loads(features)
    except ValueError as error:
        raise CommandError(
            f"the features are not JSON: {error}",
            """quote them for the shell, as in: '{"ticker_symbol": "TDM", "change": 0.5}'""",
        ) from None
    headers = {"Content-Type": "application/json"}
    if key := target.outputs.get("ApiKeyId"):
        api_key = target.client("apigateway").get_api_key(apiKey=key, includeValue=True)
        headers["x-api-key"] = api_key["value"]
    url = f"{target.api_url}/{model}"
    request = AWSRequest(method="POST", url=url, data=features.encode(), headers=headers)
    credentials = target.session.get_credentials()
    if credentials is None:
        raise CommandError(
            "there are no AWS credentials", "sign in: aws configure, or aws sso login"
        )
    region = target.session.region_name
    SigV4Auth(credentials.get_frozen_credentials(), "execute-api", region).add_auth(request)
    return request
