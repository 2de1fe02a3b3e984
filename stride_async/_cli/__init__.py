"""The command `stride`: parses options, calls the packages below it, and shows what they return.

It needs click and rich, which `import stride_async` does without.
"""

import sys
from importlib.util import find_spec

if find_spec("click") is None or find_spec("rich") is None:
    if sys.stderr is not None:
        sys.stderr.write("stride: The command requires click and rich. Install them: pip install 'stride-async[cli]'\n")
    raise SystemExit(2)  # `Exit.USAGE`, whose module needs click.
