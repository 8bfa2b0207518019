"""How long the first answer takes after Knative has scaled the predictor to zero."""
