"""Import every module of codec, and list those that fail with the reason: for environments of other versions.

    python scripts/import_all.py [PACKAGE_TO_LEAVE_OUT...]
"""

import importlib
import pkgutil
import sys
import warnings

import codec


def main() -> int:
    """Print each module that cannot be imported; the exit status says whether there are any."""
    warnings.simplefilter("ignore")
    left_out = ("codec.__main__", *sys.argv[1:])
    every = [module.name for module in pkgutil.walk_packages(codec.__path__, "codec.")]
    names = [name for name in every if not f"{name}.".startswith(tuple(f"{one}." for one in left_out))]
    failures = 0
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 (whatever a package of another version raises)
            failures += 1
            print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    print(f"{len(names) - failures} of {len(names)} modules of codec import")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
