"""The tests, in packages as the code."""

import os

# Read when numpy is first loaded. Threads that wait for one another spin: where processes share the cores,
# small matrices cost five times as much with them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
