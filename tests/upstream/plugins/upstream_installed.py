"""pytest plugin: ours in the place of httpcore's pools, before the first test is imported."""

import httpcore_hyper

httpcore_hyper.install()
