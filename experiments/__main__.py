"""Runs an experiment by name, or lists them: `python -m experiments [NAME [flags]]`."""

import ast
import difflib
import pathlib
import runpy
import sys


def list_experiments():
    """Returns experiment name -> first line of its docstring, without importing it."""
    folder = pathlib.Path(__file__).parent
    return {
        path.stem: ast.get_docstring(ast.parse(path.read_text("utf-8"))).splitlines()[0]
        for path in sorted(folder.glob("[!_]*.py"))
    }


def main(arguments):
    """Runs the experiment that `arguments` name; returns the exit status."""
    experiments = list_experiments()
    name = arguments[0] if arguments else ""
    if name in experiments:
        sys.argv = [f"experiments/{name}.py", *arguments[1:]]
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
        return 0
    if name:
        close = difflib.get_close_matches(name, experiments, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        print(f"error: Unknown experiment {name!r}.{hint}", file=sys.stderr)
    print("Experiments (make experiment NAME=...):")
    width = max(map(len, experiments))
    for known, summary in experiments.items():
        print(f"  {known:{width}}  {summary}")
    return 1 if name else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
