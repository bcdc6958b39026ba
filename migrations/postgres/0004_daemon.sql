-- The daemon: attempts of its runs, what it knows of each job, and who schedules.
--
-- A run's life has one step more than 0001 says: an attempt that was cut short, or failed for a passing reason, puts its
-- run back: queued → running → queued → running → ended. `attempt` grows with each start, so that a worker that was given
-- up is refused whatever became of its run.

-- Started by a daemon, which takes it up again after a crash. Others (`retraind run`) end with their process.
ALTER TABLE runs ADD COLUMN supervised BOOLEAN NOT NULL DEFAULT FALSE;
-- A random word that only the process started for this attempt knows: it proves that it may take the run over.
ALTER TABLE runs ADD COLUMN owner_nonce TEXT;
-- The instant that the trigger was due; NULL for a person's wish.
ALTER TABLE runs ADD COLUMN scheduled_for TIMESTAMPTZ;
-- A retry waits until then.
ALTER TABLE runs ADD COLUMN not_before TIMESTAMPTZ;
-- When the newest attempt started: its time limit counts from here.
ALTER TABLE runs ADD COLUMN attempt_started_at TIMESTAMPTZ;
-- Attempts that ended by themselves without ending the run (passing errors, a worker that died), and attempts that others
-- cut short (the daemon stopped, the host restarted). Both are limited, separately.
ALTER TABLE runs ADD COLUMN n_failures BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN n_interruptions BIGINT NOT NULL DEFAULT 0;

-- What has ended lately is what triggers wait for.
CREATE INDEX runs_by_end ON runs (ended_at) WHERE ended_at IS NOT NULL;

-- How each attempt of a run ended; no row for one that is still at work or died without a word.
--
--   What happened to run 42?
--     SELECT attempt, ending, ended_at, error FROM attempts WHERE run_id = 42 ORDER BY attempt;
CREATE TABLE attempts (
    run_id     BIGINT NOT NULL REFERENCES runs (id),
    attempt    BIGINT NOT NULL,
    -- 'transient': trying again may help. 'stopped': a signal asked for it. 'died': no word from the worker.
    -- 'interrupted': nobody was there to see it end.
    ending     TEXT NOT NULL CHECK (ending IN ('transient', 'stopped', 'died', 'interrupted')),
    ended_at   TIMESTAMPTZ NOT NULL,
    error      TEXT,
    PRIMARY KEY (run_id, attempt)
);

-- What programs of kind `exec` report: numbers, and files that they made.
--
--   A metric over time:
--     SELECT r.ended_at, o.value FROM run_outputs o JOIN runs r ON r.id = o.run_id
--     WHERE r.job = 'export-report' AND o.name = 'rows' ORDER BY r.id;
CREATE TABLE run_outputs (
    run_id     BIGINT NOT NULL REFERENCES runs (id),
    attempt    BIGINT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('metric', 'artifact')),
    name       TEXT NOT NULL,
    -- Of a metric; NULL where it is not finite.
    value      DOUBLE PRECISION,
    -- Of an artifact.
    path       TEXT,
    at         TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, attempt, kind, name)
);

-- What the daemon must not forget of a job between two starts. The file in jobs/ says what the job is.
CREATE TABLE jobs (
    name              TEXT PRIMARY KEY,
    -- The last version of the file that was whole: in force while the file is broken, also after a restart.
    job_toml          TEXT NOT NULL,
    -- Why the file is not what is in force; NULL when it is.
    file_problem      TEXT,
    -- Schedule and zone that fired_up_to belongs to: another schedule begins anew instead of catching up.
    schedule          TEXT,
    -- Every due instant up to here was decided on: fired, skipped or missed.
    fired_up_to       TIMESTAMPTZ,
    -- Runs of other jobs that ended up to here were looked at by the trigger `after`.
    after_up_to       TIMESTAMPTZ,
    -- Set by a person or after failures in a row: triggers start nothing until then.
    paused_at         TIMESTAMPTZ,
    paused_because    TEXT,
    -- Failures are counted in runs after this one; moved on when the job is resumed.
    failures_after    BIGINT NOT NULL DEFAULT 0,
    -- The last time that a trigger was due and nothing was started, and why.
    skipped_at        TIMESTAMPTZ,
    skipped_because   TEXT,
    -- Gone from the directory; kept, so that a file that comes back goes on where it was.
    removed_at        TIMESTAMPTZ
);

-- Who schedules: one row. With PostgreSQL this is a lease; with SQLite a lock on a file decides and this says who holds it.
CREATE TABLE scheduler (
    id              BIGINT PRIMARY KEY CHECK (id = 1),
    -- Grows with each taking: what a scheduler writes carries its token and is refused once there is a newer one.
    token           BIGINT NOT NULL DEFAULT 0,
    host            TEXT,
    boot_id         TEXT,
    pid             BIGINT,
    process_start   BIGINT,
    expires_at      TIMESTAMPTZ,
    -- Rung by whoever changes something that the scheduler should look at now: it asks for this number twice a second.
    bell            BIGINT NOT NULL DEFAULT 0,
    -- In words, for `retraind status`.
    status          TEXT
);

INSERT INTO scheduler (id) VALUES (1);
