-- Versions, what was measured of them, and which went into service.
--
-- The files of the registry are the truth about which versions exist and which is champion; these
-- tables are their history. A version made elsewhere, or a database begun anew beside an old
-- registry, has no run: hence run_id may be NULL everywhere.

CREATE TABLE versions (
    target                  TEXT NOT NULL,
    version                 TEXT NOT NULL,
    run_id                  INTEGER REFERENCES runs (id),
    created_at              TEXT NOT NULL,
    recipe                  TEXT NOT NULL,
    -- A hash of the rows it was trained on: two versions with the same one saw the same data.
    training_data_version   TEXT NOT NULL,
    -- The champion when it was made; NULL for the first of a target.
    parent_version          TEXT,
    verdict                 TEXT NOT NULL,
    -- A JSON list of sentences.
    reasons                 TEXT NOT NULL,
    -- Of metadata.json, which in turn holds the sha256 of every file beside it. A version is
    -- immutable: registering it again with another hash is refused.
    metadata_sha256         TEXT NOT NULL,
    PRIMARY KEY (target, version)
) STRICT;

-- How good the versions are; made to be read by people.
--
--   The last measurements of each target, best skill first:
--     SELECT target, version, measured_at, dataset, n_points, mae, mae_last_value, skill
--     FROM model_metrics ORDER BY target, skill DESC NULLS LAST;
--
--   Versions no better than repeating the last value:
--     SELECT target, version, mae, mae_last_value FROM model_metrics WHERE mae >= mae_last_value;
--
--   Is the model in service getting worse?
--     SELECT m.measured_at, m.version, m.mae, m.skill FROM model_metrics m
--     WHERE m.target = 'views' AND m.version = (SELECT version FROM promotions
--         WHERE target = 'views' AND state = 'done' ORDER BY id DESC LIMIT 1)
--     ORDER BY m.measured_at;
CREATE TABLE model_metrics (
    target           TEXT NOT NULL,
    version          TEXT NOT NULL,
    -- The points it was scored on: 'validation' when it was made, other names for later evaluations.
    dataset          TEXT NOT NULL,
    measured_at      TEXT NOT NULL,
    run_id           INTEGER REFERENCES runs (id),
    -- Forecasts that were scored.
    n_points         INTEGER NOT NULL,
    -- Scaled units: what the network sees.
    mae              REAL NOT NULL,
    mse              REAL NOT NULL,
    rmse             REAL NOT NULL,
    -- Counts: views, likes or comments.
    mae_counts       REAL,
    -- The naive forecasts on the same points, scaled units, to be read beside mae: the last value,
    -- the drift over the window, the growth of the same hours a day ago (needs a day of history).
    mae_last_value   REAL,
    mae_drift        REAL,
    mae_seasonal     REAL,
    -- 1 - mae / mae of the best naive forecast; 0 or less means useless.
    skill            REAL,
    PRIMARY KEY (target, version, dataset, measured_at),
    FOREIGN KEY (target, version) REFERENCES versions (target, version)
) STRICT;

-- A promotion is a row before it is an action: 'pending' before the champion file is swapped, 'done'
-- after. What a crash leaves pending is settled by looking at the champion file.
--
-- No foreign key to versions: a rollback in an emergency must not fail because a database begun anew
-- has not heard of an old version.
--
--   What is in service, since when, and why:
--     SELECT target, version, kind, cause, settled_at FROM promotions p
--     WHERE state = 'done' AND id = (SELECT max(id) FROM promotions q WHERE q.target = p.target AND q.state = 'done');
CREATE TABLE promotions (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    target             TEXT NOT NULL,
    version            TEXT NOT NULL,
    -- NULL for the first champion of a target.
    previous_version   TEXT,
    kind               TEXT NOT NULL CHECK (kind IN ('first', 'promote', 'rollback')),
    -- Why, in words: 'gate passed', 'by hand (alice)', ….
    cause              TEXT NOT NULL,
    run_id             INTEGER REFERENCES runs (id),
    state              TEXT NOT NULL CHECK (state IN ('pending', 'done', 'abandoned')),
    begun_at           TEXT NOT NULL,
    settled_at         TEXT,
    CHECK ((settled_at IS NULL) = (state = 'pending'))
) STRICT;

CREATE INDEX promotions_by_target ON promotions (target, id);
-- Two promotions of one target at once could not be told apart by looking at one champion file.
CREATE UNIQUE INDEX promotions_one_pending ON promotions (target) WHERE state = 'pending';
