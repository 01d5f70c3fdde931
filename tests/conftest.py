"""Processes that share the processors compute with one thread each, and so do their children."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch, OpenCV and BLAS are imported: more threads than processors slow each other down.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
