-- Runs: what was asked for, who works on it, what became of it.
--
-- Migrations are append-only: a file that has been applied anywhere is never edited, because its
-- checksum is stored in _sqlx_migrations and a changed one is refused at start.
--
-- How this directory differs from migrations/postgres: times are TEXT (RFC 3339 in UTC, at most
-- microseconds, so that text order is time order and SQLite's datetime() reads them) and tables are
-- STRICT, so that a number column never silently holds text as SQLite would otherwise allow.
-- Everything else, names above all, is the same.
--
--   The last ten runs of a job:
--     SELECT id, cause, state, started_at, ended_at, error
--     FROM runs WHERE job = 'weekly-retrain' ORDER BY id DESC LIMIT 10;
--
--   How often a job failed in the last 30 days:
--     SELECT state, count(*) FROM runs
--     WHERE job = 'weekly-retrain' AND datetime(queued_at) > datetime('now', '-30 days') GROUP BY state;

CREATE TABLE runs (
    -- AUTOINCREMENT: mails and metadata name runs by id, so an id is never used twice.
    id                    INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Job, cause and scheduled instant. Unique here and not in the program, so that two daemons, or a
    -- daemon and a person, cannot run one thing twice.
    run_key               TEXT NOT NULL UNIQUE,
    job                   TEXT NOT NULL,
    -- retrain, evaluate, predict, …; no CHECK, because kinds are added more often than tables.
    kind                  TEXT NOT NULL,
    -- cron, data_volume, degradation, after, person; no CHECK for the same reason.
    cause                 TEXT NOT NULL,
    -- queued → running → one of the others, which are final; queued → cancelled as well.
    state                 TEXT NOT NULL CHECK (state IN
        ('queued', 'running', 'succeeded', 'rejected', 'failed', 'cancelled', 'timed_out')),
    -- 0 until started. Writes of a worker carry its attempt; a lower one than this is refused.
    attempt               INTEGER NOT NULL DEFAULT 0,
    -- The process at work. A pid alone is used again after a while; boot id and start time (in clock
    -- ticks since boot) make it one process for ever.
    owner_host            TEXT,
    owner_boot_id         TEXT,
    owner_pid             INTEGER,
    owner_process_start   INTEGER,
    -- The job file as it ran, defaults filled in: the file in jobs/ may have changed since.
    job_toml              TEXT NOT NULL,
    queued_at             TEXT NOT NULL,
    -- When the first attempt started.
    started_at            TEXT,
    -- The worker's last write of any kind: the only sign of life from a worker on another host.
    heard_at              TEXT,
    ended_at              TEXT,
    error                 TEXT,
    -- A running run always has an owner; without one nobody could tell that it is dead.
    CHECK (state <> 'running' OR (owner_host IS NOT NULL AND owner_boot_id IS NOT NULL
        AND owner_pid IS NOT NULL AND owner_process_start IS NOT NULL)),
    CHECK ((ended_at IS NULL) = (state IN ('queued', 'running')))
) STRICT;

CREATE INDEX runs_by_job ON runs (job, id);
-- The scheduler asks for these on every turn; a partial index stays tiny however long the history.
-- One run of a job at a time, whoever starts it and on whatever host: said here, since two programs that look before
-- they write can both see nothing.
CREATE UNIQUE INDEX runs_one_running ON runs (job) WHERE state = 'running';
CREATE INDEX runs_unfinished ON runs (state, id) WHERE state IN ('queued', 'running');

-- What became of each target of a run: one row from the run's start on for each model it trains.
--
--   Why were versions refused?
--     SELECT r.id, r.started_at, t.target, t.version, t.reasons
--     FROM run_targets t JOIN runs r ON r.id = t.run_id WHERE t.state = 'rejected' ORDER BY r.id DESC;
CREATE TABLE run_targets (
    run_id       INTEGER NOT NULL REFERENCES runs (id),
    target       TEXT NOT NULL,
    -- The attempt that wrote the row last.
    attempt      INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'rejected', 'failed', 'cancelled')),
    epochs       INTEGER,
    best_epoch   INTEGER,
    seconds      REAL,
    -- NULL until there is a version; no foreign key, because the row is written before and after.
    version      TEXT,
    verdict      TEXT,
    -- A JSON list of sentences: SELECT value FROM run_targets, json_each(reasons);
    reasons      TEXT NOT NULL,
    error        TEXT,
    PRIMARY KEY (run_id, target)
) STRICT;

-- One row an epoch. The attempt is part of the key: a second attempt neither overwrites nor hides
-- what the first one measured.
--
--   A learning curve:
--     SELECT epoch, loss, val_loss FROM epochs WHERE run_id = 42 AND target = 'views' ORDER BY attempt, epoch;
CREATE TABLE epochs (
    run_id     INTEGER NOT NULL REFERENCES runs (id),
    attempt    INTEGER NOT NULL,
    target     TEXT NOT NULL,
    epoch      INTEGER NOT NULL,
    -- NULL where the number was not finite: the epoch diverged. SQLite has no NaN.
    loss       REAL,
    val_loss   REAL,
    mae        REAL,
    val_mae    REAL,
    seconds    REAL,
    PRIMARY KEY (run_id, attempt, target, epoch)
) STRICT, WITHOUT ROWID;
