"""How answers are judged: measures, intervals, calibration, thresholds."""
