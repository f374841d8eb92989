"""What is promised of the packages: the extras, the sizes, the container and the compose file."""

import asyncio
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
pytest.importorskip("websockets", reason="needs the package websockets")
pytest.importorskip("prometheus_client", reason="needs the package prometheus_client")

from serve_client import with_server

from codec.serve.config import ServeConfig

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"test", "docs"}
SOURCES = [
    path
    for pattern in ("README.md", "docs/**/*.md", "codec/**/*.py", "codec/**/*.md", "codec/**/*.yaml")
    for path in sorted(ROOT.glob(pattern))
]


def names_of(requirement: str) -> set[str]:
    return set(re.fullmatch(r"codec\[(.*)\]", requirement)[1].split(","))


def test_the_extra_all_is_every_extra_for_users():
    (all_of_them,) = EXTRAS["all"]
    assert names_of(all_of_them) == set(EXTRAS) - FOR_DEVELOPERS - {"all"}
    assert {"train", "eval", "hf", "serve", "onnx", "ray", "lm", "all"} <= set(EXTRAS)


def test_messages_and_pages_name_only_extras_that_exist():
    named = {}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"(?:pip install [\"']?(?:codec|\.)|codec)\[([a-z,]+)\]|(?:require|run)_extra\(\s*\"(\w+)\"", text):
            for name in (match[1] or match[2]).split(","):
                named.setdefault(name, path)
    assert len(named) > 5
    assert {name: path for name, path in named.items() if name not in EXTRAS} == {}


def test_every_requirement_has_a_lower_bound():
    every = [*PROJECT["dependencies"], *(one for name, extra in EXTRAS.items() if name != "all" for one in extra)]
    assert [one for one in every if not re.search(r"[>=]=\d", one)] == []


def test_the_pins_satisfy_the_lower_bounds():
    packaging = pytest.importorskip("packaging.requirements")
    pins = {}
    for path in ROOT.glob("requirements*.txt"):
        for line in path.read_text().splitlines():
            if match := re.match(r"([\w.-]+)==([^\s;]+)", line):
                pins[match[1].lower().replace("_", "-")] = match[2]
    for one in [*PROJECT["dependencies"], *(one for name, extra in EXTRAS.items() if name != "all" for one in extra)]:
        requirement = packaging.Requirement(one)
        pin = pins.get(requirement.name.lower().replace("_", "-"))
        assert pin is None or requirement.specifier.contains(pin), f"{one}, but the pin is {pin}"


def test_classifiers_name_the_python_versions_that_are_required():
    versions = re.findall(r":: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert versions == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == f">={versions[0]}"


# The container


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions of the Dockerfile with their arguments, by stage; comments and continued lines are resolved."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found, instructions = {}, []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, argument = line.partition(" ")
        if name == "FROM":
            instructions = found[argument.split()[-1]] = [("FROM", argument.split()[0])]
        instructions.append((name, argument.strip()))
    return found


def inherited(stage: str) -> dict[str, str]:
    """The last value of each instruction in a stage and those that it starts from."""
    instructions = stages()[stage]
    base = instructions[0][1]
    return {**(inherited(base) if base in stages() else {}), **dict(instructions)}


COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["codec"]


@pytest.mark.parametrize("stage", ["serve", "command"])
def test_a_container_runs_the_command_and_not_as_root(stage):
    final = inherited(stage)
    assert final["ENTRYPOINT"] == '["codec"]'
    user = final["USER"].partition(":")[0]
    assert user.isdigit() and user != "0"


def test_what_is_built_by_default_has_no_health_check_and_prints_help():
    last = list(stages())[-1]
    assert inherited(last)["CMD"] == '["--help"]' and "HEALTHCHECK" not in inherited(last)


def test_what_the_dockerfile_copies_is_there_and_not_ignored():
    shown = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    copied = {
        source
        for instructions in stages().values()
        for name, argument in instructions
        if name == "COPY" and not argument.startswith("--from")
        for source in shlex.split(argument)[:-1]
    }
    assert copied == shown
    assert all((ROOT / name).exists() for name in copied)


def test_the_health_check_asks_the_port_that_is_served_and_published():
    final = inherited("serve")
    command = yaml.safe_load(final["CMD"])
    assert command[0] == "serve" and command[command.index("--host") + 1] == "0.0.0.0"
    port = command[command.index("--port") + 1]
    assert int(port) == ServeConfig().port
    assert final["EXPOSE"] == port
    assert f"http://127.0.0.1:{port}/healthz" in final["HEALTHCHECK"]
    assert [one.rpartition(":")[2] for one in COMPOSE["ports"]] == [port]


def test_the_health_check_passes_for_a_server_and_fails_without_one(tiny_model):
    check = yaml.safe_load(inherited("serve")["HEALTHCHECK"].partition(" CMD ")[2])
    assert check[:2] == ["python", "-c"]

    async def passes(port: int) -> bool:
        code = check[2].replace(f":{ServeConfig().port}/", f":{port}/")
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.DEVNULL)
        return await process.wait() == 0

    ports = []

    async def test(server):
        ports.append(server.port)
        assert await passes(server.port)

    with_server(tiny_model, test)
    assert not asyncio.run(passes(*ports))


def test_the_compose_file_starts_the_server_for_this_machine_alone():
    assert COMPOSE["build"]["target"] in stages()
    assert {"DEVICE"} == set(COMPOSE["build"]["args"]) <= {value.partition("=")[0] for name, value in stages()["build"] if name == "ARG"}
    assert all(one.startswith("127.0.0.1:") for one in COMPOSE["ports"])
    assert COMPOSE["read_only"] and "ALL" in COMPOSE["cap_drop"] and "/tmp" in COMPOSE["tmpfs"]


def test_the_compose_file_for_cuda_is_that_of_the_image_with_another_device():
    cuda = yaml.safe_load((ROOT / "compose.cuda.yaml").read_text())["services"]
    assert cuda["codec"]["build"]["args"] == {"DEVICE": "cuda"}
    assert cuda["codec"]["command"] == [*yaml.safe_load(inherited("serve")["CMD"]), "--device", "cuda"]
