"""The first schema.

Over 300 lines: a migration is one step, and stays as it was written.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
# The revisions whose programs work on this schema too.
serves: tuple[str, ...] = ()


# PostgreSQL. Room in each page lets an update stay beside the row that it replaces, where it changes nothing that an
# index knows; elsewhere (executions, import batches, schedules) it would only be empty. Vacuum comes after a fiftieth
# of a table has changed, not a fifth, and for tables with a few rows that change all the time after so many changes.
VACUUM = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, "
    "autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000"
)
VACUUM_FEW_ROWS = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500"
STORAGE = {
    "workers": f"fillfactor = 70, {VACUUM}",
    "worker_states": f"fillfactor = 70, {VACUUM}",
    "app_states": f"fillfactor = 50, {VACUUM_FEW_ROWS}",
    "apps": f"fillfactor = 70, {VACUUM_FEW_ROWS}",
    "workspaces": f"fillfactor = 50, {VACUUM_FEW_ROWS}",
    "schedules": VACUUM_FEW_ROWS,
    "executions": VACUUM,
    "import_batches": VACUUM,
    "execution_details": VACUUM,
    "calls": VACUUM,
    "callbacks": VACUUM,
    "log_lines": VACUUM,
    "idempotency_records": VACUUM,
    "events": VACUUM,
    "event_deliveries": VACUUM,
    "subscriptions": VACUUM_FEW_ROWS,
}
# What foreign programs read of simple tasks, whose creations `NOTIFY task_created` announces. It writes nowhere.
TASKS_VIEW = """
CREATE VIEW tasks AS
SELECT e.number AS id, coalesce(d.launched_as, t.id) AS type, d.input AS data,
       CASE WHEN e.status = 'succeeded' THEN 'success'
            WHEN e.status IN ('failed', 'aborted') THEN 'failure'
            WHEN taken.since IS NULL THEN 'fresh' ELSE 'started' END AS status,
       taken.node AS worker,
       to_timestamp(e.created_at / 1e6) AS created_at,
       to_timestamp(coalesce(e.ended_at, taken.since) / 1e6) AS updated_on,
       d.owner_id AS created_by, e.id AS execution_id, e.workspace_id
  FROM executions e
  JOIN execution_details d ON d.execution_pk = e.pk
  JOIN task_definitions t ON t.pk = e.task_pk
  LEFT JOIN LATERAL (
       SELECT claim.node, claim.since FROM (
              SELECT node, coalesce(started_at, claimed_at) AS since FROM workers
               WHERE execution_pk = e.pk AND status = 'calling' AND (pull_task_pk IS NULL OR started_at IS NOT NULL)
               UNION ALL
              SELECT node, started_at FROM calls
               WHERE execution_pk = e.pk AND attempt = e.attempt AND outcome <> 'returned') AS claim
        ORDER BY claim.since DESC LIMIT 1) AS taken ON true"""


def upgrade() -> None:
    op.create_table(
        "callbacks",
        sa.Column(
            "execution_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("fate", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column(
            "received_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "settled_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.PrimaryKeyConstraint("execution_pk", "worker_id", "step"),
    )
    op.create_table(
        "calls",
        sa.Column(
            "execution_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("spawned", sa.Text(), nullable=True),
        sa.Column("rests", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column(
            "started_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column(
            "ended_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("execution_pk", "worker_id", "token"),
    )
    op.create_table(
        "collected_batches",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.Column(
            "received_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("workspace_id", "key"),
    )
    with op.batch_alter_table("collected_batches", schema=None) as batch_op:
        batch_op.create_index("collected_batches_received_at", ["received_at"], unique=False)

    op.create_table(
        "collected_items",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("batch_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column(
            "received_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("pk"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("collected_items", schema=None) as batch_op:
        batch_op.create_index("collected_items_kind", ["workspace_id", "kind", "pk"], unique=False)
        batch_op.create_index("collected_items_listed", ["workspace_id", "pk"], unique=False)

    op.create_table(
        "execution_details",
        sa.Column(
            "execution_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("subtext", sa.Text(), nullable=True),
        sa.Column("launched_by", sa.Text(), nullable=True),
        sa.Column("beginning", sa.Text(), nullable=True),
        sa.Column("resumed_from", sa.Text(), nullable=True),
        sa.Column("application", sa.Text(), nullable=True),
        sa.Column("launched_as", sa.Text(), nullable=True),
        sa.Column("owner_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("execution_pk"),
    )
    op.create_table(
        "executions",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("app_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("task_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column(
            "version_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("failing", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("open_workers", sa.Integer(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=True),
        sa.Column("multiple_exec_key", sa.Text(), nullable=False),
        sa.Column("run_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("queues", sa.Boolean(), nullable=False),
        sa.Column("concurrency_key", sa.Text(), nullable=True),
        sa.Column(
            "deadline_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "started_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column("ended_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("uid"),
        sa.UniqueConstraint("workspace_id", "id"),
        sa.UniqueConstraint("workspace_id", "number"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.create_index("executions_app", ["app_pk", "status"], unique=False)
        batch_op.create_index(
            "executions_deadline_at",
            ["deadline_at"],
            unique=False,
            sqlite_where=sa.text("status = 'running'"),
            postgresql_where=sa.text("status = 'running'"),
        )
        batch_op.create_index(
            "executions_open_group",
            ["task_pk", "multiple_exec_key"],
            unique=False,
            sqlite_where=sa.text("status IN ('pending', 'running') AND open_workers > 0"),
            postgresql_where=sa.text("status IN ('pending', 'running') AND open_workers > 0"),
        )
        batch_op.create_index(
            "executions_pending",
            ["run_at"],
            unique=False,
            sqlite_where=sa.text("status = 'pending'"),
            postgresql_where=sa.text("status = 'pending'"),
        )
        batch_op.create_index("executions_task", ["task_pk", "pk"], unique=False)
        batch_op.create_index("executions_version", ["version_pk"], unique=False)
        batch_op.create_index(
            "executions_ended",
            ["workspace_id", "status", "ended_at", "pk"],
            unique=False,
            sqlite_where=sa.text("ended_at IS NOT NULL"),
            postgresql_where=sa.text("ended_at IS NOT NULL"),
        )

    op.create_table(
        "idempotency_records",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("workspace_id", "token_id", "route", "key"),
    )
    with op.batch_alter_table("idempotency_records", schema=None) as batch_op:
        batch_op.create_index("idempotency_records_created_at", ["created_at"], unique=False)

    op.create_table(
        "import_batches",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column(
            "execution_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("items", sa.Text(), nullable=True),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("ended_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("key"),
    )
    with op.batch_alter_table("import_batches", schema=None) as batch_op:
        batch_op.create_index(
            "import_batches_due",
            ["due_at"],
            unique=False,
            sqlite_where=sa.text("status = 'pending' AND due_at IS NOT NULL"),
            postgresql_where=sa.text("status = 'pending' AND due_at IS NOT NULL"),
        )
        batch_op.create_index(
            "import_batches_node",
            ["node"],
            unique=False,
            sqlite_where=sa.text("node IS NOT NULL"),
            postgresql_where=sa.text("node IS NOT NULL"),
        )
        batch_op.create_index("import_batches_listed", ["workspace_id", "pk"], unique=False)
        batch_op.create_index("import_batches_execution", ["execution_pk", "pk"], unique=False)
        batch_op.create_index(
            "import_batches_undelivered",
            ["execution_pk", "worker_id", "pk"],
            unique=False,
            sqlite_where=sa.text("status IN ('pending', 'refused')"),
            postgresql_where=sa.text("status IN ('pending', 'refused')"),
        )

    op.create_table(
        "log_lines",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column(
            "execution_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column(
            "logged_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("pk"),
    )
    with op.batch_alter_table("log_lines", schema=None) as batch_op:
        batch_op.create_index("log_lines_execution", ["execution_pk", "pk"], unique=False)

    op.create_table(
        "nodes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "started_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "heartbeat_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "served_revisions", sa.Column("revision", sa.Text(), nullable=False), sa.PrimaryKeyConstraint("revision")
    )
    op.create_table(
        "purged_executions",
        sa.Column(
            "execution_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("execution_pk"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "worker_states",
        sa.Column(
            "execution_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("subtext", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("execution_pk", "worker_id"),
    )
    op.create_table(
        "workers",
        sa.Column(
            "execution_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("app_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("idle_steps", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("finished", sa.Boolean(), nullable=False),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.Column("passed_over", sa.Boolean(), nullable=False),
        sa.Column("awaited", sa.Integer(), nullable=True),
        sa.Column("resumes", sa.Boolean(), nullable=False),
        sa.Column("called_back", sa.Boolean(), nullable=False),
        sa.Column("early_callback", sa.Boolean(), nullable=False),
        sa.Column("undelivered", sa.Integer(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column(
            "pull_task_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column(
            "lease_until", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column(
            "claimed_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column(
            "started_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.PrimaryKeyConstraint("execution_pk", "worker_id"),
    )
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.create_index(
            "workers_awaiting",
            ["due_at"],
            unique=False,
            sqlite_where=sa.text("status = 'awaiting'"),
            postgresql_where=sa.text("status = 'awaiting'"),
        )
        batch_op.create_index(
            "workers_calling",
            ["app_pk"],
            unique=False,
            sqlite_where=sa.text("status = 'calling' AND pull_task_pk IS NULL"),
            postgresql_where=sa.text("status = 'calling' AND pull_task_pk IS NULL"),
        )
        batch_op.create_index(
            "workers_pull_due",
            ["pull_task_pk", "due_at"],
            unique=False,
            sqlite_where=sa.text("status = 'ready' AND NOT held AND pull_task_pk IS NOT NULL AND due_at IS NOT NULL"),
            postgresql_where=sa.text(
                "status = 'ready' AND NOT held AND pull_task_pk IS NOT NULL AND due_at IS NOT NULL"
            ),
        )
        batch_op.create_index(
            "workers_pull_calling",
            ["pull_task_pk"],
            unique=False,
            sqlite_where=sa.text("status = 'calling' AND pull_task_pk IS NOT NULL"),
            postgresql_where=sa.text("status = 'calling' AND pull_task_pk IS NOT NULL"),
        )
        batch_op.create_index(
            "workers_due",
            ["app_pk", "due_at"],
            unique=False,
            sqlite_where=sa.text("status = 'ready' AND NOT held AND pull_task_pk IS NULL AND due_at IS NOT NULL"),
            postgresql_where=sa.text("status = 'ready' AND NOT held AND pull_task_pk IS NULL AND due_at IS NOT NULL"),
        )

    op.create_table(
        "workspaces",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_encrypted", sa.Text(), nullable=False),
        sa.Column(
            "next_number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "apps",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("webhook_endpoint", sa.Text(), nullable=True),
        sa.Column("secret_encrypted", sa.Text(), nullable=False),
        sa.Column("verify_tls", sa.Boolean(), nullable=True),
        sa.Column("max_concurrent_calls", sa.Integer(), nullable=False),
        sa.Column("rate_calls", sa.Integer(), nullable=True),
        sa.Column("rate_per_secs", sa.Float(), nullable=True),
        sa.Column("rate_recent", sa.Text(), nullable=True),
        sa.Column("unanswered_calls", sa.Integer(), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "updated_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "deleted_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
        ),
        sa.PrimaryKeyConstraint("pk"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("apps", schema=None) as batch_op:
        batch_op.create_index(
            "apps_live_id",
            ["workspace_id", "id"],
            unique=True,
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )

    op.create_table(
        "app_states",
        sa.Column("app_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["app_pk"],
            ["apps.pk"],
        ),
        sa.PrimaryKeyConstraint("app_pk"),
    )
    op.create_table(
        "task_definitions",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("app_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "version_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column("is_paused", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "updated_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "removed_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.ForeignKeyConstraint(
            ["app_pk"],
            ["apps.pk"],
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
        ),
        sa.PrimaryKeyConstraint("pk"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("task_definitions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_task_definitions_app_pk"), ["app_pk"], unique=False)
        batch_op.create_index(
            "task_definitions_live_id",
            ["workspace_id", "id"],
            unique=True,
            sqlite_where=sa.text("removed_at IS NULL"),
            postgresql_where=sa.text("removed_at IS NULL"),
        )

    op.create_table(
        "tokens",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("app_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("tasks", sa.Text(), nullable=True),
        sa.Column("owner_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "expires_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column(
            "revoked_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.ForeignKeyConstraint(
            ["app_pk"],
            ["apps.pk"],
        ),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("hash"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tokens_app_pk"), ["app_pk"], unique=False)
        batch_op.create_index(batch_op.f("ix_tokens_workspace_id"), ["workspace_id"], unique=False)

    op.create_table(
        "occurrences",
        sa.Column("task_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("slot_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "execution_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column("late_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("slots", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column(
            "recorded_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["task_pk"],
            ["task_definitions.pk"],
        ),
        sa.PrimaryKeyConstraint("task_pk", "slot_at"),
    )
    with op.batch_alter_table("occurrences", schema=None) as batch_op:
        batch_op.create_index("occurrences_recorded_at", ["recorded_at"], unique=False)

    op.create_table(
        "overlap_groups",
        sa.Column("task_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_pk"],
            ["task_definitions.pk"],
        ),
        sa.PrimaryKeyConstraint("task_pk", "key"),
    )
    op.create_table(
        "schedules",
        sa.Column("task_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column(
            "anchor_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "next_slot_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column("due_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.ForeignKeyConstraint(
            ["task_pk"],
            ["task_definitions.pk"],
        ),
        sa.PrimaryKeyConstraint("task_pk"),
    )
    with op.batch_alter_table("schedules", schema=None) as batch_op:
        batch_op.create_index("schedules_due_at", ["due_at"], unique=False)

    op.create_table(
        "task_aliases",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("task_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["task_pk"],
            ["task_definitions.pk"],
        ),
        sa.PrimaryKeyConstraint("workspace_id", "alias"),
    )
    with op.batch_alter_table("task_aliases", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_task_aliases_task_pk"), ["task_pk"], unique=False)

    op.create_table(
        "task_versions",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("task_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["task_pk"],
            ["task_definitions.pk"],
        ),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("task_pk", "version"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("task_versions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_task_versions_task_pk"), ["task_pk"], unique=False)

    op.create_table(
        "events",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("app_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("is_follow_up", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("workspace_id", "seq"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(
            "events_unnumbered",
            ["pk"],
            unique=False,
            sqlite_where=sa.text("seq IS NULL"),
            postgresql_where=sa.text("seq IS NULL"),
        )

    op.create_table(
        "subscriptions",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target_url", sa.Text(), nullable=True),
        sa.Column("task_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("pattern", sa.Text(), nullable=False),
        sa.Column("secret_encrypted", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column(
            "failing_since", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.Column("retry_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "updated_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "deleted_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True
        ),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("workspace_id", "id"),
        sqlite_autoincrement=True,
    )

    op.create_table(
        "event_deliveries",
        sa.Column(
            "subscription_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "event_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("ended_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("subscription_pk", "event_pk"),
    )
    with op.batch_alter_table("event_deliveries", schema=None) as batch_op:
        batch_op.create_index(
            "event_deliveries_due",
            ["subscription_pk", "due_at"],
            unique=False,
            sqlite_where=sa.text("status = 'pending'"),
            postgresql_where=sa.text("status = 'pending'"),
        )
        batch_op.create_index("event_deliveries_event", ["event_pk"], unique=False)

    if op.get_bind().dialect.name == "postgresql":
        for table, parameters in STORAGE.items():
            op.execute(f"ALTER TABLE {table} SET ({parameters})")
        op.execute(TASKS_VIEW)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP VIEW tasks")
    op.drop_table("event_deliveries")
    op.drop_table("subscriptions")
    op.drop_table("events")
    with op.batch_alter_table("task_versions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_task_versions_task_pk"))

    op.drop_table("task_versions")
    with op.batch_alter_table("task_aliases", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_task_aliases_task_pk"))

    op.drop_table("task_aliases")
    with op.batch_alter_table("schedules", schema=None) as batch_op:
        batch_op.drop_index("schedules_due_at")

    op.drop_table("schedules")
    op.drop_table("overlap_groups")
    op.drop_table("occurrences")
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tokens_workspace_id"))
        batch_op.drop_index(batch_op.f("ix_tokens_app_pk"))

    op.drop_table("tokens")
    with op.batch_alter_table("task_definitions", schema=None) as batch_op:
        batch_op.drop_index(
            "task_definitions_live_id",
            sqlite_where=sa.text("removed_at IS NULL"),
            postgresql_where=sa.text("removed_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_task_definitions_app_pk"))

    op.drop_table("task_definitions")
    op.drop_table("app_states")
    with op.batch_alter_table("apps", schema=None) as batch_op:
        batch_op.drop_index(
            "apps_live_id", sqlite_where=sa.text("deleted_at IS NULL"), postgresql_where=sa.text("deleted_at IS NULL")
        )

    op.drop_table("apps")
    op.drop_table("workspaces")
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.drop_index(
            "workers_pull_calling",
            sqlite_where=sa.text("status = 'calling' AND pull_task_pk IS NOT NULL"),
            postgresql_where=sa.text("status = 'calling' AND pull_task_pk IS NOT NULL"),
        )
        batch_op.drop_index(
            "workers_pull_due",
            sqlite_where=sa.text("status = 'ready' AND NOT held AND pull_task_pk IS NOT NULL AND due_at IS NOT NULL"),
            postgresql_where=sa.text(
                "status = 'ready' AND NOT held AND pull_task_pk IS NOT NULL AND due_at IS NOT NULL"
            ),
        )
        batch_op.drop_index(
            "workers_due",
            sqlite_where=sa.text("status = 'ready' AND NOT held AND pull_task_pk IS NULL AND due_at IS NOT NULL"),
            postgresql_where=sa.text("status = 'ready' AND NOT held AND pull_task_pk IS NULL AND due_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "workers_calling",
            sqlite_where=sa.text("status = 'calling' AND pull_task_pk IS NULL"),
            postgresql_where=sa.text("status = 'calling' AND pull_task_pk IS NULL"),
        )
        batch_op.drop_index(
            "workers_awaiting",
            sqlite_where=sa.text("status = 'awaiting'"),
            postgresql_where=sa.text("status = 'awaiting'"),
        )

    op.drop_table("workers")
    op.drop_table("worker_states")
    op.drop_table("settings")
    op.drop_table("served_revisions")
    op.drop_table("nodes")
    op.drop_table("purged_executions")
    with op.batch_alter_table("log_lines", schema=None) as batch_op:
        batch_op.drop_index("log_lines_execution")

    op.drop_table("log_lines")
    with op.batch_alter_table("import_batches", schema=None) as batch_op:
        batch_op.drop_index(
            "import_batches_undelivered",
            sqlite_where=sa.text("status IN ('pending', 'refused')"),
            postgresql_where=sa.text("status IN ('pending', 'refused')"),
        )
        batch_op.drop_index("import_batches_execution")
        batch_op.drop_index("import_batches_listed")
        batch_op.drop_index(
            "import_batches_node",
            sqlite_where=sa.text("node IS NOT NULL"),
            postgresql_where=sa.text("node IS NOT NULL"),
        )
        batch_op.drop_index(
            "import_batches_due",
            sqlite_where=sa.text("status = 'pending' AND due_at IS NOT NULL"),
            postgresql_where=sa.text("status = 'pending' AND due_at IS NOT NULL"),
        )

    op.drop_table("import_batches")
    with op.batch_alter_table("idempotency_records", schema=None) as batch_op:
        batch_op.drop_index("idempotency_records_created_at")

    op.drop_table("idempotency_records")
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.drop_index("executions_version")
        batch_op.drop_index("executions_task")
        batch_op.drop_index(
            "executions_pending",
            sqlite_where=sa.text("status = 'pending'"),
            postgresql_where=sa.text("status = 'pending'"),
        )
        batch_op.drop_index(
            "executions_open_group",
            sqlite_where=sa.text("status IN ('pending', 'running') AND open_workers > 0"),
            postgresql_where=sa.text("status IN ('pending', 'running') AND open_workers > 0"),
        )
        batch_op.drop_index(
            "executions_deadline_at",
            sqlite_where=sa.text("status = 'running'"),
            postgresql_where=sa.text("status = 'running'"),
        )
        batch_op.drop_index("executions_app")

    op.drop_table("executions")
    op.drop_table("execution_details")
    with op.batch_alter_table("collected_items", schema=None) as batch_op:
        batch_op.drop_index("collected_items_listed")
        batch_op.drop_index("collected_items_kind")

    op.drop_table("collected_items")
    op.drop_table("collected_batches")
    op.drop_table("calls")
    op.drop_table("callbacks")
