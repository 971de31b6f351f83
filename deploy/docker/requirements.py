"""Prints what Interlock with some extras needs: `requirements.py pyproject.toml server,cpu`."""

import sys
import tomllib
from pathlib import Path

path, extras = sys.argv[1:]
project = tomllib.loads(Path(path).read_text(encoding="utf-8"))["project"]
wanted = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras.split(","))]
print(*(requirement for group in wanted for requirement in group), sep="\n")
