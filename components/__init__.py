"""The steps of the pipeline: one folder a step, and at the top what several of them share."""
