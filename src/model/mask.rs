//! Masks of dropout, each from a stream of its own, so that it does not matter which thread draws it, and when.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Which of a layer's outputs to silence. The mask depends on these three alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Share of outputs set to zero, 0 to below 1; the others are scaled up to keep the mean.
    pub rate: f32,
    /// Seed of the training.
    pub seed: u64,
    /// Which mask of that seed; every batch has its own.
    pub stream: u64,
}

/// Fills masks, one after the other, with 0 or 1 / (1 − rate).
pub(super) fn draw<'a>(dropout: Dropout, masks: impl IntoIterator<Item = &'a mut [f32]>) {
    let mut random = ChaCha8Rng::seed_from_u64(dropout.seed);
    random.set_stream(dropout.stream);
    // 16 bits decide about a unit: the rate is met within 1 / 131,072
    let threshold = (dropout.rate * 65_536.0).round() as u32;
    let keep = 1.0 / (1.0 - dropout.rate);
    let mut bytes = [0; 1024];
    for mask in masks {
        for part in mask.chunks_mut(bytes.len() / 2) {
            random.fill_bytes(&mut bytes);
            for (m, b) in part.iter_mut().zip(bytes.chunks_exact(2)) {
                *m = if u32::from(u16::from_le_bytes([b[0], b[1]])) < threshold { 0.0 } else { keep };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_drop_their_share_and_keep_the_mean() {
        let mask = |seed, stream| {
            let mut mask = vec![0.0; 100_000];
            draw(Dropout { rate: 0.2, seed, stream }, [&mut mask[..]]);
            mask
        };
        let dropped = mask(3, 9).iter().filter(|&&m| m == 0.0).count() as f32 / 100_000.0;
        assert!((dropped - 0.2).abs() < 0.005, "{dropped}");
        assert!((mask(3, 9).iter().sum::<f32>() / 100_000.0 - 1.0).abs() < 0.01);
        assert_eq!(mask(3, 9), mask(3, 9));
        assert_ne!(mask(3, 9), mask(3, 10));
        assert_ne!(mask(3, 9), mask(4, 9));
    }
}
