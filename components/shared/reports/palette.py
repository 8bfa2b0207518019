"""The colours of reports and their figures, for light and for dark screens.

Figures are drawn in the light colours; `html.plot` makes variables of the style sheet of them, so
that one picture suits both. No colour stands for two things: classes are purple and teal, red is
what is bad, and blue the model.
"""

SCHEMES = {  # by the name of the style sheet's variable: light, dark
    "paper": ("#ffffff", "#11161c"),
    "tint": ("#f4f6f9", "#1a2129"),
    "ink": ("#1c2530", "#e4e9ef"),
    "soft": ("#566273", "#a2afbd"),
    "line": ("#d9dfe7", "#313c48"),
    "edge": ("#7d8a9a", "#738091"),
    "accent": ("#24527a", "#8fbce8"),
    "accent-light": ("#8fb0cc", "#46698b"),
    "on-accent": ("#fffffe", "#0d1a27"),
    "tumor": ("#87378f", "#dc9ce6"),
    "healthy": ("#0d7168", "#5fc9b9"),
    "bad": ("#b3261e", "#f0938b"),
    "grey": ("#8a929c", "#7f8994"),
    "grey-dark": ("#4f565e", "#b9c1ca"),
    "sand": ("#a97a30", "#dcb46f"),
}

ACCENT = SCHEMES["accent"][0]  # the model, and what was chosen
ACCENT_LIGHT = SCHEMES["accent-light"][0]
TUMOR, HEALTHY = SCHEMES["tumor"][0], SCHEMES["healthy"][0]
BAD = SCHEMES["bad"][0]
GREY, GREY_DARK = SCHEMES["grey"][0], SCHEMES["grey-dark"][0]
SAND = SCHEMES["sand"][0]
INK, SOFT, GRID = SCHEMES["ink"][0], SCHEMES["soft"][0], SCHEMES["line"][0]
