//! Matrix products on strided views: the one place that calls the `gemm` crate.
#![allow(unsafe_code)]

/// A read-only matrix inside a slice.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// A row-major `[rows, columns]` matrix.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(data.len() >= rows * columns, "a [{rows}, {columns}] matrix in {} values", data.len());
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same values seen as `[columns, rows]`.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = a · b`, or `out += a · b` where `accumulate` says so; `out` is row-major `[a.rows, b.columns]`.
///
/// One thread: the caller splits the work, so that sums are taken in the same order whatever the number of cores.
pub(super) fn multiply(out: &mut [f32], a: View<'_>, b: View<'_>, accumulate: bool) {
    assert_eq!(a.columns, b.rows, "inner sizes of a product");
    assert!(out.len() >= a.rows * b.columns, "room for a product");
    if a.rows == 0 || b.columns == 0 {
        return;
    }
    // SAFETY: a `View` is only made by `new`, which checks that `rows * columns` values lie in the slice, and
    // `transposed`, which addresses the same values; `out` was checked above and, being `&mut`, overlaps neither.
    // Strides are at most a slice's length, hence fit an isize.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            b.columns as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(a: View<'_>, b: View<'_>, accumulate: bool, expected: &[f32]) {
        let mut out = vec![1.0; expected.len()];
        multiply(&mut out, a, b, accumulate);
        assert_eq!(out, expected);
    }

    #[test]
    fn products() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        check(View::new(&a, 2, 3), View::new(&b, 3, 2), false, &[4.0, 5.0, 10.0, 11.0]);
        check(View::new(&a, 2, 3), View::new(&b, 3, 2), true, &[5.0, 6.0, 11.0, 12.0]);
        check(View::new(&a, 3, 2).transposed(), View::new(&b, 3, 2), false, &[6.0, 8.0, 8.0, 10.0]);
        check(View::new(&a, 2, 3), View::new(&b, 2, 3).transposed(), false, &[1.0, 6.0, 4.0, 15.0]);
    }

    #[test]
    #[should_panic(expected = "inner sizes")]
    fn sizes_are_checked() {
        multiply(&mut [0.0; 4], View::new(&[0.0; 4], 2, 2), View::new(&[0.0; 6], 3, 2), false);
    }
}
