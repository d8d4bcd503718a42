from __future__ import annotations

import os

from orthanc import orthanc as orthanc  # a fixture for all

# Tiny tensors on many threads wait for each other: ten times slower on a busy machine. torch asks when it is imported,
# here and in every process that a test starts.
os.environ["OMP_NUM_THREADS"] = "1"
