"""How hard the property tests look: few examples, always; in CI the same ones in every run."""

import os

from hypothesis import settings

settings.register_profile("quick", max_examples=50, deadline=None)
settings.register_profile("ci", settings.get_profile("quick"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "quick")
