//! Declarations of the C interface of libtlp: `tlp.h`, `tlp_tune.h`,
//! `tlp_eval.h` and `tlp_mpi.h`.
//!
//! `scripts/make-rust-sys.sh` makes them with bindgen, with tests of the layout
//! of every struct.  The crate `tlp` is the safe interface.
#![allow(non_camel_case_types, clippy::all, rustdoc::all)]

mod bindings;
pub use bindings::*;

/// Let a session use a duplicate of an MPI communicator, as `tlp_mpi.h` does.
///
/// The header's function is inline, so that no library exports it.  `comm` points
/// to an `MPI_Comm` that stays valid until MPI is finalized.
pub fn tlp_mpi_use(opts: &mut tlp_session_options, comm: *const std::os::raw::c_void) {
    opts.comm = TLP_COMM_MPI as i32;
    opts.comm_handle = comm;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The library refuses a struct with fields beyond its own, so a size that
    /// is too large for the loaded library fails here.
    #[test]
    fn the_library_knows_all_fields() {
        let mut out = tlp_divergence {
            struct_size: std::mem::size_of::<tlp_divergence>(),
            ..Default::default()
        };
        let row = [0.0f32, 1.0];
        // SAFETY: both rows have two values, and the struct lives.
        let status = unsafe { tlp_logits_compare(&mut out, row.as_ptr(), row.as_ptr(), 2) };
        assert_eq!(status, TLP_OK);
        assert_eq!((out.kl, out.top1), (0.0, 1));
    }

    #[test]
    fn versions_agree() {
        // SAFETY: the function has no arguments.
        let version = unsafe { tlp_version_number() };
        assert_eq!(version, TLP_VERSION_NUMBER as i32);
    }
}
