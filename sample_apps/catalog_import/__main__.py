"""python -m sample_apps.catalog_import"""

import math

from app_sdk.protocol.limits import DEFAULT_LIMITS
from sample_apps.catalog_import.app import Defaults, build_app
from sample_apps.catalog_import.datasets import DATASETS, records
from sample_apps.catalog_import.upstream import Upstream
from sample_apps.command_line import listen, parser, serve
from sample_apps.serving import Site
from sample_apps.token_bucket import TokenBucket

PAGES_PER_SEC = 12.0
BURST = 5


def main() -> None:
    """Serve the app until it is told to stop."""
    line = parser("Imports a catalogue of airports or cities with ten workers.", 8500, __package__)
    line.add_argument("--dataset", choices=list(DATASETS), default="airports", help="what is imported")
    line.add_argument("--page-size", type=int, default=Defaults().page_size, help="records a page")
    line.add_argument(
        "--pages-per-sec",
        type=float,
        default=PAGES_PER_SEC,
        help="how many pages the upstream serves a second",
    )
    options = line.parse_args()
    most = DEFAULT_LIMITS.items_per_answer
    if not 1 <= options.page_size <= most:
        line.error(f"--page-size: 1 to {most:,}")
    if not 0 < options.pages_per_sec < math.inf:
        line.error("--pages-per-sec: more than 0")
    listener = listen(options.host, options.port)
    records(options.dataset)
    upstream = Upstream(TokenBucket(options.pages_per_sec, BURST))
    app = build_app(upstream, Defaults(options.dataset, options.page_size))
    serve(Site(app), listener)


if __name__ == "__main__":
    main()
