//! Options of sessions, and the macros that turn structs into those of C.

use tlp_sys as sys;

/// Options whose fields have the names and numbers of C.
macro_rules! options {
    ($(#[$doc:meta])* $name:ident: $raw:ident {
        $($(#[$field_doc:meta])* $field:ident: $ty:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $ty,)*
        }

        impl $name {
            /// The struct of C, with all further fields at their defaults.
            #[allow(clippy::needless_update)] // some structs set all fields
            pub(crate) fn raw(&self) -> tlp_sys::$raw {
                tlp_sys::$raw {
                    struct_size: std::mem::size_of::<tlp_sys::$raw>(),
                    $($field: self.$field as _,)*
                    ..Default::default()
                }
            }
        }
    };
}

/// Facts whose fields have the names and numbers of C.
macro_rules! facts {
    ($(#[$doc:meta])* $name:ident: $raw:ident {
        $($(#[$field_doc:meta])* $field:ident: $ty:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $ty,)*
        }

        impl $name {
            /// An empty struct for the library to fill.
            pub(crate) fn raw() -> tlp_sys::$raw {
                tlp_sys::$raw {
                    struct_size: std::mem::size_of::<tlp_sys::$raw>(),
                    ..Default::default()
                }
            }

            pub(crate) fn from_raw(raw: &tlp_sys::$raw) -> Self {
                $name { $($field: raw.$field as _,)* }
            }
        }
    };
}

pub(crate) use {facts, options};

/// Type of the activations that are multiplied with weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compute {
    /// The fastest type for the weights.
    #[default]
    Default = sys::TLP_COMPUTE_DEFAULT as isize,
    /// f32 everywhere.
    F32 = sys::TLP_COMPUTE_F32 as isize,
}

/// Type of keys and values in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// The library's choice.
    #[default]
    Default = sys::TLP_KV_DEFAULT as isize,
    /// 32 bits.
    F32 = sys::TLP_KV_F32 as isize,
    /// 16 bits.
    F16 = sys::TLP_KV_F16 as isize,
    /// 16 bits, with the range of f32.
    Bf16 = sys::TLP_KV_BF16 as isize,
    /// Blocks of 8 bits.
    Q8_0 = sys::TLP_KV_Q8_0 as isize,
}

/// Set of instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isa {
    /// The best one of the CPU.
    #[default]
    Auto = sys::TLP_ISA_AUTO as isize,
    /// Plain C.
    Scalar = sys::TLP_ISA_SCALAR as isize,
    /// AVX2.
    Avx2 = sys::TLP_ISA_AVX2 as isize,
    /// AVX-512.
    Avx512 = sys::TLP_ISA_AVX512 as isize,
    /// AMX.
    Amx = sys::TLP_ISA_AMX as isize,
}

options! {
    /// Options of a session.  Zero in any field means its default.
    SessionOptions: tlp_session_options {
        /// Positions of each sequence; 0 = that of the training, at most 4096.
        n_ctx: i32,
        /// Sequences; 0 = 1.
        n_seq: i32,
        /// Most tokens of a step.
        n_batch: i32,
        /// Ranks, each a thread or more; 0 = 1.
        n_rank: i32,
        /// Threads of each rank; 0 = the CPUs of this process, divided.
        n_thread: i32,
        /// Threads of each rank in steps of many tokens; 0 = n_thread.
        n_thread_prefill: i32,
        /// `sys::tlp_backend`: 0 = CPUs, 1 = CUDA.
        backend: i32,
        /// Type of activations in products.
        compute: Compute,
        /// Type of the cache.
        kv_type: KvType,
        /// Instructions to use.
        isa: Isa,
        /// Whether to bind threads to cores.
        pin: bool,
        /// Longest wait for another rank, milliseconds; 0 = 5000.
        timeout_ms: i32,
        /// Rows of logits to have room for; 0 = n_seq.
        n_row: usize,
        /// Time to spin before a sleep, microseconds; 0 = up to 100; -1 = none.
        spin_us: i32,
        /// Bytes of the cache; 0 = as n_seq sequences of n_ctx positions need.
        kv_bytes: u64,
    }
}
