"""Extension of griffe, which mkdocstrings reads the code with: ``:class:`X` `` of docstrings is ```X```."""

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([^`]+)`")


class Roles(Extension):
    """Write the roles of Sphinx, which editors know, as plain code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of one object before it is parsed."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
