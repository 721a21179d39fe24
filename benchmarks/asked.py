"""The words that a measurement takes on its command line: parsed before anything is measured."""

import argparse
from typing import Any


def words(about: str, **named: Any) -> argparse.Namespace:
    """Return what the command line says; what is said wrongly ends the program with one line.

    Args:
        about: The file's docstring, which ``--help`` prints.
        named: Words in their order. A type: this one is needed. A number: its default. A list of choices:
            any of these, all of them where none is named. A list of a type: one or more. An empty list: any.
    """
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, formatter_class=form)
    for name, what in named.items():
        if what == []:
            parser.add_argument(name, nargs="*")
        elif isinstance(what, list) and isinstance(what[0], type):
            parser.add_argument(name, nargs="+", type=what[0])
        elif isinstance(what, list):
            parser.add_argument(name, nargs="*", choices=[[], *what], default=[], metavar=name)
        elif isinstance(what, type):
            parser.add_argument(name, type=what)
        else:
            parser.add_argument(name, nargs="?", type=type(what), default=what)
    found = parser.parse_args()
    for name, what in named.items():
        if isinstance(what, list) and not getattr(found, name):
            setattr(found, name, list(what))
    return found
