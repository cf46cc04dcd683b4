//! Errors: a variant for each status, with the text of the library.

use crate::buffer;
use std::fmt;
use tlp_sys as sys;

/// Result of a call of the library.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! errors {
    ($($(#[$doc:meta])* $variant:ident = $status:ident,)*) => {
        /// Failure of a call.  Each variant holds the library's one-line text,
        /// which names the file, the key and the value at fault.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Error {
            $($(#[$doc])* $variant(String),)*
            /// A status that this crate does not know.
            Unknown(i32, String),
        }

        impl Error {
            /// Makes the error of a status.
            pub(crate) fn new(status: sys::tlp_status, text: String) -> Error {
                match status {
                    $(sys::$status => Error::$variant(text),)*
                    _ => Error::Unknown(status, text),
                }
            }

            /// The status in the C interface: negative.
            pub fn status(&self) -> i32 {
                match self {
                    $(Error::$variant(_) => sys::$status,)*
                    Error::Unknown(status, _) => *status,
                }
            }

            /// The text of the library: one line.
            pub fn text(&self) -> &str {
                match self {
                    $(Error::$variant(text) => text,)*
                    Error::Unknown(_, text) => text,
                }
            }
        }
    };
}

errors! {
    /// A failure without a code of its own.
    General = TLP_ERROR,
    /// An argument is not valid.
    Invalid = TLP_EINVAL,
    /// Memory of the host or of a GPU ran out.
    Memory = TLP_ENOMEM,
    /// The system failed to read or to write.
    Io = TLP_EIO,
    /// A file or a text is malformed.
    Format = TLP_EFORMAT,
    /// The input is well-formed, but not supported.
    Unsupported = TLP_ENOTSUP,
    /// The tokens do not fit.
    Full = TLP_EFULL,
    /// A buffer was too small; the crate makes buffers large enough.
    Buffer = TLP_EBUFS,
    /// The call is out of order.
    State = TLP_ESTATE,
    /// The program canceled the call.
    Canceled = TLP_ECANCELED,
    /// A GPU or its driver failed.
    Device = TLP_EDEVICE,
    /// Another rank failed.
    Comm = TLP_ECOMM,
    /// The loaded library is older than this crate.
    Abi = TLP_EABI,
    /// Another rank did not answer in time.
    TimedOut = TLP_ETIMEDOUT,
    /// Two things that must agree do not.
    Mismatch = TLP_EMISMATCH,
    /// No plan reaches the target.
    Unreached = TLP_EUNREACHED,
    /// No adjustment improves the plan.
    NoGain = TLP_ENOGAIN,
    /// Nothing more will come.
    Closed = TLP_ECLOSED,
    /// No room at the moment.
    Busy = TLP_EBUSY,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}

/// Turns a status into a result.  The text is this thread's, so the call must
/// have been made on this thread.
pub(crate) fn check(status: sys::tlp_status) -> Result<()> {
    if status == sys::TLP_OK {
        return Ok(());
    }
    // SAFETY: the library returns a text that lives until its next failure.
    let text = unsafe { buffer::text(sys::tlp_last_error()) };
    Err(Error::new(status, text))
}
