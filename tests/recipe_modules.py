"""Recipes as modules, for tests of what is in them."""

import importlib.util
import sys
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"


def load_recipe(name):
    """recipes/NAME.py as the module NAME_recipe, which dataclasses look up by that name."""
    spec = importlib.util.spec_from_file_location(f"{name}_recipe", RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
