"""Imported before torch and MONAI, by pytest and by the server of processes: what takes time and no test looks at."""

import gc
import os
import sys

gc.disable()  # nothing that is imported is garbage: to look through it takes a quarter of the time
sys.modules["mlflow"] = None  # type: ignore[assignment]  # MONAI imports it where it is there, and does not need it
os.fsync = lambda _: None  # no test is about a loss of power; to wait for the disk took a fifth of the time of all
