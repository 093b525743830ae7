"""Things of one's own, a network's builder, a method, a source of images, by "package.module:name".

The name is what a study keeps of them and what another process finds them by.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from difflib import get_close_matches
from pathlib import Path
from types import CodeType
from typing import Any

from rethinklab.errors import ConfigError, first_line

HERE = "__main__"


def import_named(kind: str, name: str) -> Any:
    """What `name`, "package.module:name", stands for; modules of the current folder are found.

    kind: what it is to be, for errors. Raises ConfigError with the module, the attribute, what was
    found instead and the remedy.
    """
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as `python -m` does; a script's folder is another
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        absent = error.name in (module_name, *_parents(module_name))
        raise ConfigError(
            f"{kind} {name!r} cannot be imported: there is no module {error.name!r}"
            + (f" in {os.getcwd()} or on Python's path; give \"package.module:name\" of a file "
               "there, without its .py." if absent else f", which {module_name!r} imports; "
               "install it.")) from error
    except Exception as error:  # whatever the user's file raises
        raise ConfigError(f"{kind} {name!r} cannot be imported: its module {module_name!r} fails "
                          f"({type(error).__name__}: {first_line(error)}); mend that, or give "
                          "\"package.module:name\" of another.") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            close = get_close_matches(part, dir(found), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"{kind} {name!r} cannot be imported: module {module_name!r} has no "
                              f"{part!r}.{hint} Give \"package.module:name\" of what it defines.")
        found = getattr(found, part)
    return found


def name_of(kind: str, thing: Any) -> str:
    """ "package.module:name" of a function or class, by which `import_named` gives it again.

    Raises ConfigError, saying why, for what no name leads to.
    """
    module, qualified = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    remedy = "define it with a name of its own at the top level of a module, and give that."
    if not module or not qualified:
        raise ConfigError(f"{kind} {thing!r} has no name by which it could be found again; "
                          f"{remedy}")
    if "<" in qualified:
        place = ("is a lambda" if qualified.endswith("<lambda>") else
                 f"is defined inside the function {qualified.split('.<locals>')[0]}")
        raise ConfigError(f"{kind} {thing.__name__!r} of {module} {place}, where it cannot be "
                          f"found again; {remedy}")
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if found is not thing:
        raise ConfigError(f"{kind} {qualified!r} is not what module {module} has by that name, so "
                          f"that it cannot be found again; {remedy}")
    return f"{module}:{qualified}"


def lives_here(name: str) -> bool:
    """Whether a name leads to the script or notebook that runs, which no other process imports."""
    return name.partition(":")[0] == HERE


def code_digest(thing: Any, whole_file: bool = False) -> str:
    """A hash of the source of a function or class, so that an edited one is a new one; what it
    calls is not looked at. whole_file: of the file that it is in, where that is a module's."""
    thing = inspect.unwrap(thing)
    try:
        file = inspect.getsourcefile(thing) if whole_file and thing.__module__ != HERE else None
        content = Path(file).read_bytes() if file else inspect.getsource(thing).encode()
    except (OSError, TypeError):  # made by exec, say, or typed into a console
        content = repr(_code(thing)).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _code(thing: Any) -> Any:
    """The compiled code of a function, or of the functions of a class by name."""
    own = vars(thing) if inspect.isclass(thing) else {thing.__name__: thing}
    codes = {name: value.__code__ for name, value in own.items()
             if isinstance(getattr(value, "__code__", None), CodeType)}
    return [(name, code.co_code.hex(), code.co_names,
             [constant for constant in code.co_consts if not isinstance(constant, CodeType)])
            for name, code in sorted(codes.items())]


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
