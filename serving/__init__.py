"""The predictor: a registered model behind KServe's protocols and a page."""

from serving.kserve_package import import_lazily

import_lazily()
