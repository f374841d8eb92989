"""The network's source as flat files next to the weights, for ``trust_remote_code`` without codec installed.

Transformers copies the file of a class and the files in the same folder that it imports, with their imports;
folders it does not follow. So each module of ``codec`` that the model needs becomes one file, in which only the
imports and the docstring's first line differ from the module. All else that they import is the standard library,
numpy, torch and transformers.
"""

import ast
from pathlib import Path

from codec.atomic import atomic_path
from codec.errors import CodecError

_ROOT = Path(__file__).resolve().parents[1]
_START = ("codec.hf.config", "codec.hf.model")
AUTO_MAP = {
    "AutoConfig": "codec_hf_config.CodecTokenizerConfig",
    "AutoModel": "codec_hf_model.CodecTokenizerModel",
    "AutoModelForAudioTokenization": "codec_hf_model.CodecTokenizerModel",
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
    return dict(sorted(found.items()))


def _rewritten(module: str) -> tuple[str, list[str]]:
    """A module's text with flat imports, and the modules of codec that it imports."""
    text = _source(module)
    lines, needed = text.splitlines(), []
    # From the end, so that the lines before keep their numbers.
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    for node in sorted(imports, key=lambda node: -node.lineno):
        if (node.module or "").partition(".")[0] == "codec":
            replacement, modules = _flat_import(node)
            indent = " " * node.col_offset
            lines[node.lineno - 1 : node.end_lineno] = [indent + line for line in replacement]
            needed += modules
    notice = f"# Written by codec from its module {module}, with other imports; do not edit."
    return "\n".join([notice, *lines]) + "\n", needed


def _flat_import(node: ast.ImportFrom) -> tuple[list[str], list[str]]:
    """The lines in place of an import from codec, and the modules that they need."""
    package = str(node.module)
    lines, needed, names = [], [], []
    for alias in node.names:
        inner = f"{package}.{alias.name}"
        bound = alias.asname or alias.name
        if _find(inner) is None:
            names.append(f"{alias.name} as {alias.asname}" if alias.asname else alias.name)
            continue
        # A module itself: imports of the form `from . import module` are not followed by transformers.
        lines += [f"from .{_flat(inner)} import __name__ as _{bound}_name", f"{bound} = sys.modules[_{bound}_name]"]
        needed.append(inner)
    if lines:
        lines.insert(0, "import sys")
    if names:
        lines.append(f"from .{_flat(package)} import {', '.join(names)}  # noqa")
        needed.append(package)
    return lines, needed


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
