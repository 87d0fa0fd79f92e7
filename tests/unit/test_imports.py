"""What the operator's process loads."""

from __future__ import annotations

import os
import subprocess
import sys

_PROGRAM = """
import pkgutil, sys, importlib, modelrollout
for module in pkgutil.walk_packages(modelrollout.__path__, "modelrollout."):
    importlib.import_module(module.name)
print(",".join(name for name in ("numpy", "pandas", "tensorflow.python") if name in sys.modules))
"""


def test_the_operator_loads_no_numerical_libraries() -> None:
    """Generated messages are used without TensorFlow's Python, the Prometheus client without numpy and pandas."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert not done.stdout.strip()
