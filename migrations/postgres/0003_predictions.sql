-- Forecasts of the champions; made to be read by people and joined with what came true.
--
-- No foreign key to versions, so that a forecast can be saved whatever the history of this database.
--
--   The newest forecast for each video:
--     SELECT target, video_id, forecast_for, last_value, forecast FROM predictions p
--     WHERE id = (SELECT max(id) FROM predictions q WHERE q.target = p.target AND q.video_id = p.video_id)
--     ORDER BY target, video_id;
--
--   Forecast growth, largest first:
--     SELECT video_id, forecast - last_value AS growth FROM predictions
--     WHERE target = 'views' AND made_at > now() - interval '1 hour' ORDER BY growth DESC;
CREATE TABLE predictions (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at        TIMESTAMPTZ NOT NULL,
    target         TEXT NOT NULL,
    version        TEXT NOT NULL,
    video_id       TEXT NOT NULL,
    -- The time of the last recorded row that the forecast saw.
    based_on       TIMESTAMPTZ NOT NULL,
    -- The time that it speaks of.
    forecast_for   TIMESTAMPTZ NOT NULL,
    -- Counts.
    last_value     DOUBLE PRECISION NOT NULL,
    forecast       DOUBLE PRECISION NOT NULL
);

CREATE INDEX predictions_by_video ON predictions (target, video_id, id);
