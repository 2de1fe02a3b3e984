"""The command `stride`. It shows and asks; what it does is done by the packages below it.

It stands on packages that `import stride_async` does without.
"""

from importlib.util import find_spec

if find_spec("click") is None or find_spec("rich") is None:
    raise SystemExit("stride: the command needs two more packages: pip install 'stride-async[cli]'")
