-- The training loss on a fixed sample of the training windows, taken at an epoch's end with dropout off: the only one that
-- compares with val_loss. `loss` is the mean over the epoch's steps, with dropout on and with weights that moved meanwhile.
--
-- NULL in rows of earlier versions, and where it was not finite.
ALTER TABLE epochs ADD COLUMN fixed_loss DOUBLE PRECISION;
