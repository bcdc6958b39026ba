-- Alerts: what held, since when, who was told of it, and what still waits to be sent.
--
--   What holds now:
--     SELECT job, target, rule, summary, first_seen FROM alerts WHERE state = 'firing' ORDER BY id;
--
--   Mails that could not be delivered yet, and why:
--     SELECT address, subject, attempts, next_attempt_at, last_error FROM outbox WHERE state = 'pending';

-- Trainings are watched from outside of the worker, by these two times and its epochs: a worker that hangs cannot
-- hold up the clock. An attempt that begins anew clears them.
ALTER TABLE run_targets ADD COLUMN training_started_at TIMESTAMPTZ;
ALTER TABLE run_targets ADD COLUMN training_ended_at TIMESTAMPTZ;

-- When the alerts that follow from a run's end were raised. Old runs are none of them: an update must not mail history.
ALTER TABLE runs ADD COLUMN alerts_raised_at TIMESTAMPTZ;
UPDATE runs SET alerts_raised_at = ended_at WHERE ended_at IS NOT NULL;
CREATE INDEX runs_without_alerts ON runs (id) WHERE ended_at IS NOT NULL AND alerts_raised_at IS NULL;

-- One row each time that something begins to hold.
CREATE TABLE alerts (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Job, target and rule are the fingerprint: of one, only one alert fires at a time. Empty where none is concerned.
    job            TEXT NOT NULL,
    target         TEXT NOT NULL,
    rule           TEXT NOT NULL,
    -- Which occurrence: 'run 42 attempt 1 epoch 23', 'promotion 17', …. Raising one again, after a restart or by a second
    -- watcher, is no new alert, also when it is over.
    onset          TEXT NOT NULL,
    severity       TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    -- No foreign key: an alert outlives whatever is done to the runs.
    run_id         BIGINT,
    summary        TEXT NOT NULL,
    -- Rule, value, limit, epoch, what was done, what a person can do: JSON.
    facts          TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('firing', 'resolved')),
    -- When it was raised; since when it holds is in the facts.
    first_seen     TIMESTAMPTZ NOT NULL,
    last_seen      TIMESTAMPTZ NOT NULL,
    resolved_at    TIMESTAMPTZ,
    -- How it came to an end, in words.
    resolution     TEXT,
    -- What has been turned into messages, or decided not to be: nothing → firing → resolved.
    told           TEXT NOT NULL DEFAULT 'nothing' CHECK (told IN ('nothing', 'firing', 'resolved')),
    -- The last message about it: the next reminder is counted from here.
    told_at        TIMESTAMPTZ,
    n_notices      BIGINT NOT NULL DEFAULT 0,
    UNIQUE (job, target, rule, onset),
    CHECK ((resolved_at IS NULL) = (state = 'firing'))
);

CREATE UNIQUE INDEX alerts_one_firing ON alerts (job, target, rule) WHERE state = 'firing';
CREATE INDEX alerts_to_tell ON alerts (id) WHERE told <> 'resolved';

-- One row for each message and recipient. A row is written in the same step that marks the alerts as told, and leaves
-- 'pending' only after the channel has taken the message: a crash in between sends it once more, under the same
-- Message-ID.
CREATE TABLE outbox (
    id                BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- email, webhook, command; no CHECK, because channels are added more often than tables.
    channel           TEXT NOT NULL,
    address           TEXT NOT NULL,
    -- Messages of one topic (a job) reach an address in the order of their ids.
    topic             TEXT NOT NULL,
    message_id        TEXT NOT NULL,
    subject           TEXT NOT NULL,
    -- What to say: JSON.
    content           TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'dead', 'dropped')),
    created_at        TIMESTAMPTZ NOT NULL,
    attempts          BIGINT NOT NULL DEFAULT 0,
    next_attempt_at   TIMESTAMPTZ NOT NULL,
    -- Somebody is sending it until then; later it is anybody's again.
    leased_until      TIMESTAMPTZ,
    last_error        TEXT,
    settled_at        TIMESTAMPTZ,
    UNIQUE (message_id, channel, address),
    CHECK ((settled_at IS NULL) = (state = 'pending'))
);

CREATE INDEX outbox_unsettled ON outbox (channel, id) WHERE state IN ('pending', 'dead');

-- Which alerts a message speaks of: a recovery follows only where the first notice was delivered.
CREATE TABLE outbox_alerts (
    outbox_id   BIGINT NOT NULL REFERENCES outbox (id),
    alert_id    BIGINT NOT NULL REFERENCES alerts (id),
    notice      TEXT NOT NULL CHECK (notice IN ('firing', 'reminder', 'recovery')),
    PRIMARY KEY (outbox_id, alert_id)
);

CREATE INDEX outbox_alerts_by_alert ON outbox_alerts (alert_id);

-- Alerts nobody wants to hear of for a while. A job of '' is every job.
CREATE TABLE silences (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule         TEXT NOT NULL,
    job          TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    until        TIMESTAMPTZ NOT NULL
);
