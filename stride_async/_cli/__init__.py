"""The command `stride`: parses options, calls the packages below it, and shows what they return.

It needs click and rich, which `import stride_async` does without.
"""

from importlib.util import find_spec

if find_spec("click") is None or find_spec("rich") is None:
    raise SystemExit("stride: The command requires click and rich. Install them: pip install 'stride-async[cli]'")
