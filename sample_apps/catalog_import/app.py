"""The app: one task, whose workers each import a slice; worker 0 plans it, and reports in the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from app_sdk import App, Context, Continue, Done, Fail, Result
from app_sdk.protocol.payload import WorkerResult
from sample_apps.catalog_import import report
from sample_apps.catalog_import.datasets import DATASETS, DatasetName
from sample_apps.catalog_import.slices import Slice, split
from sample_apps.catalog_import.state import ImportState
from sample_apps.catalog_import.upstream import TooManyRequests, Upstream

APP_ID = "app_catalog"
WORKERS = 10
COUNTER = "imported"


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What is imported where the launch does not say: which catalogue, and how many records a page."""

    dataset: DatasetName = "airports"
    page_size: int = 250


def build_app(upstream: Upstream, defaults: Defaults | None = None, now: Callable[[], datetime] = _utc_now) -> App:
    """The app, reading from an upstream; `now` is for the durations that it reports."""
    app = App(APP_ID, "Catalogue", description="Imports airports or cities, ten slices at a time.")
    importer = _Importer(upstream, defaults or Defaults(), now)

    @app.task("import", state=ImportState, name="Import a catalogue")
    def import_catalogue(ctx: Context[ImportState]) -> Result:
        """Import every airport there is, or with {"dataset": "cities"} every city, with ten workers."""
        if ctx.state.started_at is None:
            ctx.state.started_at = now()
        if ctx.state.slice is None:
            return importer.plan(ctx)
        if not ctx.state.slice.is_finished:
            return importer.import_page(ctx, ctx.state.slice)
        if ctx.worker_results is not None:
            return importer.report(ctx, ctx.worker_results)
        return _finish(ctx)

    return app


@dataclass(frozen=True, slots=True)
class _Importer:
    upstream: Upstream
    defaults: Defaults
    now: Callable[[], datetime]

    def plan(self, ctx: Context[ImportState]) -> Result:
        """Worker 0's first turn: read the size, take the first slice, start a worker for each other one."""
        state = ctx.state
        state.dataset = state.dataset or self.defaults.dataset
        state.page_size = state.page_size or self.defaults.page_size
        state.slice, *others = split(self.upstream.size(state.dataset), WORKERS)
        for worker_id, part in enumerate(others, start=1):
            share = ImportState(dataset=state.dataset, page_size=state.page_size, slice=part)
            ctx.spawn(worker_id, share)
        ctx.app_state.set(COUNTER, 0)
        _show_progress(ctx, state.slice, DATASETS[state.dataset].unit)
        return Continue(f"{WORKERS} workers share {others[-1].stop:,} {DATASETS[state.dataset].unit}")

    def import_page(self, ctx: Context[ImportState], part: Slice) -> Result:
        """Any worker's turn: the page at the cursor, or a rest when the upstream asks for one."""
        state = ctx.state
        name = state.dataset or self.defaults.dataset
        dataset = DATASETS[name]
        page = part.next_page(state.page_size or self.defaults.page_size)
        try:
            found = self.upstream.page(name, page)
        except TooManyRequests as refusal:
            # A limit is no failure: a Retry would count towards the retries that a worker has.
            state.waits += 1
            ctx.delay(refusal.retry_after_secs)
            _show_progress(ctx, part, dataset.unit)
            return Continue(str(refusal))
        if len(found) < len(page):
            return Fail(f"the catalogue has shrunk since the import was planned: nothing at {page.stop - 1}")
        for record in found:
            ctx.items.add(dataset.kind, record)
        ctx.app_state.increment(COUNTER, len(found))
        state.slice = part.after(page)
        _show_progress(ctx, state.slice, dataset.unit)
        if state.slice.is_finished:
            state.finished_at = self.now()
            return _finish(ctx)
        return Continue(f"{found[0]['external_id']} to {found[-1]['external_id']}")

    def report(self, ctx: Context[ImportState], results: Mapping[int, WorkerResult]) -> Result:
        """Worker 0's last turn, when all the others have come to an end."""
        trouble = report.unfinished(results)
        if trouble:
            return Fail(f"the import is not complete: {', '.join(trouble)}")
        shares = {worker_id: ImportState.model_validate(result.state) for worker_id, result in results.items()}
        shares[ctx.worker_id] = ctx.state
        secs = (self.now() - ctx.state.started_at).total_seconds() if ctx.state.started_at else 0.0
        totals = report.output(shares, secs, ctx.app_state.get(COUNTER))
        unit = DATASETS[ctx.state.dataset or self.defaults.dataset].unit
        return Done(report.message(totals, unit), output=totals)


def _finish(ctx: Context[ImportState]) -> Result:
    """The slice is imported: a helper has nothing more to do, and worker 0 waits for the helpers."""
    if ctx.worker_id != 0:
        return Done(f"{ctx.state.imported:,} imported")
    ctx.wait_for_workers()
    return Continue("waiting for the others")


def _show_progress(ctx: Context[ImportState], part: Slice, unit: str) -> None:
    ctx.progress(part.imported, part.size, unit=unit)
