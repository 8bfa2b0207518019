"""Tune: KerasTuner looks for the values that validate best."""
