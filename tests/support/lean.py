"""Imported before torch and MONAI, by pytest and by the server of processes, so that they are there sooner."""

import gc
import sys

gc.disable()  # nothing that is imported is garbage: to look through it takes a quarter of the time
sys.modules["mlflow"] = None  # type: ignore[assignment]  # MONAI imports it where it is there, and does not need it
