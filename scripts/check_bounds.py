"""Check that a resolution to the lowest versions took the bounds that pyproject.toml states.

    python scripts/check_bounds.py RESOLVED.txt EXTRA...

A bound that another requirement raises is not what the tests ran with, and is listed.
"""

import re
import sys
import tomllib
from pathlib import Path


def raised(resolved: dict[str, str], requirements: list[str]) -> list[str]:
    """The requirements whose resolved version is not their lower bound."""
    lines = []
    for requirement in requirements:
        match = re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", requirement)
        if match is None:
            continue
        name, bound = _canonical(match[1]), match[2]
        version = resolved.get(name, "nothing")
        # 1.20 is 1.20.0, and 1.20.0 is no 1.20.1.
        if not re.fullmatch(re.escape(bound) + r"(\.0)*(\.post\d+)?", version):
            lines.append(f"{requirement}: resolved to {version}")
    return lines


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Print each bound that does not hold; the exit status says whether there are any."""
    path, *extras = sys.argv[1:]
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = [line.split("==") for line in Path(path).read_text(encoding="utf-8").splitlines() if "==" in line]
    resolved = {_canonical(name): version.split()[0] for name, version in pins}
    asked = [each for extra in extras for each in project["optional-dependencies"][extra]]
    own = {re.split(r"[>=\[]", each)[0] for each in asked}
    asked += [each for each in project["dependencies"] if re.split(r"[>=\[]", each)[0] not in own]
    lines = raised(resolved, asked)
    print("\n".join(lines) or f"{len(asked)} bounds are the versions that resolved")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
