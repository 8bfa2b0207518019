"""How every step's KFP interface is declared."""

import functools

from kfp import dsl

# The pipeline sets the image that is really used; nothing is installed when a pod starts,
# because the image that Dockerfile.train builds holds this project and all it needs.
component = functools.partial(
    dsl.component, base_image="brain-tumor-train-python", install_kfp_package=False
)
