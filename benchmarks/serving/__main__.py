"""This predictor beside the reference implementation's service and the peers that PyPI has.

    python -m benchmarks.serving --model runs/registry/brain-tumor/1 --output runs/serving

Every server runs alone, in processes of its own, on the same cores as the load generator, in turn:
A B C A B C. All but the reference serve the same SavedModel, and all but the reference and this
predictor run the same few lines around it (`servers/common.py`): what differs is the serving. The
reference's service serves the reference's own CNN: it can serve no other. Each peer has an
environment of its own, made from `requirements/`, and is set up as its documentation advises.

Before anything is timed, each server is asked about every image. It has to give the probability
that its model gives without a server, to 1e-4. The reference resizes by another rule (nearest
neighbour), which is part of what it does, so it is held against that rule.

An image is sent in the form that is natural to the server: as base64 in JSON to KServe's sample,
LitServe, MLServer and BentoML, as the raw body to Ray Serve, as an address to the reference, which
takes nothing else. This predictor is measured in all three. Its JSON, the slowest to read, is what
its place among the peers rests on; its address form is the same work that the reference does.
"""

if __name__ == "__main__":  # not for the processes that multiprocessing starts: they need little
    from benchmarks.serving.command import main

    main()
