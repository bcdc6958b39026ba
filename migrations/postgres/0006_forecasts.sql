-- What is measured of a version beside its errors, and the intervals of forecasts.
--
--   Versions that deserve their place, best first:
--     SELECT target, version, skill, share_beaten, mase, coverage FROM model_metrics
--     WHERE dataset = 'validation' AND skill > 0 ORDER BY target, skill DESC;

-- MAE of the drift over a day on the same points, scaled units.
ALTER TABLE model_metrics ADD COLUMN mae_drift_day DOUBLE PRECISION;
-- mae / MAE of repeating the last value on the training points, the median over series.
ALTER TABLE model_metrics ADD COLUMN mase DOUBLE PRECISION;
-- Share of series and horizons at which every naive forecast is beaten.
ALTER TABLE model_metrics ADD COLUMN share_beaten DOUBLE PRECISION;
-- Share of truths within the forecasts' intervals.
ALTER TABLE model_metrics ADD COLUMN coverage DOUBLE PRECISION;
-- How far the growth of the counts has drifted from that of the training windows: population stability index, small
-- below 0.1, large above 0.25. NULL where a version does not say what it was trained on.
ALTER TABLE model_metrics ADD COLUMN input_psi DOUBLE PRECISION;

-- The ends of a forecast's interval, counts; NULL where the version gives none.
ALTER TABLE predictions ADD COLUMN lower DOUBLE PRECISION;
ALTER TABLE predictions ADD COLUMN upper DOUBLE PRECISION;
