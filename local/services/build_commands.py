"""The shell commands of a build that makes an image, carried out without a shell or Docker.

What a buildspec does with `docker` and `aws ecr` is understood and done as the build's role;
any other program fails the build and is named, so that no step is passed over in silence.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from botocore.exceptions import ClientError

from local.services.base import Caller, Host, RoleSession, ServiceError
from local.services.image_build import BuildError, Log, build
from local.services.images import Image

_LAYER_ACTIONS = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
)
_SWITCHES = frozenset({"--no-cache", "--pull", "--quiet", "-q", "--push", "--load", "--rm"})
_WITH_VALUE = frozenset({"--platform", "--provenance", "--progress", "--sbom", "--builder"})

_DOLLAR = "\0"  # one in single quotes, which stays


class Shell:
    """Runs commands in a source folder with variables, as a role's session.

    `privileged` is the project's setting: without it there is no Docker daemon in a build.
    """

    def __init__(
        self,
        host: Host,
        session: RoleSession,
        folder: Path,
        variables: dict[str, str],
        privileged: bool,
        log: Log,
    ) -> None:
        self._host = host
        self._session = session
        self._root = folder
        self._folder = folder
        self._variables = variables
        self._privileged = privileged
        self._log = log
        self._images: dict[str, Image] = {}
        self._logged_in: set[str] = set()

    def run(self, text: str) -> None:
        """Carry out one command of a buildspec, several lines or `&&` included.

        Raises `BuildError` if it fails or cannot be followed.
        """
        joined = text.replace("\\\n", " ")
        for line in joined.splitlines():
            words = self._words(line)
            for part in _split(words, ("&&", ";")):
                # Only now, since the part before may have set what this one says.
                self._pipe(_split([self._expand(word) for word in part], ("|",)))

    def _words(self, line: str) -> list[str]:
        literal = re.sub(r"'[^']*'", lambda found: found[0].replace("$", _DOLLAR), line)
        if "$(" in literal or "`" in literal:
            raise BuildError("a command in a command, $(…), cannot be followed without a shell")
        lexer = shlex.shlex(literal, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        lexer.commenters = ""
        try:
            return list(lexer)
        except ValueError as error:
            raise BuildError(str(error)) from None

    def _expand(self, word: str) -> str:
        """Put variables in: `$X`, `${X}`, `${X:-default}`, `${X%%/*}` and its kin."""

        def value(found: re.Match[str]) -> str:
            name, sign, word = found[1] or found[2], found[3], found[4]
            text = self._variables.get(name, "")
            if sign == ":-":
                return text or word
            return _trimmed(text, sign, word) if sign else text

        pattern = r"\$(?:(\w+)|\{(\w+)(?:(:-|%%|%|##|#)([^}]*))?\})"
        return re.sub(pattern, value, word).replace(_DOLLAR, "$")

    def _pipe(self, commands: Sequence[list[str]]) -> None:
        if not commands or not commands[0]:
            return
        if len(commands) == 2 and commands[0][:3] == ["aws", "ecr", "get-login-password"]:
            if commands[1][:2] == ["docker", "login"]:
                self._login(commands[1])
                return
            commands = commands[1:]
        if len(commands) > 1:
            raise BuildError("pipes cannot be followed without a shell")
        self._simple(commands[0])

    def _simple(self, words: list[str]) -> None:
        known: dict[str, Callable[[list[str]], None]] = {
            "echo": lambda rest: self._log(" ".join(rest)),
            "export": self._export,
            "cd": self._change_folder,
            "set": lambda _: None,
            "docker": self._docker,
        }
        action = known.get(words[0])
        if action is None:
            raise BuildError(
                f"{words[0]} cannot be run in a local build; known are docker build, tag and push, "
                "aws ecr get-login-password | docker login, echo, export and cd"
            )
        action(words[1:])

    def _export(self, rest: list[str]) -> None:
        for word in rest:
            name, found, value = word.partition("=")
            if found:
                self._variables[name] = value

    def _change_folder(self, rest: list[str]) -> None:
        folder = (self._folder / (rest[0] if rest else self._root)).resolve()
        if not folder.is_dir():
            raise BuildError(f"cd: {rest[0]}: No such file or directory")
        self._folder = folder

    def _docker(self, words: list[str]) -> None:
        words = words[1:] if words[:1] == ["buildx"] else words
        verb, rest = (words[0], words[1:]) if words else ("", [])
        if not self._privileged:
            raise BuildError(
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker "
                "daemon running? (the project is not in privileged mode)"
            )
        if verb == "build":
            self._build(rest)
        elif verb == "tag" and len(rest) == 2:
            self._images[_tagged(rest[1])] = self._image(rest[0])
        elif verb == "push" and rest:
            self._push(rest[-1])
        elif verb not in ("version", "info"):
            raise BuildError(f"docker {verb} cannot be followed in a local build")

    def _build(self, words: list[str]) -> None:
        dockerfile, tags, arguments, context, push = "", [], {}, "", False
        rest = iter(words)
        for word in rest:
            name, found, value = word.partition("=")
            if name in ("-f", "--file"):
                dockerfile = value if found else next(rest, "")
            elif name in ("-t", "--tag"):
                tags.append(value if found else next(rest, ""))
            elif name == "--build-arg":
                key, _, given = (value if found else next(rest, "")).partition("=")
                arguments[key] = given or self._variables.get(key, "")
            elif name in _WITH_VALUE:
                _ = found or next(rest, "")
            elif name in _SWITCHES:
                push = push or name == "--push"
            elif word.startswith("-"):
                raise BuildError(f"docker build: {word} cannot be followed in a local build")
            else:
                context = word
        if not context:
            raise BuildError('"docker build" requires exactly 1 argument.')
        folder = self._folder / context
        path = self._folder / dockerfile if dockerfile else folder / "Dockerfile"
        image = build(folder, path, arguments, self._log)
        for tag in tags:
            self._images[_tagged(tag)] = image
            if push:
                self._push(tag)

    def _image(self, reference: str) -> Image:
        try:
            return self._images[_tagged(reference)]
        except KeyError:
            raise BuildError(f"No such image: {reference}") from None

    def _login(self, words: list[str]) -> None:
        try:
            self._session.client("ecr").get_authorization_token()
        except ClientError as error:
            raise BuildError(f"{error}") from None
        self._logged_in.add(words[-1].removeprefix("https://").rstrip("/"))
        self._log("Login Succeeded")

    def _push(self, reference: str) -> None:
        image = self._image(reference)
        registry, _, rest = _tagged(reference).partition("/")
        repository, _, tag = rest.rpartition(":")
        if registry not in self._logged_in:
            raise BuildError("no basic auth credentials")
        host = self._host
        key = self._session.environment()["AWS_ACCESS_KEY_ID"]
        arn = f"arn:aws:ecr:{host.region}:{host.account}:repository/{repository}"
        try:
            for action in _LAYER_ACTIONS:
                host.authorize(Caller(key, host.account, host.region), action, arn)
            self._session.client("ecr").put_image(
                repositoryName=repository, imageManifest=image.manifest, imageTag=tag
            )
        except ServiceError as error:
            raise BuildError(f"denied: {error.message}") from None
        except ClientError as error:
            if error.response["Error"]["Code"] != "ImageAlreadyExistsException":
                raise BuildError(f"{error.response['Error']['Message']}") from None
        self._log(f"{tag}: digest: {image.digest}")


def _tagged(reference: str) -> str:
    last = reference.rpartition("/")[2]
    return reference if ":" in last else f"{reference}:latest"


def _split(words: Sequence[str], signs: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word in signs:
            parts.append([])
        elif word and set(word) <= set(";&|"):
            if "|" in signs:
                raise BuildError(f"{word} cannot be followed without a shell")
            parts[-1].append(word)
        else:
            parts[-1].append(word)
    return parts


def _trimmed(text: str, sign: str, pattern: str) -> str:
    """Without the shortest (`%`, `#`) or longest piece at the end or start that matches."""
    at_end = sign[0] == "%"
    places = range(len(text) + 1)
    for place in reversed(places) if at_end == (len(sign) == 1) else places:
        piece, rest = (text[place:], text[:place]) if at_end else (text[:place], text[place:])
        if fnmatch.fnmatchcase(piece, pattern):
            return rest
    return text
