"""The network's source as flat files next to the weights, for ``trust_remote_code`` without codec installed.

Transformers copies the file of a class and the files in the same folder that it imports, with their imports;
folders it does not follow. So each module of ``codec`` that the model needs becomes one file, in which only the
imports and the docstring's first line differ from the module. All else that they import is the standard library,
numpy, torch and transformers.
"""

import ast
from collections.abc import Iterable
from pathlib import Path

from codec.atomic import atomic_path
from codec.errors import CodecError

_ROOT = Path(__file__).resolve().parents[1]
_START = ("codec.hf.config", "codec.hf.model")
_NOT_RUN = ("codec.hf",)
AUTO_MAP = {
    "AutoConfig": "codec_hf_config.SpeechCodecConfig",
    "AutoModel": "codec_hf_model.SpeechCodecModel",
    "AutoModelForAudioTokenization": "codec_hf_model.SpeechCodecModel",
}
"""Of ``config.json``: where transformers finds the classes."""


def write_remote_code(folder: Path) -> list[str]:
    """Write the modules that the model needs into ``folder``, and return the names of the files.

    Raises:
        CodecError: when a module's source is not at hand, or the folder cannot be written.
    """
    sources = flat_sources()
    for name, text in sources.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(sources)


def flat_sources() -> dict[str, str]:
    """File names and texts of the model's modules and of all that these import of codec."""
    found: dict[str, str] = {}
    waiting = list(_START)
    while waiting:
        module = waiting.pop()
        name = f"{_flat(module)}.py"
        if name not in found:
            found[name], needed = _rewritten(module)
            waiting += needed
    for module in _START:
        found[f"{_flat(module)}.py"] += _list_of(found)
    return dict(sorted(found.items()))


def _list_of(names: Iterable[str]) -> str:
    """Lines that never run: transformers 4 copies only those files that a class's own file imports."""
    lines = [f"    from .{name.removesuffix('.py')} import __name__ as _  # noqa" for name in sorted(names)]
    return "\nif False:\n" + "\n".join(lines) + "\n"


def _rewritten(module: str) -> tuple[str, list[str]]:
    """A module's text with flat imports, and the modules of codec that it imports."""
    text = _source(module)
    lines, needed = text.splitlines(), []
    # From the end, so that the lines before keep their numbers.
    tree = ast.parse(text)
    unused = [node for node in ast.walk(tree) if isinstance(node, ast.If) and _for_checkers(node)]
    inside = [node for block in unused for node in ast.walk(block)]
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node not in inside]
    found: list[ast.If | ast.ImportFrom] = [*imports, *unused]
    for node in sorted(found, key=lambda node: -node.lineno):
        if isinstance(node, ast.If):
            # Transformers would ask for the packages that it names.
            lines[node.lineno - 1 : node.end_lineno] = []
        elif (node.module or "").partition(".")[0] == "codec":
            replacement, modules = _flat_import(node)
            indent = " " * node.col_offset
            lines[node.lineno - 1 : node.end_lineno] = [indent + line for line in replacement]
            needed += modules
    notice = f"# Written by codec from its module {module}, with other imports; do not edit."
    return "\n".join([notice, *lines]) + "\n", needed


def _for_checkers(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse


def _flat_import(node: ast.ImportFrom) -> tuple[list[str], list[str]]:
    """The lines in place of an import from codec, and the modules that they need."""
    package = str(node.module)
    lines, needed, names = [], [], []
    # As Python does it: packages run before what is in them, and register it.
    for parent in _packages(package):
        lines.append(f"from .{_flat(parent)} import __name__ as _{_flat(parent)}  # noqa")
        needed.append(parent)
    for alias in node.names:
        inner = f"{package}.{alias.name}"
        bound = alias.asname or alias.name
        if _find(inner) is None:
            names.append(f"{alias.name} as {alias.asname}" if alias.asname else alias.name)
            continue
        # A module itself: imports of the form `from . import module` are not followed by transformers.
        held = f"_{_flat(inner)}"
        lines += ["import sys", f"from .{_flat(inner)} import __name__ as {held}", f"{bound} = sys.modules[{held}]"]
        needed.append(inner)
    if names:
        lines.append(f"from .{_flat(package)} import {', '.join(names)}  # noqa")
        needed.append(package)
    return lines, needed


def _packages(module: str) -> list[str]:
    """The packages that a module is in, from the outermost on; those that only gather our own classes left out."""
    parts = module.split(".")
    return [name for name in map(".".join, (parts[:n] for n in range(2, len(parts)))) if name not in _NOT_RUN]


def _flat(module: str) -> str:
    return module.replace(".", "_")


def _find(module: str) -> Path | None:
    """The path of a module's source, if there is such a module; nothing is imported, transformers included."""
    path = _ROOT.joinpath(*module.split(".")[1:])
    choices = (path.with_suffix(".py"), path / "__init__.py")
    return next((choice for choice in choices if choice.is_file()), None)


def _source(module: str) -> str:
    path = _find(module)
    if path is None:
        raise CodecError(f"the source of {module} is not at hand; install codec from a wheel or a clone")
    return path.read_text(encoding="utf-8")
