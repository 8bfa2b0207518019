"""The colours of figures, those of the reports' style sheet (`report.html.j2`) among them."""

ACCENT = "#24527a"  # the model, and what was chosen
ACCENT_LIGHT = "#8fb0cc"
TUMOR, HEALTHY = "#b3261e", "#1f6f54"  # wrong and right too
GREY, GREY_DARK = "#8a929c", "#4f565e"
SAND = "#c3a06a"
INK, SOFT = "#1c2530", "#5b6776"
GRID = "#dde3ea"
