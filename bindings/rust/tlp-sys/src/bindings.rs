// Made by scripts/make-rust-sys.sh from include/.
pub const TLP_VERSION_MAJOR: u32 = 0;
pub const TLP_VERSION_MINOR: u32 = 1;
pub const TLP_VERSION_PATCH: u32 = 0;
pub const TLP_VERSION_NUMBER: u32 = 100;
pub const TLP_ABI_VERSION: u32 = 1;
pub const TLP_LINK_SIZES: u32 = 16;
pub const TLP_N_DRILL: u32 = 4;
extern "C" {
    /// Get the version of the library at run time.
    ///
    /// @return the version in the form of TLP_VERSION_NUMBER
    /// @since 0.1
    pub fn tlp_version_number() -> ::std::os::raw::c_int;
}
extern "C" {
    /// Get the version of the library at run time as text.
    ///
    /// @return "major.minor.patch"; static
    /// @since 0.1
    pub fn tlp_version_string() -> *const ::std::os::raw::c_char;
}
extern "C" {
    /// Describe this build and this machine in one line.
    ///
    /// The line names the version, the compiler, and the kernels that a session
    /// would use on this machine ("amx", "avx512", "avx2" or "scalar").
    ///
    /// @return one line without a newline; static
    /// @since 0.1
    pub fn tlp_build_info() -> *const ::std::os::raw::c_char;
}
extern "C" {
    /// List the architectures that the library loads.
    ///
    /// @param index  0 for the first one
    /// @return a value of the key general.architecture, such as "llama"; NULL past
    ///         the last one; static
    /// @since 0.1
    pub fn tlp_arch_name(index: usize) -> *const ::std::os::raw::c_char;
}
extern "C" {
    /// List the types of tensors that the library loads.
    ///
    /// @param index  0 for the first one
    /// @return the name of a type, such as "Q4_1"; NULL past the last one; static
    /// @since 0.1
    pub fn tlp_type_name(index: usize) -> *const ::std::os::raw::c_char;
}
/// success
pub const TLP_OK: tlp_status = 0;
/// failure without a code of its own
pub const TLP_ERROR: tlp_status = -1;
/// an argument is not valid
pub const TLP_EINVAL: tlp_status = -2;
/// memory of the host or of a GPU ran out
pub const TLP_ENOMEM: tlp_status = -3;
/// the system failed to read or to write
pub const TLP_EIO: tlp_status = -4;
/// a file or a text is malformed
pub const TLP_EFORMAT: tlp_status = -5;
/// the input is well-formed, but not supported
pub const TLP_ENOTSUP: tlp_status = -6;
/// the tokens do not fit into n_ctx positions, or
/// the cache has too few free pages
pub const TLP_EFULL: tlp_status = -7;
/// the buffer of the caller is too small
pub const TLP_EBUFS: tlp_status = -8;
/// the call is out of order
pub const TLP_ESTATE: tlp_status = -9;
/// the program canceled the call
pub const TLP_ECANCELED: tlp_status = -10;
/// a GPU or its driver failed
pub const TLP_EDEVICE: tlp_status = -11;
/// another rank failed
pub const TLP_ECOMM: tlp_status = -12;
/// a struct sets fields that the library lacks
pub const TLP_EABI: tlp_status = -13;
/// another rank did not answer in time
pub const TLP_ETIMEDOUT: tlp_status = -14;
/// two things that must agree do not
pub const TLP_EMISMATCH: tlp_status = -15;
/// no plan reaches the target
pub const TLP_EUNREACHED: tlp_status = -16;
/// no adjustment improves the plan
pub const TLP_ENOGAIN: tlp_status = -17;
/// rank 0 has left, or the engine was stopped:
/// nothing more will come
pub const TLP_ECLOSED: tlp_status = -18;
/// no room at the moment
pub const TLP_EBUSY: tlp_status = -19;
/// Result of a function that can fail.  Values never change.
pub type tlp_status = ::std::os::raw::c_int;
extern "C" {
    /// Get the name of a status.
    ///
    /// @param status  any value
    /// @return "TLP_EINVAL" and so on, "TLP_E?" for an unknown value; static
    /// @since 0.1
    pub fn tlp_status_name(status: tlp_status) -> *const ::std::os::raw::c_char;
}
extern "C" {
    /// Get a short general text for a status.
    ///
    /// tlp_last_error() has the text that names the cause.
    ///
    /// @param status  any value
    /// @return a text, never NULL; static
    /// @since 0.1
    pub fn tlp_status_text(status: tlp_status) -> *const ::std::os::raw::c_char;
}
extern "C" {
    /// Get the text of the last failure on the calling thread.
    ///
    /// The text is one line that names the file, the key and the value at fault.
    /// The library also stores failures of other ranks on the thread of the caller.
    /// A call that succeeds does not change the text.
    ///
    /// @return a text, never NULL; borrowed until the next call that fails on this
    ///         thread
    /// @since 0.1
    pub fn tlp_last_error() -> *const ::std::os::raw::c_char;
}
/// Report the progress of a long call.
///
/// @param done       finished share of the work, 0 to 1
/// @param user_data  pointer from the options
/// @return 0 to go on; any other value cancels the call, which then returns
///         TLP_ECANCELED
pub type tlp_progress_fn = ::std::option::Option<
    unsafe extern "C" fn(
        done: f64,
        user_data: *mut ::std::os::raw::c_void,
    ) -> ::std::os::raw::c_int,
>;
/// a failure that the library also reports as status
pub const TLP_LOG_ERROR: tlp_log_level = 1;
/// a problem that the library worked around
pub const TLP_LOG_WARN: tlp_log_level = 2;
/// a fact that interests a user
pub const TLP_LOG_INFO: tlp_log_level = 3;
/// a fact that interests a developer
pub const TLP_LOG_DEBUG: tlp_log_level = 4;
/// Weight of a line of log text.
pub type tlp_log_level = ::std::os::raw::c_uint;
/// Receive one line of log text.
///
/// @param level      enum tlp_log_level
/// @param text       line without a newline, borrowed for this call
/// @param user_data  pointer from the options
pub type tlp_log_fn = ::std::option::Option<
    unsafe extern "C" fn(
        level: ::std::os::raw::c_int,
        text: *const ::std::os::raw::c_char,
        user_data: *mut ::std::os::raw::c_void,
    ),
>;
/// Allocator for host memory.  Set both functions or neither.
///
/// PCRE2, which splits text for tokenizers, uses this allocator too, and may go
/// on without a piece of memory that it fails to get.  Jansson (JSON) and thread
/// stacks do not use it.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_allocator {
    /// Return `size` bytes aligned to `align`, a power of two, or NULL.
    pub alloc: ::std::option::Option<
        unsafe extern "C" fn(
            size: usize,
            align: usize,
            user_data: *mut ::std::os::raw::c_void,
        ) -> *mut ::std::os::raw::c_void,
    >,
    /// Take memory back.  `size` is the value that alloc received.
    pub free: ::std::option::Option<
        unsafe extern "C" fn(
            ptr: *mut ::std::os::raw::c_void,
            size: usize,
            user_data: *mut ::std::os::raw::c_void,
        ),
    >,
    /// last argument of both functions
    pub user_data: *mut ::std::os::raw::c_void,
}
#[test]
fn bindgen_test_layout_tlp_allocator() {
    assert_eq!(
        ::std::mem::size_of::<tlp_allocator>(),
        24usize,
        concat!("Size of: ", stringify!(tlp_allocator))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_allocator>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_allocator))
    );
    fn test_field_alloc() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_allocator>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).alloc) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_allocator),
                "::",
                stringify!(alloc)
            )
        );
    }
    test_field_alloc();
    fn test_field_free() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_allocator>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).free) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_allocator),
                "::",
                stringify!(free)
            )
        );
    }
    test_field_free();
    fn test_field_user_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_allocator>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).user_data) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_allocator),
                "::",
                stringify!(user_data)
            )
        );
    }
    test_field_user_data();
}
impl Default for tlp_allocator {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_model {
    _unused: [u8; 0],
}
/// Options of tlp_model_open.
#[repr(C)]
pub struct tlp_model_options {
    /// sizeof(tlp_model_options)
    pub struct_size: usize,
    /// 1 = read the file into memory
    pub no_mmap: i32,
    /// 1 = vocabulary and metadata, no tensors
    pub vocab_only: i32,
    /// or NULL
    pub progress: tlp_progress_fn,
    /// last argument of progress
    pub progress_data: *mut ::std::os::raw::c_void,
    /// also for plans and sessions; or NULL
    pub log: tlp_log_fn,
    /// last argument of log
    pub log_data: *mut ::std::os::raw::c_void,
    /// also for plans and sessions
    pub allocator: tlp_allocator,
    /// 1 = take a model for another model's copy by
    /// its fingerprint alone; see
    /// tlp_model_get_digest
    pub trust_sample: i32,
}
#[test]
fn bindgen_test_layout_tlp_model_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_model_options>(),
        80usize,
        concat!("Size of: ", stringify!(tlp_model_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_model_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_model_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_no_mmap() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).no_mmap) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_options),
                "::",
                stringify!(no_mmap)
            )
        );
    }
    test_field_no_mmap();
    fn test_field_vocab_only() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).vocab_only) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_options),
                "::",
                stringify!(vocab_only)
            )
        );
    }
    test_field_vocab_only();
    fn test_field_progress() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_options),
                "::",
                stringify!(progress)
            )
        );
    }
    test_field_progress();
    fn test_field_progress_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress_data) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_options),
                "::",
                stringify!(progress_data)
            )
        );
    }
    test_field_progress_data();
    fn test_field_log() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).log) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_options),
                "::",
                stringify!(log)
            )
        );
    }
    test_field_log();
    fn test_field_log_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).log_data) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_options),
                "::",
                stringify!(log_data)
            )
        );
    }
    test_field_log_data();
    fn test_field_allocator() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).allocator) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_options),
                "::",
                stringify!(allocator)
            )
        );
    }
    test_field_allocator();
    fn test_field_trust_sample() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).trust_sample) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_options),
                "::",
                stringify!(trust_sample)
            )
        );
    }
    test_field_trust_sample();
}
impl Default for tlp_model_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Facts about a model.
#[repr(C)]
pub struct tlp_model_info {
    /// set by the caller
    pub struct_size: usize,
    /// general.architecture: "llama", "qwen3"...
    pub arch: [::std::os::raw::c_char; 32usize],
    /// general.name, cut to fit
    pub name: [::std::os::raw::c_char; 128usize],
    /// tensor type that holds most weight bytes
    pub quant: [::std::os::raw::c_char; 16usize],
    /// "sha256:" and 64 hexadecimal digits over
    /// the hyper-parameters and a sample of the
    /// bytes of each tensor; tlp_model_get_digest
    /// has all bytes
    pub fingerprint: [::std::os::raw::c_char; 72usize],
    /// layers
    pub n_layer: i32,
    /// width of the residual stream
    pub n_embd: i32,
    /// width of the feed-forward, or of an expert
    pub n_ff: i32,
    /// query heads
    pub n_head: i32,
    /// key and value heads
    pub n_head_kv: i32,
    /// width of a head
    pub head_dim: i32,
    /// tokens in the vocabulary
    pub n_vocab: i32,
    /// positions that the model was trained with
    pub n_ctx_train: i32,
    /// token that begins a text; -1 = none
    pub bos: i32,
    /// token that ends a text; -1 = none
    pub eos: i32,
    /// token that ends a chat turn; -1 = none
    pub eot: i32,
    /// token for padding; -1 = none
    pub pad: i32,
    /// parameters
    pub n_param: i64,
    /// bytes of all tensors
    pub n_bytes: i64,
    /// tensors
    pub n_tensor: i32,
    /// metadata keys
    pub n_meta: i32,
    /// experts of each layer, of n_ff hidden units
    /// each; 0: layers have no experts
    pub n_expert: i32,
    /// experts that a token reads
    pub n_expert_used: i32,
}
#[test]
fn bindgen_test_layout_tlp_model_info() {
    assert_eq!(
        ::std::mem::size_of::<tlp_model_info>(),
        336usize,
        concat!("Size of: ", stringify!(tlp_model_info))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_model_info>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_model_info))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_arch() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).arch) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(arch)
            )
        );
    }
    test_field_arch();
    fn test_field_name() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).name) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(name)
            )
        );
    }
    test_field_name();
    fn test_field_quant() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).quant) as usize - ptr as usize
            },
            168usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(quant)
            )
        );
    }
    test_field_quant();
    fn test_field_fingerprint() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).fingerprint) as usize - ptr as usize
            },
            184usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(fingerprint)
            )
        );
    }
    test_field_fingerprint();
    fn test_field_n_layer() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_layer) as usize - ptr as usize
            },
            256usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_layer)
            )
        );
    }
    test_field_n_layer();
    fn test_field_n_embd() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_embd) as usize - ptr as usize
            },
            260usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_embd)
            )
        );
    }
    test_field_n_embd();
    fn test_field_n_ff() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_ff) as usize - ptr as usize
            },
            264usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_ff)
            )
        );
    }
    test_field_n_ff();
    fn test_field_n_head() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_head) as usize - ptr as usize
            },
            268usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_head)
            )
        );
    }
    test_field_n_head();
    fn test_field_n_head_kv() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_head_kv) as usize - ptr as usize
            },
            272usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_head_kv)
            )
        );
    }
    test_field_n_head_kv();
    fn test_field_head_dim() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).head_dim) as usize - ptr as usize
            },
            276usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(head_dim)
            )
        );
    }
    test_field_head_dim();
    fn test_field_n_vocab() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_vocab) as usize - ptr as usize
            },
            280usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_vocab)
            )
        );
    }
    test_field_n_vocab();
    fn test_field_n_ctx_train() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_ctx_train) as usize - ptr as usize
            },
            284usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_ctx_train)
            )
        );
    }
    test_field_n_ctx_train();
    fn test_field_bos() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).bos) as usize - ptr as usize
            },
            288usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(bos)
            )
        );
    }
    test_field_bos();
    fn test_field_eos() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).eos) as usize - ptr as usize
            },
            292usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(eos)
            )
        );
    }
    test_field_eos();
    fn test_field_eot() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).eot) as usize - ptr as usize
            },
            296usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(eot)
            )
        );
    }
    test_field_eot();
    fn test_field_pad() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).pad) as usize - ptr as usize
            },
            300usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(pad)
            )
        );
    }
    test_field_pad();
    fn test_field_n_param() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_param) as usize - ptr as usize
            },
            304usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_param)
            )
        );
    }
    test_field_n_param();
    fn test_field_n_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_bytes) as usize - ptr as usize
            },
            312usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_bytes)
            )
        );
    }
    test_field_n_bytes();
    fn test_field_n_tensor() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_tensor) as usize - ptr as usize
            },
            320usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_tensor)
            )
        );
    }
    test_field_n_tensor();
    fn test_field_n_meta() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_meta) as usize - ptr as usize
            },
            324usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_meta)
            )
        );
    }
    test_field_n_meta();
    fn test_field_n_expert() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_expert) as usize - ptr as usize
            },
            328usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_expert)
            )
        );
    }
    test_field_n_expert();
    fn test_field_n_expert_used() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_model_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_expert_used) as usize - ptr as usize
            },
            332usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_model_info),
                "::",
                stringify!(n_expert_used)
            )
        );
    }
    test_field_n_expert_used();
}
impl Default for tlp_model_info {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Facts about a tensor.
#[repr(C)]
pub struct tlp_tensor_info {
    /// set by the caller
    pub struct_size: usize,
    /// borrowed from the model
    pub name: *const ::std::os::raw::c_char,
    /// "F32", "Q4_1" and so on; static
    pub type_: *const ::std::os::raw::c_char,
    /// dimensions, at most 4
    pub n_dim: i32,
    /// index of the model's file that holds it
    pub file: i32,
    /// elements per dimension, the fastest first
    /// (the order of GGUF)
    pub ne: [i64; 4usize],
    /// bytes in the file
    pub n_bytes: u64,
}
#[test]
fn bindgen_test_layout_tlp_tensor_info() {
    assert_eq!(
        ::std::mem::size_of::<tlp_tensor_info>(),
        72usize,
        concat!("Size of: ", stringify!(tlp_tensor_info))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_tensor_info>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_tensor_info))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_tensor_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_tensor_info),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_name() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_tensor_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).name) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_tensor_info),
                "::",
                stringify!(name)
            )
        );
    }
    test_field_name();
    fn test_field_type() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_tensor_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).type_) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_tensor_info),
                "::",
                stringify!(type_)
            )
        );
    }
    test_field_type();
    fn test_field_n_dim() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_tensor_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_dim) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_tensor_info),
                "::",
                stringify!(n_dim)
            )
        );
    }
    test_field_n_dim();
    fn test_field_file() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_tensor_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).file) as usize - ptr as usize
            },
            28usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_tensor_info),
                "::",
                stringify!(file)
            )
        );
    }
    test_field_file();
    fn test_field_ne() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_tensor_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ne) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_tensor_info),
                "::",
                stringify!(ne)
            )
        );
    }
    test_field_ne();
    fn test_field_n_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_tensor_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_bytes) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_tensor_info),
                "::",
                stringify!(n_bytes)
            )
        );
    }
    test_field_n_bytes();
}
impl Default for tlp_tensor_info {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Open a model: a file, or a folder of Hugging Face (docs/folders.md).
    ///
    /// A file is GGUF, version 2 or 3, little-endian (ggml-org/ggml, docs/gguf.md),
    /// or the first of a split set (name-00001-of-0000N.gguf).  A folder is read as
    /// the file that llama.cpp's converter makes of it.  The library checks the whole
    /// structure.  With mmap, the default, it copies no weights whose order stays.
    ///
    /// The library refuses a metadata key or a tensor that it does not know, unless
    /// it is known to change no result.  It tells `log` what it had to guess or left
    /// out, with TLP_LOG_WARN; docs/errors.md lists both.
    ///
    /// @param[out] out  the model; the caller frees it with tlp_model_free
    /// @param path      UTF-8
    /// @param opts      NULL = defaults
    /// @return TLP_OK; TLP_EIO if the file cannot be read; TLP_EFORMAT if it is
    ///         malformed (the text names the key or the tensor); TLP_ENOTSUP for an
    ///         unknown architecture, tensor type, tokenizer, key or tensor;
    ///         TLP_ECANCELED by progress
    /// @since 0.1
    pub fn tlp_model_open(
        out: *mut *mut tlp_model,
        path: *const ::std::os::raw::c_char,
        opts: *const tlp_model_options,
    ) -> tlp_status;
}
extern "C" {
    /// Release a model.  Plans that use the model stay valid.
    ///
    /// @param model  NULL is allowed
    /// @since 0.1
    pub fn tlp_model_free(model: *mut tlp_model);
}
extern "C" {
    #[must_use]
    /// Get facts about a model.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param model     model
    /// @return TLP_OK
    /// @since 0.1
    pub fn tlp_model_get_info(out: *mut tlp_model_info, model: *const tlp_model) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Copy out the digest of a model: "sha256:" and 64 hexadecimal digits over the
    /// hyper-parameters and every byte of every tensor.
    ///
    /// The fingerprint of tlp_model_info samples the bytes and tells models apart at
    /// once; the digest also tells a damaged copy from its original.  Names of
    /// files, how a set is split, the order of tensors, padding and other metadata
    /// do not count.
    ///
    /// The first call for a model reads all of its tensors, with several threads.
    /// The library keeps the digests of tensors in $XDG_CACHE_HOME/libtlp or
    /// ~/.cache/libtlp, and uses them while device, inode, size, mtime and ctime of
    /// the file stay; so it does not see a medium that decays later.  Without a
    /// folder that it can write, it reads the tensors each time.
    ///
    /// The library itself asks for the digest when a session of several processes
    /// begins, when it writes a plan as JSON or scores, and when it reads a plan or
    /// scores that have a digest.  With `trust_sample` it never does: then it
    /// compares fingerprints, and damage outside the sample stays unseen.
    ///
    /// @param[out] buf  text; NULL if cap is 0
    /// @param cap       bytes in buf
    /// @param[out] len  bytes of the text without the NUL
    /// @param model     opened without vocab_only
    /// @return TLP_OK; TLP_EBUFS if cap is too small; TLP_EINVAL with vocab_only;
    ///         TLP_ENOMEM
    /// @since 0.1
    pub fn tlp_model_get_digest(
        buf: *mut ::std::os::raw::c_char,
        cap: usize,
        len: *mut usize,
        model: *const tlp_model,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Get facts about one tensor.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param model     model
    /// @param index     0 to n_tensor - 1, in the order of the file
    /// @return TLP_OK; TLP_EINVAL past the last tensor
    /// @since 0.1
    pub fn tlp_model_get_tensor(
        out: *mut tlp_tensor_info,
        model: *const tlp_model,
        index: usize,
    ) -> tlp_status;
}
extern "C" {
    /// Get the name of one metadata key.
    ///
    /// @param model  model
    /// @param index  0 to n_meta - 1, in the order of the file
    /// @return the name, borrowed from the model; NULL past the last key
    /// @since 0.1
    pub fn tlp_model_meta_key(
        model: *const tlp_model,
        index: usize,
    ) -> *const ::std::os::raw::c_char;
}
extern "C" {
    #[must_use]
    /// Get a metadata value as text.
    ///
    /// For an array, the text gives its type, its size and its first elements.
    ///
    /// @param[out] buf  cap bytes; NULL with cap 0
    /// @param cap       bytes in buf
    /// @param[out] len  length of the text in bytes without the NUL, also with
    ///                  TLP_EBUFS
    /// @param model     model
    /// @param key       name, as from tlp_model_meta_key
    /// @return TLP_OK; TLP_EINVAL if the key does not exist; TLP_EBUFS
    /// @since 0.1
    pub fn tlp_model_get_meta(
        buf: *mut ::std::os::raw::c_char,
        cap: usize,
        len: *mut usize,
        model: *const tlp_model,
        key: *const ::std::os::raw::c_char,
    ) -> tlp_status;
}
/// text such as <|im_start|> becomes one
/// control token
pub const TLP_TOKENIZE_SPECIAL: tlp_tokenize_flags = 1;
/// add BOS if the model file asks for it,
/// unless the text begins with BOS
pub const TLP_TOKENIZE_BOS: tlp_tokenize_flags = 2;
/// add EOS if the model file asks for it; not
/// for a text that is to be continued
pub const TLP_TOKENIZE_EOS: tlp_tokenize_flags = 4;
/// Flags of tlp_tokenize.
pub type tlp_tokenize_flags = ::std::os::raw::c_uint;
/// control tokens give their text
pub const TLP_DETOKENIZE_SPECIAL: tlp_detokenize_flags = 1;
/// Flags of tlp_detokenize and of streams.
pub type tlp_detokenize_flags = ::std::os::raw::c_uint;
extern "C" {
    #[must_use]
    /// Convert text to token ids.
    ///
    /// The time grows with n log n; the stack does not grow.
    ///
    /// @param[out] ids    room for cap ids; NULL with cap 0
    /// @param cap         ids that fit into ids
    /// @param[out] count  number of ids, also with TLP_EBUFS
    /// @param model       model with the vocabulary
    /// @param text        n bytes without a NUL; bytes that are not UTF-8 count as
    ///                    single bytes
    /// @param n           bytes in text
    /// @param flags       enum tlp_tokenize_flags, combined by OR
    /// @return TLP_OK; TLP_EBUFS
    /// @since 0.1
    pub fn tlp_tokenize(
        ids: *mut i32,
        cap: usize,
        count: *mut usize,
        model: *const tlp_model,
        text: *const ::std::os::raw::c_char,
        n: usize,
        flags: u32,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Convert token ids to text.
    ///
    /// Control tokens give no text unless the flags ask for it.  The text is not
    /// whole UTF-8 if the ids end inside a character.
    ///
    /// @param[out] buf  room for cap bytes; NULL with cap 0
    /// @param cap       bytes in buf
    /// @param[out] len  length of the text in bytes without the NUL, also with
    ///                  TLP_EBUFS
    /// @param model     model with the vocabulary
    /// @param ids       n ids, each from 0 to n_vocab - 1
    /// @param n         number of ids
    /// @param flags     enum tlp_detokenize_flags, combined by OR
    /// @return TLP_OK; TLP_EBUFS
    /// @since 0.1
    pub fn tlp_detokenize(
        buf: *mut ::std::os::raw::c_char,
        cap: usize,
        len: *mut usize,
        model: *const tlp_model,
        ids: *const i32,
        n: usize,
        flags: u32,
    ) -> tlp_status;
}
extern "C" {
    /// Test whether a token ends a generation.
    ///
    /// @param model  model with the vocabulary
    /// @param id     token
    /// @return 1 for the end of a text or of a chat turn, else 0
    /// @since 0.1
    pub fn tlp_token_is_end(model: *const tlp_model, id: i32) -> ::std::os::raw::c_int;
}
/// no part of a text: tlp_detokenize leaves it
/// out unless the flags ask for it
pub const TLP_TOKEN_CONTROL: tlp_token_flags = 1;
/// ends a generation (tlp_token_is_end)
pub const TLP_TOKEN_END: tlp_token_flags = 2;
/// one byte, for text without a token of its own;
/// SentencePiece only
pub const TLP_TOKEN_BYTE: tlp_token_flags = 4;
/// defined by the maker of the model, and found
/// in any text
pub const TLP_TOKEN_USER: tlp_token_flags = 8;
/// a row of the embedding without a token
pub const TLP_TOKEN_PADDING: tlp_token_flags = 16;
/// Kinds of tokens.
pub type tlp_token_flags = ::std::os::raw::c_uint;
extern "C" {
    #[must_use]
    /// Get the bytes of one token.
    ///
    /// They are the bytes inside a text: a leading blank of SentencePiece is kept,
    /// and the bytes may be a part of a character.  A control token gives the text
    /// by which it is found.
    ///
    /// @param[out] buf  room for cap bytes; NULL with cap 0
    /// @param cap       bytes in buf
    /// @param[out] len  number of bytes without the NUL, also with TLP_EBUFS
    /// @param model     model with the vocabulary
    /// @param id        token, 0 to n_vocab - 1
    /// @return TLP_OK; TLP_EBUFS
    /// @since 0.1
    pub fn tlp_token_get_piece(
        buf: *mut ::std::os::raw::c_char,
        cap: usize,
        len: *mut usize,
        model: *const tlp_model,
        id: i32,
    ) -> tlp_status;
}
extern "C" {
    /// Tell the kind of a token.
    ///
    /// @param model  model with the vocabulary
    /// @param id     token
    /// @return enum tlp_token_flags, combined by OR; 0 for text, and for an id out
    ///         of range
    /// @since 0.1
    pub fn tlp_token_kind(model: *const tlp_model, id: i32) -> u32;
}
/// One message of a conversation.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_chat_message {
    /// "system", "user" or "assistant"
    pub role: *const ::std::os::raw::c_char,
    /// UTF-8
    pub content: *const ::std::os::raw::c_char,
}
#[test]
fn bindgen_test_layout_tlp_chat_message() {
    assert_eq!(
        ::std::mem::size_of::<tlp_chat_message>(),
        16usize,
        concat!("Size of: ", stringify!(tlp_chat_message))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_chat_message>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_chat_message))
    );
    fn test_field_role() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_message>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).role) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_message),
                "::",
                stringify!(role)
            )
        );
    }
    test_field_role();
    fn test_field_content() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_message>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).content) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_message),
                "::",
                stringify!(content)
            )
        );
    }
    test_field_content();
}
impl Default for tlp_chat_message {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Options of tlp_chat_render and tlp_chat_tokenize.
///
/// Texts named _json hold JSON (RFC 8259) of at most 16 MiB, nested at most 64
/// deep, without a key that occurs twice in one object.
#[repr(C)]
pub struct tlp_chat_options {
    /// sizeof(tlp_chat_options)
    pub struct_size: usize,
    /// 1 = end with the opening of the
    /// assistant's turn
    pub add_generation_prompt: i32,
    /// 1 = end behind the text of the last
    /// message, so that the model continues that
    /// text; excludes add_generation_prompt
    pub continue_final_message: i32,
    /// the conversation as an array of objects, in
    /// the form of OpenAI's chat API: role, content
    /// (a string, null, or an array of parts),
    /// tool_calls, reasoning_content, name, any
    /// further key; in place of `messages`
    pub messages_json: *const ::std::os::raw::c_char,
    /// array of objects, `tools` of the template;
    /// NULL = none
    pub tools_json: *const ::std::os::raw::c_char,
    /// array of objects, `documents` of the
    /// template; NULL = none
    pub documents_json: *const ::std::os::raw::c_char,
    /// object; the template sees each key as a
    /// name, such as enable_thinking; NULL = none
    pub kwargs_json: *const ::std::os::raw::c_char,
    /// template, instead of the file's; or NULL
    pub chat_template: *const ::std::os::raw::c_char,
    /// name of a template in the file, such as
    /// "tool_use"; "default" is the one in
    /// tokenizer.chat_template; NULL = "tool_use"
    /// with tools where the file has it, else
    /// "default"
    pub template_name: *const ::std::os::raw::c_char,
    /// time of strftime_now in the template, in
    /// seconds since 1970; 0 = the clock
    pub now: i64,
}
#[test]
fn bindgen_test_layout_tlp_chat_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_chat_options>(),
        72usize,
        concat!("Size of: ", stringify!(tlp_chat_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_chat_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_chat_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_add_generation_prompt() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).add_generation_prompt) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_options),
                "::",
                stringify!(add_generation_prompt)
            )
        );
    }
    test_field_add_generation_prompt();
    fn test_field_continue_final_message() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).continue_final_message) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_options),
                "::",
                stringify!(continue_final_message)
            )
        );
    }
    test_field_continue_final_message();
    fn test_field_messages_json() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).messages_json) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_options),
                "::",
                stringify!(messages_json)
            )
        );
    }
    test_field_messages_json();
    fn test_field_tools_json() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).tools_json) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_options),
                "::",
                stringify!(tools_json)
            )
        );
    }
    test_field_tools_json();
    fn test_field_documents_json() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).documents_json) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_options),
                "::",
                stringify!(documents_json)
            )
        );
    }
    test_field_documents_json();
    fn test_field_kwargs_json() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kwargs_json) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_options),
                "::",
                stringify!(kwargs_json)
            )
        );
    }
    test_field_kwargs_json();
    fn test_field_chat_template() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).chat_template) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_options),
                "::",
                stringify!(chat_template)
            )
        );
    }
    test_field_chat_template();
    fn test_field_template_name() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).template_name) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_options),
                "::",
                stringify!(template_name)
            )
        );
    }
    test_field_template_name();
    fn test_field_now() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_chat_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).now) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_chat_options),
                "::",
                stringify!(now)
            )
        );
    }
    test_field_now();
}
impl Default for tlp_chat_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Convert a conversation to token ids in the way of a chat template.
    ///
    /// An interpreter in the library runs the template, which is written in the
    /// language of Jinja 2, with the settings of Hugging Face's transformers.  The
    /// template sees `messages`, `tools` and `documents` (none where the caller
    /// gives none), `add_generation_prompt`, the keys of kwargs_json, `bos_token`
    /// and `eos_token` (empty where the model has none), and `unk_token` and
    /// `pad_token` where the model has them.  The interpreter bounds steps, memory
    /// and nesting; a construct that it does not know is refused with its name, line
    /// and column.
    ///
    /// Control tokens come from the template alone: text of a message, a tool, a
    /// document or another value of the caller never becomes a control token or a
    /// token that ends a text, nor a part of one.  A role of letters, digits, '_'
    /// and '-' counts as the template's.  User-defined tokens, such as \<think\>, are
    /// found everywhere, as in plain text.  Those that end a text or are spelt as
    /// tokens of turns are count as control tokens: \<|NAME|\>, \<|NAME\>, \<NAME|\>,
    /// \<start_of_NAME\>, \<end_of_NAME\>, and capitals in brackets, [NAME].  Where no
    /// value spells a control token, the ids are those of the whole text from
    /// tlp_chat_render with TLP_TOKENIZE_SPECIAL.
    ///
    /// The ids begin with BOS where the template writes it, and never with two.  No
    /// BOS is added, whatever tokenizer.ggml.add_bos_token says: as transformers
    /// does, the library leaves that to the template.
    ///
    /// The library refuses what would be lost: tools, documents and tool calls that
    /// the template never reads.  It warns through the model's log of other keys
    /// that the template never reads.  Parts of content that are no text (images,
    /// sound) are refused.
    ///
    /// @param[out] ids    room for cap ids; NULL with cap 0
    /// @param cap         ids that fit into ids
    /// @param[out] count  number of ids, also with TLP_EBUFS
    /// @param model       model with the vocabulary and the template
    /// @param messages    n messages; NULL with messages_json
    /// @param n           number of messages
    /// @param opts        NULL = defaults
    /// @return TLP_OK; TLP_EBUFS; TLP_ENOTSUP if there is no template, the template
    ///         uses a construct that is not supported, passes a bound, never reads
    ///         what it must, or does not write the text to continue as it is;
    ///         TLP_EFORMAT if the template or a JSON text is malformed; TLP_EINVAL
    ///         if the template refuses the conversation, a value has another shape,
    ///         a text is not UTF-8, or the file has no template of that name
    /// @since 0.1
    pub fn tlp_chat_tokenize(
        ids: *mut i32,
        cap: usize,
        count: *mut usize,
        model: *const tlp_model,
        messages: *const tlp_chat_message,
        n: usize,
        opts: *const tlp_chat_options,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Convert a conversation to text in the way of a chat template.
    ///
    /// The text is for people, logs and other tokenizers.  It does not say which
    /// bytes the template wrote: a program that tokenizes this text lets messages
    /// spell control tokens.  tlp_chat_tokenize does not.
    ///
    /// @param[out] buf  room for cap bytes; NULL with cap 0
    /// @param cap       bytes in buf
    /// @param[out] len  length of the text in bytes without the NUL, also with
    ///                  TLP_EBUFS
    /// @param model     model with the template
    /// @param messages  n messages; NULL with messages_json
    /// @param n         number of messages
    /// @param opts      NULL = defaults
    /// @return the statuses of tlp_chat_tokenize
    /// @since 0.1
    pub fn tlp_chat_render(
        buf: *mut ::std::os::raw::c_char,
        cap: usize,
        len: *mut usize,
        model: *const tlp_model,
        messages: *const tlp_chat_message,
        n: usize,
        opts: *const tlp_chat_options,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Convert a conversation to text: tlp_chat_render with add_generation_prompt as
    /// its only option.
    ///
    /// @param[out] buf       room for cap bytes; NULL with cap 0
    /// @param cap            bytes in buf
    /// @param[out] len       length of the text in bytes without the NUL, also with
    ///                       TLP_EBUFS
    /// @param model          model with the template
    /// @param messages       n messages
    /// @param n              number of messages
    /// @param add_assistant  1 = end with the opening of the assistant's turn
    /// @return the statuses of tlp_chat_render
    /// @since 0.1
    pub fn tlp_chat_format(
        buf: *mut ::std::os::raw::c_char,
        cap: usize,
        len: *mut usize,
        model: *const tlp_model,
        messages: *const tlp_chat_message,
        n: usize,
        add_assistant: ::std::os::raw::c_int,
    ) -> tlp_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_stream {
    _unused: [u8; 0],
}
extern "C" {
    #[must_use]
    /// Create a text stream.
    ///
    /// @param[out] out  the stream; the caller frees it with tlp_stream_free
    /// @param model     model with the vocabulary; the stream keeps it alive
    /// @param stop      n_stop stop strings, copied; NULL with n_stop 0
    /// @param n_stop    number of stop strings
    /// @param flags     enum tlp_detokenize_flags, combined by OR
    /// @return TLP_OK
    /// @since 0.1
    pub fn tlp_stream_create(
        out: *mut *mut tlp_stream,
        model: *mut tlp_model,
        stop: *const *const ::std::os::raw::c_char,
        n_stop: usize,
        flags: u32,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Add one token to a stream.
    ///
    /// @param[out] text     text that became certain: whole UTF-8 with a NUL,
    ///                      borrowed until the next call on the stream, often empty
    /// @param[out] len      bytes in text without the NUL
    /// @param[out] stopped  1 from the token on that completed a stop string; the
    ///                      text never contains the stop string, and the stream
    ///                      ignores later tokens
    /// @param stream        stream
    /// @param token         0 to n_vocab - 1
    /// @return TLP_OK
    /// @since 0.1
    pub fn tlp_stream_push(
        text: *mut *const ::std::os::raw::c_char,
        len: *mut usize,
        stopped: *mut ::std::os::raw::c_int,
        stream: *mut tlp_stream,
        token: i32,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Get the text that a stream still holds back.
    ///
    /// An incomplete character becomes U+FFFD.
    ///
    /// @param[out] text  whole UTF-8 with a NUL, borrowed until the next call on the
    ///                   stream
    /// @param[out] len   bytes in text without the NUL
    /// @param stream     stream
    /// @return TLP_OK
    /// @since 0.1
    pub fn tlp_stream_flush(
        text: *mut *const ::std::os::raw::c_char,
        len: *mut usize,
        stream: *mut tlp_stream,
    ) -> tlp_status;
}
extern "C" {
    /// Release a stream.
    ///
    /// @param stream  NULL is allowed
    /// @since 0.1
    pub fn tlp_stream_free(stream: *mut tlp_stream);
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_grammar {
    _unused: [u8; 0],
}
extern "C" {
    #[must_use]
    /// Make a grammar from GBNF, the form of llama.cpp.
    ///
    ///     # the text must match the rule root
    ///     root ::= "answer: " (number | word) "\n"
    ///     number ::= "-"? [0-9]{1,9}
    ///     word ::= [^\x00-\x20]+
    ///
    /// Symbols are texts in quotes, classes of characters ([a-z], [^a-z]), any
    /// character (.), names of rules (letters, digits, - and _), groups, and tokens
    /// of the vocabulary by id or by text (\<[1000]\>, \<think\>; with ! in front,
    /// any other token).  Behind a symbol may stand *, +, ?, {m}, {m,} or {m,n}.  A
    /// rule ends with its line, except behind | and inside parentheses.
    /// docs/grammars.md has the escapes and the details.
    ///
    /// A grammar matches whole texts: the bytes of tokens, which may end inside a
    /// character.  Control tokens match only where the grammar names them.  A token
    /// that ends a text is allowed exactly where the grammar may end.
    ///
    /// Time and memory are bounded, also for ambiguous grammars.  Refused are rules
    /// that begin with themselves (left recursion) and rules that match no finite
    /// text; and beyond 16 MiB of text, 16384 rules, groups 200 deep, and 524288
    /// positions with repetitions written out.
    ///
    /// @param[out] out  the grammar; the caller frees it with tlp_grammar_free
    /// @param model     model with the vocabulary; the grammar keeps it alive
    /// @param text      n bytes of UTF-8 without a NUL
    /// @param n         bytes in text
    /// @return TLP_OK; TLP_EFORMAT for a text that is no grammar; TLP_ENOTSUP for
    ///         left recursion and beyond the bounds; TLP_EINVAL for a token that the
    ///         vocabulary lacks.  The text names line and rule
    /// @since 0.1
    pub fn tlp_grammar_parse(
        out: *mut *mut tlp_grammar,
        model: *mut tlp_model,
        text: *const ::std::os::raw::c_char,
        n: usize,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Make a grammar from a JSON schema: every text that matches is JSON that the
    /// schema accepts.
    ///
    /// The keywords are those of JSON Schema 2020-12 (and of older drafts
    /// `definitions` and an array of `items`):
    ///
    ///     type, also a list     enum, const           anyOf, oneOf, allOf
    ///     properties, required  additionalProperties  $ref, $defs, definitions
    ///     prefixItems, items    minItems, maxItems    minLength, maxLength
    ///     minimum, maximum, exclusiveMinimum, exclusiveMaximum
    ///     pattern               format: date, time, date-time, uuid
    ///
    /// Properties come in the order of the schema, then others that
    /// additionalProperties allows; a schema without additionalProperties allows no
    /// others where it has properties.  Text of JSON is compact: one blank may stand
    /// behind ',' and ':', and nowhere else.  Numbers have at most 15 digits before
    /// and behind the point and two in the exponent.  docs/grammars.md has the
    /// details.
    ///
    /// A keyword that would change which values are accepted and is not in the list
    /// is refused by name, as are bounds of numbers that are no integers,
    /// alternatives of oneOf that may overlap, and parts of patterns that are no
    /// regular expression.  Notes (title, description, default, examples and the
    /// like) are left out.
    ///
    /// @param[out] out  the grammar; the caller frees it with tlp_grammar_free
    /// @param model     model with the vocabulary; the grammar keeps it alive
    /// @param json      n bytes: a schema, at most 16 MiB, nested at most 64 deep
    /// @param n         bytes in json
    /// @return TLP_OK; TLP_EFORMAT for a text that is no JSON, or a keyword whose
    ///         value has a wrong shape; TLP_ENOTSUP for a keyword that the library
    ///         lacks; TLP_EINVAL for a schema that no value matches.  The text names
    ///         the place in the schema
    /// @since 0.1
    pub fn tlp_grammar_from_schema(
        out: *mut *mut tlp_grammar,
        model: *mut tlp_model,
        json: *const ::std::os::raw::c_char,
        n: usize,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Get the text of a grammar, in GBNF.
    ///
    /// @param[out] buf  room for cap bytes; NULL with cap 0
    /// @param cap       bytes in buf
    /// @param[out] len  length of the text in bytes without the NUL, also with
    ///                  TLP_EBUFS
    /// @param grammar   grammar
    /// @return TLP_OK; TLP_EBUFS
    /// @since 0.1
    pub fn tlp_grammar_get_text(
        buf: *mut ::std::os::raw::c_char,
        cap: usize,
        len: *mut usize,
        grammar: *const tlp_grammar,
    ) -> tlp_status;
}
extern "C" {
    /// Release a grammar.  Matchers and samplers that use it stay valid.
    ///
    /// @param grammar  NULL is allowed
    /// @since 0.1
    pub fn tlp_grammar_free(grammar: *mut tlp_grammar);
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_matcher {
    _unused: [u8; 0],
}
/// more text must follow
pub const TLP_PLACE_INSIDE: tlp_place = 0;
/// the text may end, or go on
pub const TLP_PLACE_MAY_END: tlp_place = 1;
/// the text must end: only tokens that end a text
/// are allowed
pub const TLP_PLACE_COMPLETE: tlp_place = 2;
/// a token ended the text
pub const TLP_PLACE_ENDED: tlp_place = 3;
/// Whether the text of a matcher may end.
pub type tlp_place = ::std::os::raw::c_uint;
extern "C" {
    #[must_use]
    /// Create a matcher, at the start of a text.
    ///
    /// @param[out] out  the matcher; the caller frees it with tlp_matcher_free
    /// @param grammar   grammar; the matcher keeps it alive
    /// @return TLP_OK; TLP_ENOTSUP for a grammar that needs more than its bounds
    /// @since 0.1
    pub fn tlp_matcher_create(out: *mut *mut tlp_matcher, grammar: *mut tlp_grammar) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Add a token to the text.
    ///
    /// @param matcher  matcher
    /// @param token    0 to n_vocab - 1
    /// @return TLP_OK; TLP_EINVAL for a token that the grammar does not allow here,
    ///         after which the text is as before; TLP_ESTATE after the end of the
    ///         text; TLP_ENOTSUP for a grammar that needs more than its bounds
    /// @since 0.1
    pub fn tlp_matcher_accept(matcher: *mut tlp_matcher, token: i32) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Get the tokens that may come next: bit i % 32 of word i / 32 is token i.
    ///
    /// From each of them some text completes the grammar.  The library finds the
    /// tokens that a part of the grammar reads once, and shares them among the
    /// matchers of the grammar, so the first calls take longer than later calls.
    ///
    /// @param[out] bits   room for cap words; NULL with cap 0
    /// @param cap         words in bits
    /// @param[out] count  words that are needed, (n_vocab + 31) / 32, also with
    ///                    TLP_EBUFS
    /// @param matcher     matcher
    /// @return TLP_OK; TLP_EBUFS; TLP_ESTATE after the end of the text; TLP_ENOTSUP
    ///         for a grammar that needs more than its bounds
    /// @since 0.1
    pub fn tlp_matcher_get_mask(
        bits: *mut u32,
        cap: usize,
        count: *mut usize,
        matcher: *mut tlp_matcher,
    ) -> tlp_status;
}
extern "C" {
    /// Tell whether the text may end.
    ///
    /// @param matcher  matcher
    /// @return enum tlp_place
    /// @since 0.1
    pub fn tlp_matcher_place(matcher: *const tlp_matcher) -> ::std::os::raw::c_int;
}
extern "C" {
    #[must_use]
    /// Go back to the start of a text.
    ///
    /// @param matcher  matcher
    /// @return TLP_OK; TLP_ENOMEM, after which the text is as before
    /// @since 0.1
    pub fn tlp_matcher_reset(matcher: *mut tlp_matcher) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Give a matcher the text of another matcher of the grammar.
    ///
    /// @param dst  matcher that becomes the copy
    /// @param src  matcher to copy
    /// @return TLP_OK; TLP_EMISMATCH for matchers of two grammars; TLP_ENOMEM, after
    ///         which dst is as before
    /// @since 0.1
    pub fn tlp_matcher_copy(dst: *mut tlp_matcher, src: *const tlp_matcher) -> tlp_status;
}
extern "C" {
    /// Release a matcher.
    ///
    /// @param matcher  NULL is allowed
    /// @since 0.1
    pub fn tlp_matcher_free(matcher: *mut tlp_matcher);
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_plan {
    _unused: [u8; 0],
}
/// y = x + A(Na x); z = y + F(Nf y)
pub const TLP_MODE_SERIAL: tlp_mode = 0;
/// y = x + sum A_i(Na_i x);
/// z = y + sum F_i(Nf_i y)  (arXiv 2502.02790)
pub const TLP_MODE_LP: tlp_mode = 1;
/// y_i = x + A_i(Na_i x);
/// z = x + sum [A_i + F_i(Nf_i y_i)]
pub const TLP_MODE_PAR: tlp_mode = 2;
/// y_i = x + sum_{j<=i} A_j;
/// z = y_last + sum F_i(Nf_i y_i)
pub const TLP_MODE_ASYM: tlp_mode = 3;
/// LP with slice r of each F reading y through
/// Nf_r: the public code of the paper's authors,
/// for comparison with published numbers
pub const TLP_MODE_LP_CODE: tlp_mode = 4;
/// one layer with the mean of the members' weights,
/// for studies
pub const TLP_MODE_MERGE: tlp_mode = 5;
/// Mode of a stage.
///
/// Stage with members i, input x and output z.  A and F are attention and
/// feed-forward; Na and Nf are their RMS norms.  docs/design.md derives the
/// equations.
pub type tlp_mode = ::std::os::raw::c_uint;
/// the exchange after the attention
pub const TLP_NOSYNC_ATTN: tlp_nosync = 1;
/// the exchange after the feed-forward
pub const TLP_NOSYNC_FFN: tlp_nosync = 2;
/// Exchanges that a stage of mode TLP_MODE_SERIAL leaves out.
///
/// The layers around a left-out exchange are cut into tracks.  Track r goes on
/// with a residual stream of its own, x + the track's part of everything that
/// was added since the last exchange; the next exchange adds the parts of all
/// tracks, and the streams are equal again.  docs/design.md has the equations.
pub type tlp_nosync = ::std::os::raw::c_uint;
extern "C" {
    #[must_use]
    /// Make a plan from text.
    ///
    /// The text form is one clause, or several joined by ';':
    ///
    ///     serial             every layer alone
    ///     par:3-4,7-8        groups; modes par, lp, asym, lp-code, merge; a-b is
    ///                        the group of layers a to b, a+c the group of these two
    ///     lp:12-13;par:20-22 two clauses
    ///     pairs:9-24@lp      consecutive pairs from layer 9 to layer 24 (the rule
    ///                        of arXiv 2502.02790)
    ///     depth:25@par       pairs that the library chooses, to 25 stages
    ///     drop:12,20         layers that do not run
    ///     order:0,2,1,3,...  all layers, in the order in which they run
    ///     nosync@2:7f,25a,26 exchanges that are left out: after the feed-forward of
    ///                        layer 7, the attention of layer 25, both halves of
    ///                        layer 26; @ and the number of tracks may be left out
    ///                        for 2 tracks
    ///
    /// The layers of nosync, and the layer after a left-out exchange, run alone; the
    /// exchange after the last half-layer stays.  Such a plan runs on 1 rank or on a
    /// multiple of its number of tracks.
    ///
    /// The JSON form (docs/design.md) begins with '{'.  Layers count from 0.  A
    /// group runs at the place of its first member.
    ///
    /// @param[out] out  the plan; the caller frees it with tlp_plan_free
    /// @param model     model; the plan keeps it alive
    /// @param text      UTF-8
    /// @return TLP_OK; TLP_EFORMAT if the text is no plan; TLP_EINVAL for a layer
    ///         that is listed twice, missing or past the last; TLP_EMISMATCH for a
    ///         plan of another model; TLP_ENOTSUP for a newer version of plans, or
    ///         for a plan with adjustments, which only tlp_plan_load reads
    /// @since 0.1
    pub fn tlp_plan_parse(
        out: *mut *mut tlp_plan,
        model: *mut tlp_model,
        text: *const ::std::os::raw::c_char,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Read a plan from a JSON file.
    ///
    /// If the plan has adjustments, the library also reads the file of adjustments
    /// that the plan names.  That file stands in the folder of the plan, and its
    /// checksum must be the checksum in the plan.
    ///
    /// @param[out] out  the plan; the caller frees it with tlp_plan_free
    /// @param model     model; the plan keeps it alive
    /// @param path      UTF-8
    /// @return the statuses of tlp_plan_parse; TLP_EIO; TLP_EMISMATCH also for
    ///         adjustments of another plan or model
    /// @since 0.1
    pub fn tlp_plan_load(
        out: *mut *mut tlp_plan,
        model: *mut tlp_model,
        path: *const ::std::os::raw::c_char,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Write a plan to a JSON file.
    ///
    /// The library replaces an existing file as a whole or leaves it as it was.
    /// Adjustments go to a second file, which is replaced first: PATH without
    /// ".json", with ".adjust.safetensors" added.  If only the second file could be
    /// written, a plan that stood in the first file no longer loads.
    ///
    /// @param plan  plan
    /// @param path  UTF-8; for a plan with adjustments, the file name has no
    ///              controls, quotes or backslashes and does not begin with '.'
    /// @return TLP_OK; TLP_EINVAL for such a file name, and for a file of the
    ///         plan's model; TLP_EIO
    /// @since 0.1
    pub fn tlp_plan_save(plan: *const tlp_plan, path: *const ::std::os::raw::c_char) -> tlp_status;
}
/// the text form of tlp_plan_parse
pub const TLP_PLAN_TEXT: tlp_plan_form = 0;
/// the JSON form
pub const TLP_PLAN_JSON: tlp_plan_form = 1;
/// Form of a plan as text.
pub type tlp_plan_form = ::std::os::raw::c_uint;
extern "C" {
    #[must_use]
    /// Write a plan to a buffer.
    ///
    /// tlp_plan_parse of the result gives an equal plan, unless the plan has
    /// adjustments.  The text form has nothing of adjustments; the JSON form has the
    /// name and the checksum of their file.
    ///
    /// @param[out] buf  room for cap bytes; NULL with cap 0
    /// @param cap       bytes in buf
    /// @param[out] len  length of the text in bytes without the NUL, also with
    ///                  TLP_EBUFS
    /// @param plan      plan
    /// @param form      enum tlp_plan_form
    /// @return TLP_OK; TLP_EBUFS
    /// @since 0.1
    pub fn tlp_plan_format(
        buf: *mut ::std::os::raw::c_char,
        cap: usize,
        len: *mut usize,
        plan: *const tlp_plan,
        form: ::std::os::raw::c_int,
    ) -> tlp_status;
}
extern "C" {
    /// Release a plan.  Sessions that use the plan stay valid.
    ///
    /// @param plan  NULL is allowed
    /// @since 0.1
    pub fn tlp_plan_free(plan: *mut tlp_plan);
}
/// Work and messages of a plan.
#[repr(C)]
pub struct tlp_plan_cost {
    /// set by the caller
    pub struct_size: usize,
    /// ranks
    pub n_rank: i32,
    /// stages
    pub effective_depth: i32,
    /// layers that run
    pub n_layer: i32,
    /// all-reduces over all ranks, per token
    pub allreduces: i32,
    /// all-reduces over some ranks, per token
    pub inner_allreduces: i32,
    /// one-way messages, per token
    pub sends: i32,
    /// payload of a rank in all of these, bytes per
    /// token, activations in f32
    pub comm_bytes: u64,
    /// bytes of weights per token that the rank
    /// with the largest share reads
    pub max_rank_bytes: u64,
    /// bytes of weights per token that all ranks
    /// read
    pub sum_rank_bytes: u64,
    /// all-reduces and messages that one token
    /// waits for, one after another
    pub exchanges: i32,
}
#[test]
fn bindgen_test_layout_tlp_plan_cost() {
    assert_eq!(
        ::std::mem::size_of::<tlp_plan_cost>(),
        64usize,
        concat!("Size of: ", stringify!(tlp_plan_cost))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_plan_cost>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_plan_cost))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_rank) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(n_rank)
            )
        );
    }
    test_field_n_rank();
    fn test_field_effective_depth() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).effective_depth) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(effective_depth)
            )
        );
    }
    test_field_effective_depth();
    fn test_field_n_layer() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_layer) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(n_layer)
            )
        );
    }
    test_field_n_layer();
    fn test_field_allreduces() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).allreduces) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(allreduces)
            )
        );
    }
    test_field_allreduces();
    fn test_field_inner_allreduces() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).inner_allreduces) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(inner_allreduces)
            )
        );
    }
    test_field_inner_allreduces();
    fn test_field_sends() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).sends) as usize - ptr as usize
            },
            28usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(sends)
            )
        );
    }
    test_field_sends();
    fn test_field_comm_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).comm_bytes) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(comm_bytes)
            )
        );
    }
    test_field_comm_bytes();
    fn test_field_max_rank_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).max_rank_bytes) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(max_rank_bytes)
            )
        );
    }
    test_field_max_rank_bytes();
    fn test_field_sum_rank_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).sum_rank_bytes) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(sum_rank_bytes)
            )
        );
    }
    test_field_sum_rank_bytes();
    fn test_field_exchanges() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_cost>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).exchanges) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_cost),
                "::",
                stringify!(exchanges)
            )
        );
    }
    test_field_exchanges();
}
impl Default for tlp_plan_cost {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Count the work and the messages of one token.
    ///
    /// tlp_plan_predict (tlp_tune.h) turns such counts into seconds.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param plan      plan
    /// @param n_rank    1 to 1024
    /// @return TLP_OK; TLP_EINVAL for n_rank out of range
    /// @since 0.1
    pub fn tlp_plan_get_cost(
        out: *mut tlp_plan_cost,
        plan: *const tlp_plan,
        n_rank: ::std::os::raw::c_int,
    ) -> tlp_status;
}
/// Facts about a stage.
#[repr(C)]
pub struct tlp_stage_info {
    /// set by the caller
    pub struct_size: usize,
    /// enum tlp_mode
    pub mode: i32,
    /// layers in the stage
    pub n_member: i32,
    /// n_member layer numbers, borrowed from the
    /// plan
    pub layers: *const i32,
    /// exchanges that are left out, enum tlp_nosync
    pub nosync: i32,
    /// tracks into which the layer is cut; 0 = none
    pub n_track: i32,
}
#[test]
fn bindgen_test_layout_tlp_stage_info() {
    assert_eq!(
        ::std::mem::size_of::<tlp_stage_info>(),
        32usize,
        concat!("Size of: ", stringify!(tlp_stage_info))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_stage_info>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_stage_info))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_stage_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_stage_info),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_mode() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_stage_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).mode) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_stage_info),
                "::",
                stringify!(mode)
            )
        );
    }
    test_field_mode();
    fn test_field_n_member() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_stage_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_member) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_stage_info),
                "::",
                stringify!(n_member)
            )
        );
    }
    test_field_n_member();
    fn test_field_layers() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_stage_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).layers) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_stage_info),
                "::",
                stringify!(layers)
            )
        );
    }
    test_field_layers();
    fn test_field_nosync() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_stage_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).nosync) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_stage_info),
                "::",
                stringify!(nosync)
            )
        );
    }
    test_field_nosync();
    fn test_field_n_track() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_stage_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_track) as usize - ptr as usize
            },
            28usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_stage_info),
                "::",
                stringify!(n_track)
            )
        );
    }
    test_field_n_track();
}
impl Default for tlp_stage_info {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Get facts about one stage.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param plan      plan
    /// @param index     0 to effective_depth - 1, in the order in which stages run
    /// @return TLP_OK; TLP_EINVAL past the last stage
    /// @since 0.1
    pub fn tlp_plan_get_stage(
        out: *mut tlp_stage_info,
        plan: *const tlp_plan,
        index: usize,
    ) -> tlp_status;
}
/// cores of the host
pub const TLP_BACKEND_CPU: tlp_backend = 0;
/// NVIDIA GPUs, through the plug-in libtlp_cuda.so
pub const TLP_BACKEND_CUDA: tlp_backend = 1;
/// What a rank computes on.
pub type tlp_backend = ::std::os::raw::c_uint;
/// Facts about a device.
#[repr(C)]
pub struct tlp_device_info {
    /// set by the caller
    pub struct_size: usize,
    /// "NVIDIA H100 80GB HBM3"
    pub name: [::std::os::raw::c_char; 128usize],
    /// compute capability before the dot
    pub major: i32,
    /// compute capability after the dot
    pub minor: i32,
    /// multiprocessors
    pub n_sm: i32,
    /// bytes
    pub memory_total: u64,
    /// bytes at the time of the call
    pub memory_free: u64,
    /// bit i: this device reads and writes the
    /// memory of device i
    pub peers: u64,
}
#[test]
fn bindgen_test_layout_tlp_device_info() {
    assert_eq!(
        ::std::mem::size_of::<tlp_device_info>(),
        176usize,
        concat!("Size of: ", stringify!(tlp_device_info))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_device_info>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_device_info))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_device_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_device_info),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_name() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_device_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).name) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_device_info),
                "::",
                stringify!(name)
            )
        );
    }
    test_field_name();
    fn test_field_major() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_device_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).major) as usize - ptr as usize
            },
            136usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_device_info),
                "::",
                stringify!(major)
            )
        );
    }
    test_field_major();
    fn test_field_minor() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_device_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).minor) as usize - ptr as usize
            },
            140usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_device_info),
                "::",
                stringify!(minor)
            )
        );
    }
    test_field_minor();
    fn test_field_n_sm() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_device_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_sm) as usize - ptr as usize
            },
            144usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_device_info),
                "::",
                stringify!(n_sm)
            )
        );
    }
    test_field_n_sm();
    fn test_field_memory_total() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_device_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).memory_total) as usize - ptr as usize
            },
            152usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_device_info),
                "::",
                stringify!(memory_total)
            )
        );
    }
    test_field_memory_total();
    fn test_field_memory_free() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_device_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).memory_free) as usize - ptr as usize
            },
            160usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_device_info),
                "::",
                stringify!(memory_free)
            )
        );
    }
    test_field_memory_free();
    fn test_field_peers() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_device_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).peers) as usize - ptr as usize
            },
            168usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_device_info),
                "::",
                stringify!(peers)
            )
        );
    }
    test_field_peers();
}
impl Default for tlp_device_info {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Count the devices of a backend that this process can use.
    ///
    /// Devices count from 0, in the order of the driver.  CUDA_VISIBLE_DEVICES
    /// chooses and reorders them.
    ///
    /// @param[out] n   1 to 64
    /// @param backend  enum tlp_backend, not TLP_BACKEND_CPU
    /// @return TLP_OK; TLP_ENOTSUP if there is no device: the text says whether the
    ///         plug-in, a library, the driver or the GPU is missing or too old
    /// @since 0.1
    pub fn tlp_device_count(n: *mut i32, backend: i32) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Get facts about one device.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param backend   enum tlp_backend, not TLP_BACKEND_CPU
    /// @param device    0 to the count of tlp_device_count, less 1
    /// @return TLP_OK; TLP_EINVAL past the last device; the statuses of
    ///         tlp_device_count
    /// @since 0.1
    pub fn tlp_device_get_info(out: *mut tlp_device_info, backend: i32, device: i32) -> tlp_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_session {
    _unused: [u8; 0],
}
/// all ranks in this process
pub const TLP_COMM_THREADS: tlp_comm = 0;
/// one rank per MPI process, through the plug-in
/// libtlp_mpi.so
pub const TLP_COMM_MPI: tlp_comm = 1;
/// Where ranks run, and how they exchange activations.
pub type tlp_comm = ::std::os::raw::c_uint;
/// exact
pub const TLP_WIRE_F32: tlp_wire = 0;
/// rounded to bf16
pub const TLP_WIRE_BF16: tlp_wire = 1;
/// 8 bits, in blocks of 32 with a scale
pub const TLP_WIRE_Q8: tlp_wire = 2;
/// Format of activations between processes.
pub type tlp_wire = ::std::os::raw::c_uint;
/// 8-bit activations with quantized weights; bf16
/// with BF16 weights if the CPU has bf16
pub const TLP_COMPUTE_DEFAULT: tlp_compute = 0;
/// f32 activations with all weights
pub const TLP_COMPUTE_F32: tlp_compute = 1;
/// Precision of products.
pub type tlp_compute = ::std::os::raw::c_uint;
/// F16; F32 with TLP_COMPUTE_F32
pub const TLP_KV_DEFAULT: tlp_kv_type = 0;
/// 32 bits
pub const TLP_KV_F32: tlp_kv_type = 1;
/// 16 bits, IEEE half
pub const TLP_KV_F16: tlp_kv_type = 2;
/// 16 bits, bfloat
pub const TLP_KV_BF16: tlp_kv_type = 3;
/// 8 bits, in blocks of 32 with a scale; CPU only
pub const TLP_KV_Q8_0: tlp_kv_type = 4;
/// Type of the KV cache.
pub type tlp_kv_type = ::std::os::raw::c_uint;
/// as used on CPUs, ahead on GPUs
pub const TLP_KV_ALLOC_DEFAULT: tlp_kv_alloc = 0;
/// when a sequence needs them; CPUs only
pub const TLP_KV_AS_USED: tlp_kv_alloc = 1;
/// all with the session
pub const TLP_KV_AHEAD: tlp_kv_alloc = 2;
/// When the pages of the KV cache get their memory.
pub type tlp_kv_alloc = ::std::os::raw::c_uint;
/// the widest that the machine has
pub const TLP_ISA_AUTO: tlp_isa = 0;
/// plain C
pub const TLP_ISA_SCALAR: tlp_isa = 1;
/// AVX2 with FMA and F16C
pub const TLP_ISA_AVX2: tlp_isa = 2;
/// AVX-512
pub const TLP_ISA_AVX512: tlp_isa = 3;
/// AVX-512 with AMX tiles; see docs/threads.md
pub const TLP_ISA_AMX: tlp_isa = 4;
/// Instruction set of the kernels for CPUs.
pub type tlp_isa = ::std::os::raw::c_uint;
extern "C" {
    /// Number of threads that a session of one rank has by default.
    ///
    /// The CPUs in the affinity mask of the calling thread, or fewer where the
    /// control groups of the thread (cgroups v1 and v2, and all groups above them)
    /// have a quota of CPU time: quota / period, rounded up.  At least 1 and at most
    /// 256.
    ///
    /// @return number of threads
    /// @par Threads
    /// Any thread; the result is that thread's.
    /// @since 0.1
    pub fn tlp_default_threads() -> i32;
}
/// A piece of the library's work: call it with the arg of tlp_pool::run and an
/// index.
pub type tlp_work_fn =
    ::std::option::Option<unsafe extern "C" fn(arg: *mut ::std::os::raw::c_void, i: i32)>;
/// Threads that a host program lends to sessions.
///
/// run calls fn(arg, i) once for every i from 0 to n - 1, on any threads, in any
/// order, together or one after the other, and returns when all these calls have
/// returned.  n is at most the number of threads of the session.  fn does not
/// wait for other calls of fn, so a run that makes all calls on the calling
/// thread is right too.  A call that run leaves out costs time, and no result
/// changes.
///
/// @par Threads
/// The library calls run on the thread that called the library and, if a session
/// has several ranks, on the threads of the other ranks too, at the same time.
/// fn must not be called after run has returned.  run must not call the session.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_pool {
    /// sizeof(tlp_pool)
    pub struct_size: usize,
    pub run: ::std::option::Option<
        unsafe extern "C" fn(
            n: i32,
            fn_: tlp_work_fn,
            arg: *mut ::std::os::raw::c_void,
            user: *mut ::std::os::raw::c_void,
        ),
    >,
    /// last argument of run
    pub user: *mut ::std::os::raw::c_void,
}
#[test]
fn bindgen_test_layout_tlp_pool() {
    assert_eq!(
        ::std::mem::size_of::<tlp_pool>(),
        24usize,
        concat!("Size of: ", stringify!(tlp_pool))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_pool>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_pool))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_pool>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_pool),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_run() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_pool>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).run) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_pool),
                "::",
                stringify!(run)
            )
        );
    }
    test_field_run();
    fn test_field_user() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_pool>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).user) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_pool),
                "::",
                stringify!(user)
            )
        );
    }
    test_field_user();
}
impl Default for tlp_pool {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_adapter {
    _unused: [u8; 0],
}
extern "C" {
    #[must_use]
    /// Open a LoRA adapter, a GGUF file in the form that llama.cpp reads.
    ///
    /// The tensors are lora_a and lora_b of attn_q, attn_k, attn_v, attn_output,
    /// ffn_gate, ffn_up and ffn_down, of any type that models can have; rows of
    /// attn_q and attn_k are in the order of the model's file.  A session with
    /// `adapter` adds the products to its matrices in all layers that run, also to
    /// the LoRA of its plan.  Any number of threads and sessions may use it.
    ///
    /// @param[out] out  the adapter; the caller frees it with tlp_adapter_free
    /// @param model     model; the adapter keeps it alive
    /// @param path      UTF-8
    /// @return TLP_OK; TLP_EIO; TLP_EFORMAT for a file that is malformed or does not
    ///         fit the model; TLP_ENOTSUP for keys and tensors that the library
    ///         cannot use, LoRA of token_embd and output among them; TLP_EINVAL for
    ///         a model that was opened with vocab_only
    /// @since 0.1
    pub fn tlp_adapter_open(
        out: *mut *mut tlp_adapter,
        model: *mut tlp_model,
        path: *const ::std::os::raw::c_char,
    ) -> tlp_status;
}
extern "C" {
    /// Release an adapter.  Sessions that use it stay valid.
    ///
    /// @param adapter  NULL is allowed
    /// @since 0.1
    pub fn tlp_adapter_free(adapter: *mut tlp_adapter);
}
/// Options of a session.
///
/// The largest values are n_ctx 2^20, n_seq 4096, n_batch 16384, n_rank 64 and
/// n_thread 256.  A larger value gives TLP_EINVAL.
#[repr(C)]
pub struct tlp_session_options {
    /// sizeof(tlp_session_options)
    pub struct_size: usize,
    /// positions per sequence; 0 = n_ctx_train, but at
    /// most 4096.  Longrope turns by it.
    pub n_ctx: i32,
    /// sequences; 0 = 1
    pub n_seq: i32,
    /// most tokens in one step; 0 = 512
    pub n_batch: i32,
    /// ranks; 0 = n_device with devices, all processes
    /// with TLP_COMM_MPI, else 1
    pub n_rank: i32,
    /// threads per rank; 0 = tlp_default_threads / ranks of
    /// this host, at least 1, and 1 on a GPU
    pub n_thread: i32,
    /// enum tlp_backend
    pub backend: i32,
    /// enum tlp_comm
    pub comm: i32,
    /// enum tlp_compute
    pub compute: i32,
    /// enum tlp_kv_type
    pub kv_type: i32,
    /// enum tlp_isa; TLP_ENOTSUP if the machine lacks
    /// it
    pub isa: i32,
    /// 1 = bind the threads of the library to cores; the
    /// thread of the caller is never bound
    pub pin: i32,
    /// longest wait for another rank, milliseconds;
    /// 0 = 5000
    pub timeout_ms: i32,
    /// progress of loading; or NULL
    pub progress: tlp_progress_fn,
    /// last argument of progress
    pub progress_data: *mut ::std::os::raw::c_void,
    /// enum tlp_wire; only TLP_WIRE_F32 without
    /// TLP_COMM_MPI
    pub wire: i32,
    /// with TLP_COMM_MPI: pointer to the MPI_Comm
    /// that the library duplicates (tlp_mpi.h);
    /// NULL = MPI_COMM_WORLD
    pub comm_handle: *const ::std::os::raw::c_void,
    /// n_device device numbers.  Rank r of this host
    /// computes on devices[r % n_device]; with
    /// TLP_COMM_THREADS, rank r of this process.  A
    /// number may appear twice
    pub devices: *const i32,
    /// 0 = all devices in order; at most 64
    pub n_device: usize,
    /// with TLP_COMM_THREADS on CPUs: time from the
    /// sending of a message between ranks to its arrival,
    /// microseconds, as over a network; at most 1000000
    pub link_delay_us: i32,
    /// rows of logits that the session always has room
    /// for; 0 = n_seq; at most 2^20
    pub n_row: usize,
    /// threads of the host program that compute in place
    /// of threads of the library; NULL = none.  The
    /// library copies the struct.  CPUs only, and not
    /// with pin
    pub pool: *const tlp_pool,
    /// threads per rank in steps with several tokens
    /// of a sequence; 0 = n_thread; at most 256
    pub n_thread_prefill: i32,
    /// how long a thread spins before it sleeps while it
    /// waits for another thread, microseconds: 0 = up to
    /// 100, less while other programs or threads need the
    /// cores; -1 = not at all; else always this long, at
    /// most 1000000
    pub spin_us: i32,
    /// LoRA that is added to the matrices, opened
    /// for the model of the plan; NULL = none.  The
    /// session keeps it alive; not for plans in mode
    /// lp-code or merge, and not where plans are made,
    /// fitted or trained
    pub adapter: *const tlp_adapter,
    /// what its products are multiplied with; 0 = 1
    pub adapter_scale: f64,
    /// most memory of the caches of all ranks, bytes;
    /// 0 = what n_seq sequences of n_ctx positions need
    pub kv_bytes: u64,
    /// enum tlp_kv_alloc
    pub kv_alloc: i32,
}
#[test]
fn bindgen_test_layout_tlp_session_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_session_options>(),
        168usize,
        concat!("Size of: ", stringify!(tlp_session_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_session_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_session_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_ctx() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_ctx) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(n_ctx)
            )
        );
    }
    test_field_n_ctx();
    fn test_field_n_seq() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_seq) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(n_seq)
            )
        );
    }
    test_field_n_seq();
    fn test_field_n_batch() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_batch) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(n_batch)
            )
        );
    }
    test_field_n_batch();
    fn test_field_n_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_rank) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(n_rank)
            )
        );
    }
    test_field_n_rank();
    fn test_field_n_thread() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_thread) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(n_thread)
            )
        );
    }
    test_field_n_thread();
    fn test_field_backend() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).backend) as usize - ptr as usize
            },
            28usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(backend)
            )
        );
    }
    test_field_backend();
    fn test_field_comm() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).comm) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(comm)
            )
        );
    }
    test_field_comm();
    fn test_field_compute() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).compute) as usize - ptr as usize
            },
            36usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(compute)
            )
        );
    }
    test_field_compute();
    fn test_field_kv_type() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kv_type) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(kv_type)
            )
        );
    }
    test_field_kv_type();
    fn test_field_isa() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).isa) as usize - ptr as usize
            },
            44usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(isa)
            )
        );
    }
    test_field_isa();
    fn test_field_pin() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).pin) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(pin)
            )
        );
    }
    test_field_pin();
    fn test_field_timeout_ms() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).timeout_ms) as usize - ptr as usize
            },
            52usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(timeout_ms)
            )
        );
    }
    test_field_timeout_ms();
    fn test_field_progress() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(progress)
            )
        );
    }
    test_field_progress();
    fn test_field_progress_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress_data) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(progress_data)
            )
        );
    }
    test_field_progress_data();
    fn test_field_wire() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).wire) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(wire)
            )
        );
    }
    test_field_wire();
    fn test_field_comm_handle() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).comm_handle) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(comm_handle)
            )
        );
    }
    test_field_comm_handle();
    fn test_field_devices() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).devices) as usize - ptr as usize
            },
            88usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(devices)
            )
        );
    }
    test_field_devices();
    fn test_field_n_device() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_device) as usize - ptr as usize
            },
            96usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(n_device)
            )
        );
    }
    test_field_n_device();
    fn test_field_link_delay_us() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).link_delay_us) as usize - ptr as usize
            },
            104usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(link_delay_us)
            )
        );
    }
    test_field_link_delay_us();
    fn test_field_n_row() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_row) as usize - ptr as usize
            },
            112usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(n_row)
            )
        );
    }
    test_field_n_row();
    fn test_field_pool() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).pool) as usize - ptr as usize
            },
            120usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(pool)
            )
        );
    }
    test_field_pool();
    fn test_field_n_thread_prefill() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_thread_prefill) as usize - ptr as usize
            },
            128usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(n_thread_prefill)
            )
        );
    }
    test_field_n_thread_prefill();
    fn test_field_spin_us() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).spin_us) as usize - ptr as usize
            },
            132usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(spin_us)
            )
        );
    }
    test_field_spin_us();
    fn test_field_adapter() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).adapter) as usize - ptr as usize
            },
            136usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(adapter)
            )
        );
    }
    test_field_adapter();
    fn test_field_adapter_scale() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).adapter_scale) as usize - ptr as usize
            },
            144usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(adapter_scale)
            )
        );
    }
    test_field_adapter_scale();
    fn test_field_kv_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kv_bytes) as usize - ptr as usize
            },
            152usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(kv_bytes)
            )
        );
    }
    test_field_kv_bytes();
    fn test_field_kv_alloc() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kv_alloc) as usize - ptr as usize
            },
            160usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_options),
                "::",
                stringify!(kv_alloc)
            )
        );
    }
    test_field_kv_alloc();
}
impl Default for tlp_session_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Create a session.
    ///
    /// The library distributes the weights among the ranks and allocates the memory
    /// that later calls need, with room for n_row rows of logits.  Three kinds of
    /// calls allocate more.  An evaluation that keeps more rows makes room for them;
    /// the next evaluation that keeps fewer rows gives the room back, unless it is
    /// for 32 rows or less.  An evaluation that needs pages of the cache makes them,
    /// unless the option kv_alloc says that they are made with the session.
    /// tlp_session_generate makes a stream, and a sampler if it gets none.
    /// tlp_session_need tells the size of a session beforehand.
    ///
    /// After a fork, only the parent may use a session of the parent: in the child
    /// every call on it returns TLP_ESTATE at once.  Models and plans work in the
    /// child too, and the child may create sessions of its own.
    ///
    /// @param[out] out  the session; the caller frees it with tlp_session_free
    /// @param plan      plan; the session keeps it alive
    /// @param opts      NULL = defaults
    /// @return TLP_OK; TLP_ENOMEM, with a text that says what does not fit on which
    ///         GPU; TLP_EINVAL for an option out of range; TLP_ENOTSUP for a
    ///         backend, comm or instruction set that is missing here; TLP_ECANCELED
    ///         by progress; with TLP_COMM_MPI also TLP_ESTATE if this is not rank 0,
    ///         TLP_EMISMATCH, TLP_ECOMM and TLP_ETIMEDOUT
    /// @since 0.1
    pub fn tlp_session_create(
        out: *mut *mut tlp_session,
        plan: *mut tlp_plan,
        opts: *const tlp_session_options,
    ) -> tlp_status;
}
/// Memory that a session will need.
#[repr(C)]
pub struct tlp_need {
    /// set by the caller
    pub struct_size: usize,
    /// weights in the layout of the session, bytes.
    /// Sessions of one model share weights that they
    /// cut alike
    pub weight_bytes: u64,
    /// caches when all pages are used, bytes
    pub kv_bytes: u64,
    /// activations and logits, bytes
    pub buffer_bytes: u64,
    /// ranks of the session
    pub n_rank: i32,
}
#[test]
fn bindgen_test_layout_tlp_need() {
    assert_eq!(
        ::std::mem::size_of::<tlp_need>(),
        40usize,
        concat!("Size of: ", stringify!(tlp_need))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_need>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_need))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_need>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_need),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_weight_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_need>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).weight_bytes) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_need),
                "::",
                stringify!(weight_bytes)
            )
        );
    }
    test_field_weight_bytes();
    fn test_field_kv_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_need>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kv_bytes) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_need),
                "::",
                stringify!(kv_bytes)
            )
        );
    }
    test_field_kv_bytes();
    fn test_field_buffer_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_need>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).buffer_bytes) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_need),
                "::",
                stringify!(buffer_bytes)
            )
        );
    }
    test_field_buffer_bytes();
    fn test_field_n_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_need>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_rank) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_need),
                "::",
                stringify!(n_rank)
            )
        );
    }
    test_field_n_rank();
}
impl Default for tlp_need {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Compute the memory that a session would need, without creating it.
    ///
    /// The sizes are those that tlp_session_get_stats has for a new session with
    /// equal options; kv_bytes is kv_most_bytes there.  On top come tables of
    /// sequences and of threads, 4 bytes for each position of each sequence and a few
    /// hundred kilobytes for each thread, and what rounding takes: a rank on CPUs
    /// keeps packed weights in blocks of 8 MB, of which the last one is seldom full.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param plan      plan
    /// @param opts      NULL = defaults; with TLP_COMM_MPI, n_rank must be set,
    ///                  because the call does not connect the processes
    /// @param rank      0 to n_rank - 1, or -1 for the sum over all ranks
    /// @return TLP_OK; TLP_EINVAL for an option out of range; TLP_ENOTSUP for a
    ///         backend that is missing here
    /// @since 0.1
    pub fn tlp_session_need(
        out: *mut tlp_need,
        plan: *mut tlp_plan,
        opts: *const tlp_session_options,
        rank: i32,
    ) -> tlp_status;
}
extern "C" {
    /// Release a session.
    ///
    /// A call that is running on the session is stopped, as by tlp_session_abort, and
    /// the session is released when that call ends.  In a forked child the function
    /// does nothing.
    ///
    /// @param session  NULL is allowed
    /// @since 0.1
    pub fn tlp_session_free(session: *mut tlp_session);
}
extern "C" {
    #[must_use]
    /// Extend sequence 0 by tokens, and keep the logits of the last token as row 0.
    ///
    /// @param session  session
    /// @param tokens   n ids, each from 0 to n_vocab - 1
    /// @param n        number of tokens, at least 1
    /// @return TLP_OK; TLP_EFULL if the tokens do not fit;
    ///         TLP_EINVAL for an id out of range; TLP_ECANCELED by
    ///         tlp_session_abort; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_prefill(
        session: *mut tlp_session,
        tokens: *const i32,
        n: usize,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Extend sequence 0 by one token, and keep its logits as row 0.
    ///
    /// @param session  session
    /// @param token    0 to n_vocab - 1
    /// @return the statuses of tlp_session_prefill
    /// @since 0.1
    pub fn tlp_session_decode(session: *mut tlp_session, token: i32) -> tlp_status;
}
/// Tokens of any sequences.  Tokens extend their sequences in array order.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_batch {
    /// sizeof(tlp_batch)
    pub struct_size: usize,
    /// tokens, at least 1
    pub n: usize,
    /// n ids, each from 0 to n_vocab - 1
    pub tokens: *const i32,
    /// n sequence numbers; NULL = all 0
    pub seqs: *const i32,
    /// n flags: 1 = keep the logits of the token,
    /// 0 = do not.  Rows count from 0 in array
    /// order.  NULL = keep the last token of each
    /// sequence
    pub want_logits: *const u8,
}
#[test]
fn bindgen_test_layout_tlp_batch() {
    assert_eq!(
        ::std::mem::size_of::<tlp_batch>(),
        40usize,
        concat!("Size of: ", stringify!(tlp_batch))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_batch>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_batch))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_batch>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_batch),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_batch>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_batch),
                "::",
                stringify!(n)
            )
        );
    }
    test_field_n();
    fn test_field_tokens() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_batch>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).tokens) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_batch),
                "::",
                stringify!(tokens)
            )
        );
    }
    test_field_tokens();
    fn test_field_seqs() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_batch>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seqs) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_batch),
                "::",
                stringify!(seqs)
            )
        );
    }
    test_field_seqs();
    fn test_field_want_logits() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_batch>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).want_logits) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_batch),
                "::",
                stringify!(want_logits)
            )
        );
    }
    test_field_want_logits();
}
impl Default for tlp_batch {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Evaluate a batch.
    ///
    /// A batch may have any size; the library cuts it into steps of n_batch tokens.
    ///
    /// @param session  session
    /// @param batch    tokens and sequences
    /// @return the statuses of tlp_session_prefill
    /// @since 0.1
    pub fn tlp_session_eval(session: *mut tlp_session, batch: *const tlp_batch) -> tlp_status;
}
extern "C" {
    /// Count the rows of logits that the last evaluation kept.
    ///
    /// @param session  session
    /// @return rows; 0 before the first evaluation
    /// @since 0.1
    pub fn tlp_session_n_logits(session: *const tlp_session) -> usize;
}
extern "C" {
    #[must_use]
    /// Get one row of logits.
    ///
    /// The first call after an evaluation collects the parts of all ranks.  A row
    /// can be read until the next evaluation, also if its sequence was rewound
    /// meanwhile.
    ///
    /// @param[out] logits  n_vocab values, borrowed until the next call that
    ///                     evaluates
    /// @param session      session
    /// @param row          0 to tlp_session_n_logits - 1
    /// @return TLP_OK; TLP_ESTATE before the first evaluation; TLP_EINVAL past the
    ///         last row; TLP_ERROR for a row that has NaN or +inf, or only -inf: the
    ///         text names row, sequence, position and token; TLP_ECOMM or
    ///         TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_logits(
        logits: *mut *const f32,
        session: *mut tlp_session,
        row: usize,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Tell which token a row of logits follows.
    ///
    /// @param[out] seq  sequence of the token
    /// @param[out] pos  position of the token in its sequence
    /// @param session   session
    /// @param row       0 to tlp_session_n_logits - 1
    /// @return TLP_OK; TLP_ESTATE without rows; TLP_EINVAL past the last row
    /// @since 0.1
    pub fn tlp_session_get_place(
        seq: *mut i32,
        pos: *mut i32,
        session: *const tlp_session,
        row: usize,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Find the row of logits that follows the last token of a sequence.
    ///
    /// Rows belong to the last evaluation; an evaluation that fails after it has
    /// begun keeps none.  A sequence that is rewound to a token whose logits were
    /// kept has the row of that token.  After tlp_session_fork the copy has the rows
    /// of its source.
    ///
    /// @param[out] row  row for tlp_session_sample; SIZE_MAX on failure
    /// @param session   session
    /// @param seq       0 to n_seq - 1
    /// @return TLP_OK; TLP_ESTATE if no such row is kept: the sequence is empty, the
    ///         last evaluation did not keep that row or was one of other sequences,
    ///         or the sequence was rewound to a token whose logits were not kept
    /// @since 0.1
    pub fn tlp_session_find_row(
        row: *mut usize,
        session: *const tlp_session,
        seq: i32,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Compute the log-probabilities of a text.
    ///
    /// The call extends a sequence by n tokens.  logprob[i] is the natural logarithm
    /// of the probability of tokens[i] after all tokens before it.  The first token
    /// of an empty sequence has no probability and gets 0.  For a sequence that is
    /// not empty, the call evaluates its last token once more.  Ranks exchange no
    /// full rows of logits, and the call keeps no rows.  A row that has NaN or +inf,
    /// or only -inf, gives TLP_ERROR.
    ///
    /// @param[out] logprob  n values, nats
    /// @param session       session
    /// @param seq           0 to n_seq - 1
    /// @param tokens        n ids, each from 0 to n_vocab - 1
    /// @param n             number of tokens, at least 1
    /// @return the statuses of tlp_session_prefill
    /// @since 0.1
    pub fn tlp_session_score(
        logprob: *mut f32,
        session: *mut tlp_session,
        seq: i32,
        tokens: *const i32,
        n: usize,
    ) -> tlp_status;
}
/// as the model's file says (the key
/// pooling_type, for mean or last), else last
pub const TLP_POOLING_DEFAULT: tlp_pooling = 0;
/// the state of the last token
pub const TLP_POOLING_LAST: tlp_pooling = 1;
/// the mean of the states of all tokens
pub const TLP_POOLING_MEAN: tlp_pooling = 2;
/// How the states of a text's tokens become one vector.
pub type tlp_pooling = ::std::os::raw::c_uint;
/// Options of an embedding.
#[repr(C)]
pub struct tlp_embed_options {
    /// sizeof(tlp_embed_options)
    pub struct_size: usize,
    /// enum tlp_pooling
    pub pooling: i32,
    /// 1 = keep the length of the vector; else the sum
    /// of its squares is 1
    pub no_normalize: i32,
}
#[test]
fn bindgen_test_layout_tlp_embed_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_embed_options>(),
        16usize,
        concat!("Size of: ", stringify!(tlp_embed_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_embed_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_embed_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_embed_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_embed_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_pooling() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_embed_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).pooling) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_embed_options),
                "::",
                stringify!(pooling)
            )
        );
    }
    test_field_pooling();
    fn test_field_no_normalize() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_embed_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).no_normalize) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_embed_options),
                "::",
                stringify!(no_normalize)
            )
        );
    }
    test_field_no_normalize();
}
impl Default for tlp_embed_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Compute the embedding of a text.
    ///
    /// The call extends a sequence by n tokens, and pools their states: the state of
    /// a token is the residual stream behind the output norm, from which the output
    /// head makes logits.  It computes no logits, and keeps no rows.  The vector of a
    /// whole text is that of a sequence that was empty before (tlp_session_clear);
    /// where the sequence holds tokens already, they are context, and only the states
    /// of the n tokens are pooled.  The vector does not depend on n_batch.  A vector
    /// of zeros is not normalised and stays.
    ///
    /// @param[out] out      n_embd values
    /// @param session       session
    /// @param seq           0 to n_seq - 1
    /// @param tokens        n ids, each from 0 to n_vocab - 1
    /// @param n             number of tokens, at least 1
    /// @param opts          NULL = defaults
    /// @return the statuses of tlp_session_prefill; TLP_ERROR for a state that has
    ///         NaN or inf: the text names its position, and the sequence holds the
    ///         tokens
    /// @since 0.1
    pub fn tlp_session_embed(
        out: *mut f32,
        session: *mut tlp_session,
        seq: i32,
        tokens: *const i32,
        n: usize,
        opts: *const tlp_embed_options,
    ) -> tlp_status;
}
/// A token and its probability.
#[repr(C)]
pub struct tlp_logprob {
    /// 0 to n_vocab - 1; -1 past the last possible token
    pub token: i32,
    /// natural logarithm of its probability
    pub logprob: f32,
}
#[test]
fn bindgen_test_layout_tlp_logprob() {
    assert_eq!(
        ::std::mem::size_of::<tlp_logprob>(),
        8usize,
        concat!("Size of: ", stringify!(tlp_logprob))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_logprob>(),
        4usize,
        concat!("Alignment of ", stringify!(tlp_logprob))
    );
    fn test_field_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_logprob>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).token) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_logprob),
                "::",
                stringify!(token)
            )
        );
    }
    test_field_token();
    fn test_field_logprob() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_logprob>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).logprob) as usize - ptr as usize
            },
            4usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_logprob),
                "::",
                stringify!(logprob)
            )
        );
    }
    test_field_logprob();
}
impl Default for tlp_logprob {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Get the most probable tokens of a row, and the probability of one token.
    ///
    /// The probabilities are the model's: before any option of a sampler.  Ranks
    /// exchange candidates and sums, not rows of logits.  A token of a text is the
    /// model's first choice if it is top[0].token.
    ///
    /// @param[out] top      n_top tokens, the most probable first; of equal ones the
    ///                      lower token first; NULL with n_top 0
    /// @param n_top         0 to 256
    /// @param[out] logprob  logarithm of the probability of `token`; NULL = not
    ///                      wanted
    /// @param session       session
    /// @param row           0 to tlp_session_n_logits - 1
    /// @param token         0 to n_vocab - 1; ignored if logprob is NULL
    /// @return the statuses of tlp_session_logits
    /// @since 0.1
    pub fn tlp_session_logprobs(
        top: *mut tlp_logprob,
        n_top: usize,
        logprob: *mut f32,
        session: *mut tlp_session,
        row: usize,
        token: i32,
    ) -> tlp_status;
}
extern "C" {
    /// Count the positions that a sequence holds.
    ///
    /// @param session  session
    /// @param seq      sequence
    /// @return positions; -1 if the session has no such sequence
    /// @since 0.1
    pub fn tlp_session_pos(session: *const tlp_session, seq: i32) -> i32;
}
extern "C" {
    #[must_use]
    /// Get the tokens that a sequence holds.
    ///
    /// @param[out] ids    room for cap tokens; may be NULL if cap is 0
    /// @param cap         ids that fit
    /// @param[out] count  tokens of the sequence, tlp_session_pos of them
    /// @param session     session
    /// @param seq         0 to n_seq - 1
    /// @return TLP_OK; TLP_EBUFS if cap is too small
    /// @since 0.1
    pub fn tlp_session_get_tokens(
        ids: *mut i32,
        cap: usize,
        count: *mut usize,
        session: *const tlp_session,
        seq: i32,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Forget all positions of a sequence from `pos` on, and free their pages.
    ///
    /// In a model with sliding windows a sequence that goes back by more than n_batch
    /// positions may lack the window of its next token.  The next call that extends
    /// the sequence then first evaluates its tokens again, from the first token on,
    /// and goes on with equal results.
    ///
    /// @param session  session
    /// @param seq      0 to n_seq - 1
    /// @param pos      positions to keep, 0 to tlp_session_pos
    /// @return TLP_OK; TLP_EINVAL for a position that the sequence does not hold;
    ///         TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_rewind(session: *mut tlp_session, seq: i32, pos: i32) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Copy one sequence to another.  The former content of `dst` is lost.
    ///
    /// The copy shares the pages of the cache: the call copies token ids alone.  The
    /// sequence that first writes to a shared last page copies that page then.
    ///
    /// @param session  session
    /// @param dst      sequence that becomes the copy, 0 to n_seq - 1
    /// @param src      sequence to copy, 0 to n_seq - 1
    /// @return TLP_OK; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_fork(session: *mut tlp_session, dst: i32, src: i32) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Save a sequence as bytes: its tokens, and the keys and values of its positions
    /// on all ranks.
    ///
    /// The bytes have a checksum, and name the model, the plan and the types that a
    /// session must have.  tlp_session_load puts them into any such session, in any
    /// process, which continues with equal results.
    /// A caller asks for the length with cap 0 first.
    ///
    /// A sequence that went back behind its windows (tlp_session_rewind) is evaluated
    /// again first.
    ///
    /// @param[out] buf  room for cap bytes; NULL with cap 0
    /// @param cap       bytes in buf
    /// @param[out] len  length of the saved sequence in bytes, also with TLP_EBUFS
    /// @param session   session on CPUs
    /// @param seq       sequence to save, 0 to n_seq - 1; it may be empty
    /// @return TLP_OK; TLP_EBUFS; TLP_ENOTSUP for a session on GPUs; TLP_EFULL or
    ///         TLP_ENOMEM if there is no memory for pages or copies; TLP_ECANCELED
    ///         after tlp_session_abort, where tokens were evaluated again; TLP_ECOMM
    ///         or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_save(
        buf: *mut ::std::os::raw::c_void,
        cap: usize,
        len: *mut usize,
        session: *mut tlp_session,
        seq: i32,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Put a saved sequence in the place of a sequence of this session.
    ///
    /// The session must have the model, plan, adjustments, adapter and its scale,
    /// number of ranks, kv_type, compute and wire of the session that saved the
    /// sequence, caches with equal windows, and tensors of rope scaling that n_ctx
    /// chooses alike.  Its n_ctx, n_seq, n_batch, threads and kind of communication may
    /// be others.  The last bits of what follows are equal on machines with equal
    /// kernels.
    ///
    /// The former content of `seq` is lost, and no row of logits belongs to the
    /// sequence until a token is evaluated.  After a failure other than TLP_ECOMM and
    /// TLP_ETIMEDOUT the sequence and the session are as before.  The call needs free
    /// pages besides those of `seq`: where the cache is small, tlp_session_clear
    /// frees these first.
    ///
    /// @param session  session on CPUs
    /// @param seq      sequence to replace, 0 to n_seq - 1
    /// @param buf      n bytes of tlp_session_save; borrowed for the call
    /// @param n        bytes in buf
    /// @return TLP_OK; TLP_EFORMAT for bytes that are damaged or no saved sequence;
    ///         TLP_EMISMATCH for a sequence that does not fit the session (the text
    ///         says in what); TLP_EFULL for more positions than n_ctx or too few free
    ///         pages; TLP_ENOMEM if a rank has no memory; TLP_ENOTSUP for a session
    ///         on GPUs; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_load(
        session: *mut tlp_session,
        seq: i32,
        buf: *const ::std::os::raw::c_void,
        n: usize,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Save a sequence to a file, by the rules of tlp_session_save.
    ///
    /// The file gets its name when it is complete, so that a failure leaves an older
    /// file as it was.
    ///
    /// @param session  session on CPUs
    /// @param seq      sequence to save, 0 to n_seq - 1
    /// @param path     file to write; not a file of the model
    /// @return the statuses of tlp_session_save but TLP_EBUFS; TLP_EIO with the
    ///         system's reason
    /// @since 0.1
    pub fn tlp_session_save_file(
        session: *mut tlp_session,
        seq: i32,
        path: *const ::std::os::raw::c_char,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Load a sequence from a file, by the rules of tlp_session_load.
    ///
    /// @param session  session on CPUs
    /// @param seq      sequence to replace, 0 to n_seq - 1
    /// @param path     file of tlp_session_save_file
    /// @return the statuses of tlp_session_load; TLP_EIO with the system's reason
    /// @since 0.1
    pub fn tlp_session_load_file(
        session: *mut tlp_session,
        seq: i32,
        path: *const ::std::os::raw::c_char,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Forget a sequence: tlp_session_rewind to position 0.
    ///
    /// @param session  session
    /// @param seq      0 to n_seq - 1
    /// @return TLP_OK; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_clear(session: *mut tlp_session, seq: i32) -> tlp_status;
}
extern "C" {
    /// Stop the call that is running on a session.
    ///
    /// The call returns TLP_ECANCELED.  On several ranks the next all-reduce that
    /// begins carries the request, so the running stage and the stage after it may
    /// still be computed.  If no call is running, the next call stops.  A decoding
    /// step on a GPU runs to its end; the call after that step stops.
    ///
    /// @par Threads
    /// Any thread and any signal handler may call this function before
    /// tlp_session_free.
    ///
    /// @param session  session
    /// @since 0.1
    pub fn tlp_session_abort(session: *mut tlp_session);
}
extern "C" {
    #[must_use]
    /// Change the numbers of threads of a session, from the next step on.
    ///
    /// A step with at most one token of each sequence uses n_decode threads per
    /// rank, every other step n_prefill.  Results do not depend on the numbers.  The
    /// call applies to all ranks of this process; ranks in other processes keep
    /// their threads.  Numbers above those that the session had before need memory
    /// and, without a pool of the host, new threads, which inherit the affinity mask
    /// of the thread of their rank: for rank 0 the calling thread.
    ///
    /// @param session    session
    /// @param n_decode   1 to 256; 0 = as before
    /// @param n_prefill  1 to 256; 0 = as before
    /// @return TLP_OK; TLP_EINVAL for a number out of range; TLP_ENOMEM, after which
    ///         the session has the numbers that it had before; TLP_ENOTSUP for ranks
    ///         on devices; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_set_threads(
        session: *mut tlp_session,
        n_decode: i32,
        n_prefill: i32,
    ) -> tlp_status;
}
/// Counters and sizes of a session.
#[repr(C)]
pub struct tlp_session_stats {
    /// set by the caller
    pub struct_size: usize,
    /// tokens evaluated several per sequence
    pub n_prefill: u64,
    /// tokens evaluated one per sequence
    pub n_decode: u64,
    /// evaluations of the network
    pub n_step: u64,
    /// all-reduces of rank 0, inner ones included
    pub allreduces: u64,
    /// payload of rank 0, bytes
    pub comm_bytes: u64,
    /// wall-clock time in evaluation
    pub seconds: f64,
    /// part of `seconds` that rank 0 spent in
    /// communication and in waiting
    pub comm_seconds: f64,
    /// memory that the caches of all ranks have now,
    /// bytes
    pub kv_bytes: u64,
    /// weights in the layout of the session, bytes
    pub weight_bytes: u64,
    /// activations and logits of all ranks, bytes
    pub buffer_bytes: u64,
    /// ranks
    pub n_rank: i32,
    /// threads per rank in decode steps
    pub n_thread: i32,
    /// "amx", "avx512", "avx2", "scalar" or "cuda"
    pub isa: [::std::os::raw::c_char; 16usize],
    /// threads per rank in all other steps
    pub n_thread_prefill: i32,
    /// what carries activations between the ranks:
    /// "none" (one rank), "threads", "processes of one
    /// machine", "processes of several machines",
    /// "peer memory", "nccl" or both of these
    pub link: [::std::os::raw::c_char; 32usize],
    /// what kv_bytes can grow to
    pub kv_most_bytes: u64,
}
#[test]
fn bindgen_test_layout_tlp_session_stats() {
    assert_eq!(
        ::std::mem::size_of::<tlp_session_stats>(),
        160usize,
        concat!("Size of: ", stringify!(tlp_session_stats))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_session_stats>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_session_stats))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_prefill() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_prefill) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(n_prefill)
            )
        );
    }
    test_field_n_prefill();
    fn test_field_n_decode() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_decode) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(n_decode)
            )
        );
    }
    test_field_n_decode();
    fn test_field_n_step() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_step) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(n_step)
            )
        );
    }
    test_field_n_step();
    fn test_field_allreduces() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).allreduces) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(allreduces)
            )
        );
    }
    test_field_allreduces();
    fn test_field_comm_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).comm_bytes) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(comm_bytes)
            )
        );
    }
    test_field_comm_bytes();
    fn test_field_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seconds) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(seconds)
            )
        );
    }
    test_field_seconds();
    fn test_field_comm_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).comm_seconds) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(comm_seconds)
            )
        );
    }
    test_field_comm_seconds();
    fn test_field_kv_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kv_bytes) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(kv_bytes)
            )
        );
    }
    test_field_kv_bytes();
    fn test_field_weight_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).weight_bytes) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(weight_bytes)
            )
        );
    }
    test_field_weight_bytes();
    fn test_field_buffer_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).buffer_bytes) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(buffer_bytes)
            )
        );
    }
    test_field_buffer_bytes();
    fn test_field_n_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_rank) as usize - ptr as usize
            },
            88usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(n_rank)
            )
        );
    }
    test_field_n_rank();
    fn test_field_n_thread() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_thread) as usize - ptr as usize
            },
            92usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(n_thread)
            )
        );
    }
    test_field_n_thread();
    fn test_field_isa() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).isa) as usize - ptr as usize
            },
            96usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(isa)
            )
        );
    }
    test_field_isa();
    fn test_field_n_thread_prefill() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_thread_prefill) as usize - ptr as usize
            },
            112usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(n_thread_prefill)
            )
        );
    }
    test_field_n_thread_prefill();
    fn test_field_link() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).link) as usize - ptr as usize
            },
            116usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(link)
            )
        );
    }
    test_field_link();
    fn test_field_kv_most_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_session_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kv_most_bytes) as usize - ptr as usize
            },
            152usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_session_stats),
                "::",
                stringify!(kv_most_bytes)
            )
        );
    }
    test_field_kv_most_bytes();
}
impl Default for tlp_session_stats {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Get the counters since the creation or the last tlp_session_reset_stats.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param session   session
    /// @return TLP_OK
    /// @since 0.1
    pub fn tlp_session_get_stats(
        out: *mut tlp_session_stats,
        session: *const tlp_session,
    ) -> tlp_status;
}
extern "C" {
    /// Set the counters to zero.  The sizes keep their values.  Beside another call
    /// on the session the function does nothing.
    ///
    /// @param session  session
    /// @since 0.1
    pub fn tlp_session_reset_stats(session: *mut tlp_session);
}
extern "C" {
    #[must_use]
    /// Get the rank of this process and the number of ranks.
    ///
    /// With TLP_COMM_MPI the first call connects the processes; each waits at most
    /// timeout_ms for its peers.  Later calls return at once.  With
    /// TLP_COMM_THREADS the rank is 0.
    ///
    /// @param[out] rank    0 to n_rank - 1
    /// @param[out] n_rank  ranks
    /// @param opts         options of the later session; NULL = defaults
    /// @return TLP_OK; TLP_ENOTSUP if the plug-in is missing, or if MPI cannot be
    ///         used on this thread; TLP_ETIMEDOUT if a process did not connect
    /// @since 0.1
    pub fn tlp_comm_rank(
        rank: *mut i32,
        n_rank: *mut i32,
        opts: *const tlp_session_options,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Work as a rank other than 0 for one session, or one training.
    ///
    /// The call waits, without a deadline, until rank 0 creates a session; it then
    /// checks that both sides agree, loads the weights of this rank, and works until
    /// rank 0 frees the session.  If rank 0 calls tlp_plan_train, it takes the text
    /// and the options of the training from rank 0, and works until that call ends.
    ///
    /// A worker takes the plan from rank 0 if `plan` is NULL, and every option that
    /// is 0.  Values that the worker sets must agree with rank 0; so must versions,
    /// byte order, and the hyper-parameters and every byte of the tensors of the
    /// model (tlp_model_get_digest; by the fingerprint, if a rank has trust_sample).
    /// If they do not, no rank gets a session, and every rank gets TLP_EMISMATCH with
    /// a text that names the field, or the first tensor that differs, and both
    /// values.  The options devices, n_thread, isa, pin, progress and timeout_ms
    /// apply to this rank alone.
    ///
    /// @param model  copy of the model in this process
    /// @param plan   plan of that model, or NULL
    /// @param opts   options, with comm = TLP_COMM_MPI
    /// @return TLP_OK when a session or a training has ended; TLP_ECLOSED when rank
    ///         0 has left, so that neither will come again: the usual end of a
    ///         worker; TLP_ECANCELED by progress; TLP_ESTATE if this is rank 0;
    ///         TLP_EMISMATCH; TLP_ECOMM or TLP_ETIMEDOUT if another rank failed.
    ///         After each of these but TLP_ECLOSED the worker may call again
    /// @since 0.1
    pub fn tlp_worker_run(
        model: *mut tlp_model,
        plan: *mut tlp_plan,
        opts: *const tlp_session_options,
    ) -> tlp_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_sampler {
    _unused: [u8; 0],
}
/// Change of one logit.
#[repr(C)]
pub struct tlp_logit_bias {
    /// 0 to n_vocab - 1
    pub token: i32,
    /// added to the logit.  -INFINITY forbids the token;
    /// INFINITY makes it certain: of several such tokens each
    /// is equally probable, and greedy decoding takes the
    /// lowest
    pub bias: f32,
}
#[test]
fn bindgen_test_layout_tlp_logit_bias() {
    assert_eq!(
        ::std::mem::size_of::<tlp_logit_bias>(),
        8usize,
        concat!("Size of: ", stringify!(tlp_logit_bias))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_logit_bias>(),
        4usize,
        concat!("Alignment of ", stringify!(tlp_logit_bias))
    );
    fn test_field_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_logit_bias>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).token) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_logit_bias),
                "::",
                stringify!(token)
            )
        );
    }
    test_field_token();
    fn test_field_bias() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_logit_bias>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).bias) as usize - ptr as usize
            },
            4usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_logit_bias),
                "::",
                stringify!(bias)
            )
        );
    }
    test_field_bias();
}
impl Default for tlp_logit_bias {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Change a row of logits before a sampler chooses from it.
///
/// The function must return: an exception or longjmp must not leave it.  It may
/// not use the sampler or the session.
///
/// @param logits     n_vocab values, to be changed in place.  -INFINITY forbids
///                   a token, INFINITY makes it certain; NaN is an error
/// @param n_vocab    number of logits
/// @param user_data  pointer from the options
/// @return 0 to go on; any other value cancels the call, which then returns
///         TLP_ECANCELED
pub type tlp_logits_fn = ::std::option::Option<
    unsafe extern "C" fn(
        logits: *mut f32,
        n_vocab: i32,
        user_data: *mut ::std::os::raw::c_void,
    ) -> ::std::os::raw::c_int,
>;
/// Options of a sampler.  Zero in every field means greedy decoding.
///
/// A sampler applies, in this order: the logits function, bias, mask and
/// grammar, penalties, top-k, temperature, top-p, min-p; then it draws a token.
/// Of equal logits the lower token comes first.
#[repr(C)]
pub struct tlp_sampler_options {
    /// sizeof(tlp_sampler_options)
    pub struct_size: usize,
    /// divides the logits; 0 = greedy
    pub temperature: f32,
    /// best tokens to keep; 0 = all
    pub top_k: i32,
    /// probability mass to keep, 0 to 1; 0 = all
    pub top_p: f32,
    /// least probability, as a share of the highest
    /// one; 0 = off
    pub min_p: f32,
    /// divides positive logits of tokens in the
    /// window, multiplies negative ones; 0.001 to
    /// 1000; 0 = off
    pub repeat_penalty: f32,
    /// subtracted per occurrence in the window
    pub frequency_penalty: f32,
    /// subtracted once for a token in the window
    pub presence_penalty: f32,
    /// tokens in the window; 0 = 64
    pub penalty_last_n: i32,
    /// equal seeds and logits give equal tokens
    pub seed: u64,
    /// n_bias changes, copied; or NULL
    pub bias: *const tlp_logit_bias,
    /// number of changes
    pub n_bias: usize,
    /// what chosen tokens must match, of the
    /// sampler's model; the sampler keeps it alive;
    /// or NULL
    pub grammar: *mut tlp_grammar,
    /// changes logits; or NULL
    pub logits: tlp_logits_fn,
    /// last argument of logits
    pub logits_data: *mut ::std::os::raw::c_void,
}
#[test]
fn bindgen_test_layout_tlp_sampler_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_sampler_options>(),
        88usize,
        concat!("Size of: ", stringify!(tlp_sampler_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_sampler_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_sampler_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_temperature() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).temperature) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(temperature)
            )
        );
    }
    test_field_temperature();
    fn test_field_top_k() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top_k) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(top_k)
            )
        );
    }
    test_field_top_k();
    fn test_field_top_p() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top_p) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(top_p)
            )
        );
    }
    test_field_top_p();
    fn test_field_min_p() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).min_p) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(min_p)
            )
        );
    }
    test_field_min_p();
    fn test_field_repeat_penalty() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).repeat_penalty) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(repeat_penalty)
            )
        );
    }
    test_field_repeat_penalty();
    fn test_field_frequency_penalty() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).frequency_penalty) as usize - ptr as usize
            },
            28usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(frequency_penalty)
            )
        );
    }
    test_field_frequency_penalty();
    fn test_field_presence_penalty() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).presence_penalty) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(presence_penalty)
            )
        );
    }
    test_field_presence_penalty();
    fn test_field_penalty_last_n() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).penalty_last_n) as usize - ptr as usize
            },
            36usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(penalty_last_n)
            )
        );
    }
    test_field_penalty_last_n();
    fn test_field_seed() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seed) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(seed)
            )
        );
    }
    test_field_seed();
    fn test_field_bias() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).bias) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(bias)
            )
        );
    }
    test_field_bias();
    fn test_field_n_bias() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_bias) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(n_bias)
            )
        );
    }
    test_field_n_bias();
    fn test_field_grammar() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).grammar) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(grammar)
            )
        );
    }
    test_field_grammar();
    fn test_field_logits() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).logits) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(logits)
            )
        );
    }
    test_field_logits();
    fn test_field_logits_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_sampler_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).logits_data) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_sampler_options),
                "::",
                stringify!(logits_data)
            )
        );
    }
    test_field_logits_data();
}
impl Default for tlp_sampler_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Create a sampler.
    ///
    /// @param[out] out  the sampler; the caller frees it with tlp_sampler_free
    /// @param model     model with the vocabulary
    /// @param opts      NULL = greedy decoding
    /// @return TLP_OK; TLP_EINVAL for an option out of range; TLP_EMISMATCH for a
    ///         grammar of another model
    /// @since 0.1
    pub fn tlp_sampler_create(
        out: *mut *mut tlp_sampler,
        model: *mut tlp_model,
        opts: *const tlp_sampler_options,
    ) -> tlp_status;
}
extern "C" {
    /// Release a sampler.
    ///
    /// @param sampler  NULL is allowed
    /// @since 0.1
    pub fn tlp_sampler_free(sampler: *mut tlp_sampler);
}
extern "C" {
    /// Add a token to the window of the penalties.
    ///
    /// tlp_session_sample and tlp_sampler_pick add the tokens that they choose.  A
    /// program that calls them adds the tokens of the prompt; tlp_session_generate
    /// does so itself (keep_window).  The token is no part of the text that the
    /// grammar follows (tlp_sampler_matcher).
    ///
    /// @param sampler  sampler
    /// @param token    0 to n_vocab - 1; other values are ignored
    /// @since 0.1
    pub fn tlp_sampler_accept(sampler: *mut tlp_sampler, token: i32);
}
extern "C" {
    /// Empty the window of the penalties, restart the random numbers, and go back to
    /// the start of the grammar.
    ///
    /// @param sampler  sampler
    /// @since 0.1
    pub fn tlp_sampler_reset(sampler: *mut tlp_sampler);
}
extern "C" {
    #[must_use]
    /// Allow some tokens alone, until the next call: bit i % 32 of word i / 32 is
    /// token i.  The mask applies beside the grammar.
    ///
    /// @param sampler  sampler
    /// @param bits     n_word words, copied; NULL = all tokens are allowed
    /// @param n_word   (n_vocab + 31) / 32; 0 with NULL
    /// @return TLP_OK; TLP_EINVAL for another number of words
    /// @since 0.1
    pub fn tlp_sampler_set_mask(
        sampler: *mut tlp_sampler,
        bits: *const u32,
        n_word: usize,
    ) -> tlp_status;
}
extern "C" {
    /// Get the matcher of a sampler's grammar.
    ///
    /// tlp_session_sample and tlp_sampler_pick add the tokens that they choose to
    /// its text.  A program that chooses a token itself adds it with
    /// tlp_matcher_accept.
    ///
    /// @param sampler  sampler
    /// @return matcher, borrowed from the sampler; NULL without a grammar
    /// @since 0.1
    pub fn tlp_sampler_matcher(sampler: *mut tlp_sampler) -> *mut tlp_matcher;
}
extern "C" {
    #[must_use]
    /// Choose a token from logits of the program.
    ///
    /// @param[out] token  the chosen token; -1 on failure
    /// @param sampler     sampler
    /// @param logits      n_vocab values, finite or -INFINITY
    /// @return TLP_OK; TLP_EINVAL for NaN or +inf; the statuses of
    ///         tlp_session_sample
    /// @since 0.1
    pub fn tlp_sampler_pick(
        token: *mut i32,
        sampler: *mut tlp_sampler,
        logits: *const f32,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Choose the next token from a row of logits.
    ///
    /// For greedy and top-k sampling the ranks exchange candidates, not rows of
    /// logits.  With a mask or a grammar they do so where enough candidates are
    /// allowed; the choice is that of the whole row.
    ///
    /// @param[out] token  the chosen token
    /// @param session     session
    /// @param row         0 to tlp_session_n_logits - 1
    /// @param sampler     sampler
    /// @return TLP_OK; TLP_ESTATE before the first evaluation, and for a row whose
    ///         position no sequence holds any more; TLP_EINVAL past the last row;
    ///         TLP_ERROR for a row that has NaN or +inf, or only -inf, and if
    ///         biases, mask and grammar forbid every token; TLP_ESTATE also after
    ///         the end of the grammar's text; TLP_ENOTSUP for a grammar that needs
    ///         more than its bounds; TLP_ECANCELED by the logits function; TLP_ECOMM
    ///         or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_sample(
        token: *mut i32,
        session: *mut tlp_session,
        row: usize,
        sampler: *mut tlp_sampler,
    ) -> tlp_status;
}
/// n_predict tokens were generated
pub const TLP_STOP_LENGTH: tlp_stop_reason = 1;
/// the model ended its turn, or the grammar is
/// complete and no token ends a text
pub const TLP_STOP_END: tlp_stop_reason = 2;
/// a stop string was complete
pub const TLP_STOP_STRING: tlp_stop_reason = 3;
/// the sequence holds n_ctx positions
pub const TLP_STOP_CONTEXT: tlp_stop_reason = 4;
/// the text function asked for the end
pub const TLP_STOP_CALLBACK: tlp_stop_reason = 5;
/// a stop token of the request was chosen
pub const TLP_STOP_TOKEN: tlp_stop_reason = 6;
/// tlp_engine_cancel or tlp_engine_stop
pub const TLP_STOP_CANCEL: tlp_stop_reason = 7;
/// the request's deadline passed
pub const TLP_STOP_DEADLINE: tlp_stop_reason = 8;
/// the choice failed
pub const TLP_STOP_ERROR: tlp_stop_reason = 9;
/// Why a generation ended.
pub type tlp_stop_reason = ::std::os::raw::c_uint;
/// Receive generated text.
///
/// The function may read the session (tlp_session_logits, tlp_session_pos,
/// tlp_session_get_stats) and use any other session.  It must return: an
/// exception or longjmp must not leave it.
///
/// @param text       whole UTF-8 with a NUL, never empty, borrowed for this call
/// @param len        bytes in text without the NUL
/// @param user_data  pointer from the options
/// @return 0 to go on; any other value ends the generation without an error
pub type tlp_text_fn = ::std::option::Option<
    unsafe extern "C" fn(
        text: *const ::std::os::raw::c_char,
        len: usize,
        user_data: *mut ::std::os::raw::c_void,
    ) -> ::std::os::raw::c_int,
>;
/// Options of tlp_session_generate.
#[repr(C)]
pub struct tlp_generate_options {
    /// sizeof(tlp_generate_options)
    pub struct_size: usize,
    /// most tokens to generate; 0 = until the
    /// sequence is full
    pub n_predict: i32,
    /// 1 = go on after an end token; not with a
    /// grammar
    pub ignore_end: i32,
    /// n_stop stop strings; or NULL
    pub stop: *const *const ::std::os::raw::c_char,
    /// number of stop strings
    pub n_stop: usize,
    /// enum tlp_detokenize_flags
    pub flags: u32,
    /// sequence to extend, 0 to n_seq - 1
    pub seq: i32,
    /// receives text as it becomes certain; or
    /// NULL
    pub text: tlp_text_fn,
    /// last argument of text
    pub text_data: *mut ::std::os::raw::c_void,
    /// window of the penalties at the start: 0 = the
    /// last tokens of the sequence, so that
    /// penalties count the prompt; 1 = the tokens
    /// that the sampler has accepted
    pub keep_window: i32,
}
#[test]
fn bindgen_test_layout_tlp_generate_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_generate_options>(),
        64usize,
        concat!("Size of: ", stringify!(tlp_generate_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_generate_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_generate_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_predict() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_predict) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_options),
                "::",
                stringify!(n_predict)
            )
        );
    }
    test_field_n_predict();
    fn test_field_ignore_end() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ignore_end) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_options),
                "::",
                stringify!(ignore_end)
            )
        );
    }
    test_field_ignore_end();
    fn test_field_stop() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).stop) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_options),
                "::",
                stringify!(stop)
            )
        );
    }
    test_field_stop();
    fn test_field_n_stop() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_stop) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_options),
                "::",
                stringify!(n_stop)
            )
        );
    }
    test_field_n_stop();
    fn test_field_flags() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).flags) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_options),
                "::",
                stringify!(flags)
            )
        );
    }
    test_field_flags();
    fn test_field_seq() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seq) as usize - ptr as usize
            },
            36usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_options),
                "::",
                stringify!(seq)
            )
        );
    }
    test_field_seq();
    fn test_field_text() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).text) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_options),
                "::",
                stringify!(text)
            )
        );
    }
    test_field_text();
    fn test_field_text_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).text_data) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_options),
                "::",
                stringify!(text_data)
            )
        );
    }
    test_field_text_data();
    fn test_field_keep_window() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).keep_window) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_options),
                "::",
                stringify!(keep_window)
            )
        );
    }
    test_field_keep_window();
}
impl Default for tlp_generate_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Result of tlp_session_generate.
#[repr(C)]
pub struct tlp_generate_result {
    /// set by the caller
    pub struct_size: usize,
    /// chosen tokens, an end token included
    pub n_generated: i32,
    /// enum tlp_stop_reason
    pub stop_reason: i32,
    /// token that was chosen last.  It is not
    /// evaluated: a program that goes on with the
    /// sequence evaluates it first.  -1 = none
    pub last_token: i32,
}
#[test]
fn bindgen_test_layout_tlp_generate_result() {
    assert_eq!(
        ::std::mem::size_of::<tlp_generate_result>(),
        24usize,
        concat!("Size of: ", stringify!(tlp_generate_result))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_generate_result>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_generate_result))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_result),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_generated() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_generated) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_result),
                "::",
                stringify!(n_generated)
            )
        );
    }
    test_field_n_generated();
    fn test_field_stop_reason() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).stop_reason) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_result),
                "::",
                stringify!(stop_reason)
            )
        );
    }
    test_field_stop_reason();
    fn test_field_last_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_generate_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).last_token) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_generate_result),
                "::",
                stringify!(last_token)
            )
        );
    }
    test_field_last_token();
}
impl Default for tlp_generate_result {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Generate text: choose a token, hand out its text, evaluate it, and repeat.
    ///
    /// The call extends sequence opts->seq, by default sequence 0, and begins with
    /// the row of logits that tlp_session_find_row finds for it.  With a grammar the
    /// text goes on where the last call left it, and begins anew after its end.
    ///
    /// @param[out] result  NULL is allowed; otherwise the caller sets struct_size
    /// @param session      session that keeps the logits of the last token
    /// @param sampler      NULL = greedy decoding
    /// @param opts         NULL = defaults
    /// @return TLP_OK; TLP_ESTATE if the logits of the last token are not kept;
    ///         TLP_ECANCELED by tlp_session_abort; the statuses of
    ///         tlp_session_prefill and tlp_session_sample
    /// @since 0.1
    pub fn tlp_session_generate(
        result: *mut tlp_generate_result,
        session: *mut tlp_session,
        sampler: *mut tlp_sampler,
        opts: *const tlp_generate_options,
    ) -> tlp_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_engine {
    _unused: [u8; 0],
}
/// Options of an engine.
#[repr(C)]
pub struct tlp_engine_options {
    /// sizeof(tlp_engine_options)
    pub struct_size: usize,
    /// of the session; NULL = defaults.
    /// n_seq is the number of sequences, of which each
    /// choice that runs has one and the free ones are kept
    /// for later prompts; n_seq 0 = 8.  n_batch is the most
    /// tokens of prompts in a step; on slow machines a
    /// step has fewer, about as many as 0.25 s take, and
    /// n_chunk at least
    pub session: *const tlp_session_options,
    /// most requests that wait and run; 0 = 256, at most
    /// 65536
    pub n_request: i32,
    /// most tokens of prompts in a step in which a choice
    /// writes text: bounds the time between two tokens;
    /// 0 = 64, at most n_batch
    pub n_chunk: i32,
    /// most tokens behind a text that a step evaluates in
    /// advance: guesses from the prompt and the text.  As
    /// many are used as save time, by the times of earlier
    /// steps; texts do not depend on them.  0 = 8; -1 =
    /// none; at most 16
    pub n_draft: i32,
}
#[test]
fn bindgen_test_layout_tlp_engine_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_engine_options>(),
        32usize,
        concat!("Size of: ", stringify!(tlp_engine_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_engine_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_engine_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_session() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).session) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_options),
                "::",
                stringify!(session)
            )
        );
    }
    test_field_session();
    fn test_field_n_request() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_request) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_options),
                "::",
                stringify!(n_request)
            )
        );
    }
    test_field_n_request();
    fn test_field_n_chunk() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_chunk) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_options),
                "::",
                stringify!(n_chunk)
            )
        );
    }
    test_field_n_chunk();
    fn test_field_n_draft() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_draft) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_options),
                "::",
                stringify!(n_draft)
            )
        );
    }
    test_field_n_draft();
}
impl Default for tlp_engine_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Create an engine.
    ///
    /// @param[out] out  the engine; the caller frees it with tlp_engine_free
    /// @param plan      plan; the engine keeps it alive
    /// @param opts      NULL = defaults
    /// @return TLP_OK; TLP_EINVAL for an option out of range; the statuses of
    ///         tlp_session_create
    /// @since 0.1
    pub fn tlp_engine_create(
        out: *mut *mut tlp_engine,
        plan: *mut tlp_plan,
        opts: *const tlp_engine_options,
    ) -> tlp_status;
}
extern "C" {
    /// Release an engine, with its requests and its events.
    ///
    /// The call waits for the end of a running step.  No other call on the engine may
    /// be running, except those on its own thread.
    ///
    /// @param engine  NULL is allowed
    /// @since 0.1
    pub fn tlp_engine_free(engine: *mut tlp_engine);
}
/// A request.  The library copies it, and all that it points to, but neither
/// `user` nor the data of the sampler's function, which is called on the thread
/// that steps, and until the event of the request's end.
///
/// The prompt is tokens, or a conversation, as in tlp_chat_tokenize with
/// add_generation_prompt = 1.
#[repr(C)]
pub struct tlp_request {
    /// sizeof(tlp_request)
    pub struct_size: usize,
    /// n_token ids of the prompt, or NULL
    pub tokens: *const i32,
    /// at least 1 with tokens
    pub n_token: usize,
    /// n_message messages, or NULL
    pub messages: *const tlp_chat_message,
    /// number of messages
    pub n_message: usize,
    /// of a conversation; NULL = defaults
    pub chat: *const tlp_chat_options,
    /// NULL = greedy decoding.  Choice i
    /// draws with seed + i
    pub sampler: *const tlp_sampler_options,
    /// most tokens of a choice; 0 = until the
    /// context is full; -1 = none, the prompt alone
    /// is evaluated
    pub n_predict: i32,
    /// texts to write; 0 = 1, at most n_seq of the
    /// session
    pub n_choice: i32,
    /// n_stop stop strings, or NULL
    pub stop: *const *const ::std::os::raw::c_char,
    /// at most 1024
    pub n_stop: usize,
    /// n_stop_token tokens that end a choice, or
    /// NULL
    pub stop_tokens: *const i32,
    /// at most 1024
    pub n_stop_token: usize,
    /// 1 = go on after an end token of the model; 0
    /// with a grammar
    pub ignore_end: i32,
    /// enum tlp_detokenize_flags
    pub flags: u32,
    /// 1 = events have log-probabilities
    pub logprobs: i32,
    /// 1 = so have events of the prompt's tokens
    pub prompt_logprobs: i32,
    /// likeliest tokens in such events, 0 to 64
    pub n_top: i32,
    /// requests of higher priority begin first
    pub priority: i32,
    /// of waiting requests with equal priority,
    /// those of the client with the fewest running
    /// choices begin first
    pub client: u64,
    /// seconds from the call to the request's end;
    /// 0 = none
    pub deadline: f64,
    /// in all events of the request
    pub user: *mut ::std::os::raw::c_void,
    /// not NULL: the embedding of the prompt is
    /// wanted, and no text.  n_predict is then 0 or
    /// -1 and n_choice at most 1
    pub embed: *const tlp_embed_options,
}
#[test]
fn bindgen_test_layout_tlp_request() {
    assert_eq!(
        ::std::mem::size_of::<tlp_request>(),
        152usize,
        concat!("Size of: ", stringify!(tlp_request))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_request>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_request))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_tokens() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).tokens) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(tokens)
            )
        );
    }
    test_field_tokens();
    fn test_field_n_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_token) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(n_token)
            )
        );
    }
    test_field_n_token();
    fn test_field_messages() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).messages) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(messages)
            )
        );
    }
    test_field_messages();
    fn test_field_n_message() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_message) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(n_message)
            )
        );
    }
    test_field_n_message();
    fn test_field_chat() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).chat) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(chat)
            )
        );
    }
    test_field_chat();
    fn test_field_sampler() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).sampler) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(sampler)
            )
        );
    }
    test_field_sampler();
    fn test_field_n_predict() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_predict) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(n_predict)
            )
        );
    }
    test_field_n_predict();
    fn test_field_n_choice() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_choice) as usize - ptr as usize
            },
            60usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(n_choice)
            )
        );
    }
    test_field_n_choice();
    fn test_field_stop() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).stop) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(stop)
            )
        );
    }
    test_field_stop();
    fn test_field_n_stop() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_stop) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(n_stop)
            )
        );
    }
    test_field_n_stop();
    fn test_field_stop_tokens() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).stop_tokens) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(stop_tokens)
            )
        );
    }
    test_field_stop_tokens();
    fn test_field_n_stop_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_stop_token) as usize - ptr as usize
            },
            88usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(n_stop_token)
            )
        );
    }
    test_field_n_stop_token();
    fn test_field_ignore_end() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ignore_end) as usize - ptr as usize
            },
            96usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(ignore_end)
            )
        );
    }
    test_field_ignore_end();
    fn test_field_flags() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).flags) as usize - ptr as usize
            },
            100usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(flags)
            )
        );
    }
    test_field_flags();
    fn test_field_logprobs() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).logprobs) as usize - ptr as usize
            },
            104usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(logprobs)
            )
        );
    }
    test_field_logprobs();
    fn test_field_prompt_logprobs() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).prompt_logprobs) as usize - ptr as usize
            },
            108usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(prompt_logprobs)
            )
        );
    }
    test_field_prompt_logprobs();
    fn test_field_n_top() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_top) as usize - ptr as usize
            },
            112usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(n_top)
            )
        );
    }
    test_field_n_top();
    fn test_field_priority() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).priority) as usize - ptr as usize
            },
            116usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(priority)
            )
        );
    }
    test_field_priority();
    fn test_field_client() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).client) as usize - ptr as usize
            },
            120usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(client)
            )
        );
    }
    test_field_client();
    fn test_field_deadline() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).deadline) as usize - ptr as usize
            },
            128usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(deadline)
            )
        );
    }
    test_field_deadline();
    fn test_field_user() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).user) as usize - ptr as usize
            },
            136usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(user)
            )
        );
    }
    test_field_user();
    fn test_field_embed() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_request>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).embed) as usize - ptr as usize
            },
            144usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_request),
                "::",
                stringify!(embed)
            )
        );
    }
    test_field_embed();
}
impl Default for tlp_request {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Submit a request.
    ///
    /// @param[out] id  number of the request, above 0 and never used again by the
    ///                 engine
    /// @param engine   engine
    /// @param request  prompt and options
    /// @return TLP_OK; TLP_EINVAL for a prompt or an option that is not valid;
    ///         TLP_EFULL for a prompt of more than n_ctx tokens; TLP_EBUSY while
    ///         n_request requests wait and run; TLP_ECLOSED after tlp_engine_stop;
    ///         TLP_ECOMM or TLP_ETIMEDOUT after a rank has failed; the statuses of
    ///         tlp_chat_tokenize and tlp_sampler_create
    /// @since 0.1
    pub fn tlp_engine_submit(
        id: *mut u64,
        engine: *mut tlp_engine,
        request: *const tlp_request,
    ) -> tlp_status;
}
extern "C" {
    /// End a request.  Its choices get TLP_STOP_CANCEL at the next step.
    ///
    /// @par Threads
    /// Any thread and any signal handler may call this function before
    /// tlp_engine_free.
    ///
    /// @param engine  engine
    /// @param id      number of the request; nothing happens if it has ended
    /// @since 0.1
    pub fn tlp_engine_cancel(engine: *mut tlp_engine, id: u64);
}
extern "C" {
    #[must_use]
    /// Take one step on the calling thread.
    ///
    /// @param[out] n_left  requests that wait or run after the step; NULL is allowed
    /// @param engine       engine
    /// @return TLP_OK, also where there was nothing to do and where requests failed
    ///         alone; TLP_ESTATE while another thread steps; TLP_ECOMM or
    ///         TLP_ETIMEDOUT if a rank failed: every request has ended with that
    ///         text, and the engine can only be freed
    /// @since 0.1
    pub fn tlp_engine_step(n_left: *mut i32, engine: *mut tlp_engine) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Start a thread of the library that takes steps while there are requests.
    ///
    /// With ranks in other processes an idle thread evaluates a token once a second,
    /// so that it notices ranks that have failed.
    ///
    /// @param engine  engine
    /// @return TLP_OK; TLP_ESTATE if it was started before; TLP_ENOMEM
    /// @since 0.1
    pub fn tlp_engine_start(engine: *mut tlp_engine) -> tlp_status;
}
extern "C" {
    /// End all requests, after the running step, and the engine's thread.
    ///
    /// Choices get TLP_STOP_CANCEL.  Their events can still be taken.
    ///
    /// @param engine  NULL is allowed
    /// @since 0.1
    pub fn tlp_engine_stop(engine: *mut tlp_engine);
}
/// the prompt is evaluated: n_prompt, n_cached
pub const TLP_EVENT_PROMPT: tlp_event_kind = 1;
/// a token of the prompt, with
/// prompt_logprobs
pub const TLP_EVENT_PROMPT_TOKEN: tlp_event_kind = 2;
/// a choice has chosen a token
pub const TLP_EVENT_TOKEN: tlp_event_kind = 3;
/// a choice has ended: stop_reason, and the text
/// that was held back
pub const TLP_EVENT_STOP: tlp_event_kind = 4;
/// all choices of the request have ended
pub const TLP_EVENT_END: tlp_event_kind = 5;
/// the embedding of the prompt
pub const TLP_EVENT_EMBEDDING: tlp_event_kind = 6;
/// What an event tells.
pub type tlp_event_kind = ::std::os::raw::c_uint;
/// Something that happened to a request.  A new library may append fields.
#[repr(C)]
pub struct tlp_event {
    /// set by the library
    pub struct_size: usize,
    /// number of the request
    pub request: u64,
    /// enum tlp_event_kind
    pub kind: i32,
    /// 0 to n_choice - 1; -1 for the prompt and the end
    /// of the request
    pub choice: i32,
    /// chosen token or token of the prompt; -1 = none
    pub token: i32,
    /// entries of top
    pub n_top: i32,
    /// of token; NaN without logprobs, and for the
    /// first token of a prompt
    pub logprob: f32,
    /// enum tlp_stop_reason; 0 = not ended
    pub stop_reason: i32,
    /// bytes in text
    pub n_text: usize,
    /// text that became certain: whole UTF-8 with a
    /// NUL, often empty; the text of the failure with
    /// TLP_STOP_ERROR
    pub text: *const ::std::os::raw::c_char,
    /// likeliest tokens, best first
    pub top: *const tlp_logprob,
    /// TLP_OK; the failure with TLP_STOP_ERROR
    pub status: tlp_status,
    /// tokens of the prompt
    pub n_prompt: i32,
    /// of these, tokens that were not evaluated again
    pub n_cached: i32,
    /// tokens that the choice has chosen; of a request
    /// all choices
    pub n_generated: i32,
    /// since the request was submitted
    pub seconds: f64,
    /// of the request
    pub user: *mut ::std::os::raw::c_void,
    /// at the end of the request: guessed tokens that
    /// were evaluated
    pub n_draft: i32,
    /// of these, tokens that the sampler chose
    pub n_accepted: i32,
    /// n_embedding values of TLP_EVENT_EMBEDDING; else
    /// NULL
    pub embedding: *const f32,
    /// n_embd of the model, or 0
    pub n_embedding: i32,
    /// sequence of the choice, or of the prompt; -1 =
    /// it had none
    pub seq: i32,
}
#[test]
fn bindgen_test_layout_tlp_event() {
    assert_eq!(
        ::std::mem::size_of::<tlp_event>(),
        120usize,
        concat!("Size of: ", stringify!(tlp_event))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_event>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_event))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_request() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).request) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(request)
            )
        );
    }
    test_field_request();
    fn test_field_kind() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kind) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(kind)
            )
        );
    }
    test_field_kind();
    fn test_field_choice() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).choice) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(choice)
            )
        );
    }
    test_field_choice();
    fn test_field_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).token) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(token)
            )
        );
    }
    test_field_token();
    fn test_field_n_top() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_top) as usize - ptr as usize
            },
            28usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(n_top)
            )
        );
    }
    test_field_n_top();
    fn test_field_logprob() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).logprob) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(logprob)
            )
        );
    }
    test_field_logprob();
    fn test_field_stop_reason() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).stop_reason) as usize - ptr as usize
            },
            36usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(stop_reason)
            )
        );
    }
    test_field_stop_reason();
    fn test_field_n_text() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_text) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(n_text)
            )
        );
    }
    test_field_n_text();
    fn test_field_text() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).text) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(text)
            )
        );
    }
    test_field_text();
    fn test_field_top() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(top)
            )
        );
    }
    test_field_top();
    fn test_field_status() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).status) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(status)
            )
        );
    }
    test_field_status();
    fn test_field_n_prompt() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_prompt) as usize - ptr as usize
            },
            68usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(n_prompt)
            )
        );
    }
    test_field_n_prompt();
    fn test_field_n_cached() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_cached) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(n_cached)
            )
        );
    }
    test_field_n_cached();
    fn test_field_n_generated() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_generated) as usize - ptr as usize
            },
            76usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(n_generated)
            )
        );
    }
    test_field_n_generated();
    fn test_field_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seconds) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(seconds)
            )
        );
    }
    test_field_seconds();
    fn test_field_user() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).user) as usize - ptr as usize
            },
            88usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(user)
            )
        );
    }
    test_field_user();
    fn test_field_n_draft() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_draft) as usize - ptr as usize
            },
            96usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(n_draft)
            )
        );
    }
    test_field_n_draft();
    fn test_field_n_accepted() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_accepted) as usize - ptr as usize
            },
            100usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(n_accepted)
            )
        );
    }
    test_field_n_accepted();
    fn test_field_embedding() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).embedding) as usize - ptr as usize
            },
            104usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(embedding)
            )
        );
    }
    test_field_embedding();
    fn test_field_n_embedding() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_embedding) as usize - ptr as usize
            },
            112usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(n_embedding)
            )
        );
    }
    test_field_n_embedding();
    fn test_field_seq() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_event>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seq) as usize - ptr as usize
            },
            116usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_event),
                "::",
                stringify!(seq)
            )
        );
    }
    test_field_seq();
}
impl Default for tlp_event {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Take the oldest event.
    ///
    /// Events of a request come in the order in which they happened, the event of
    /// its end last.
    ///
    /// @param[out] event  the event; the caller frees it with tlp_event_free.  NULL
    ///                    if there was none in time, and on failure
    /// @param engine      engine
    /// @param timeout_ms  longest wait, milliseconds; 0 = do not wait; -1 = no limit
    /// @return TLP_OK; without further events TLP_ECLOSED after tlp_engine_stop, and
    ///         TLP_ECOMM or TLP_ETIMEDOUT after a rank has failed
    /// @since 0.1
    pub fn tlp_engine_next(
        event: *mut *mut tlp_event,
        engine: *mut tlp_engine,
        timeout_ms: i32,
    ) -> tlp_status;
}
extern "C" {
    /// Release an event.
    ///
    /// @param event  NULL is allowed
    /// @since 0.1
    pub fn tlp_event_free(event: *mut tlp_event);
}
/// Counters of an engine.
#[repr(C)]
pub struct tlp_engine_stats {
    /// set by the caller
    pub struct_size: usize,
    /// requests that wait
    pub n_waiting: i32,
    /// requests that run
    pub n_running: i32,
    /// choices that run
    pub n_choice: i32,
    /// events that nobody has taken
    pub n_event: i32,
    /// requests since the engine was created
    pub n_submitted: u64,
    /// of these, requests that have ended
    pub n_ended: u64,
    /// of these, requests with a choice that ended by
    /// TLP_STOP_ERROR
    pub n_failed: u64,
    /// of these, requests that were canceled or had
    /// passed their deadline
    pub n_canceled: u64,
    /// tokens of prompts
    pub n_prompt: u64,
    /// of these, tokens that were not evaluated again
    pub n_cached: u64,
    /// tokens that choices have chosen
    pub n_generated: u64,
    /// steps
    pub n_step: u64,
    /// wall-clock time in steps
    pub step_seconds: f64,
    /// longest time between two tokens of a choice,
    /// seconds
    pub worst_gap: f64,
    /// guessed tokens that were evaluated
    pub n_draft: u64,
    /// of ended requests, guessed tokens that the
    /// sampler chose
    pub n_accepted: u64,
    /// sequences of the session
    pub n_seq: i32,
    /// positions of a sequence
    pub n_ctx: i32,
    /// positions that sequences held after the last
    /// step
    pub n_position: i64,
}
#[test]
fn bindgen_test_layout_tlp_engine_stats() {
    assert_eq!(
        ::std::mem::size_of::<tlp_engine_stats>(),
        136usize,
        concat!("Size of: ", stringify!(tlp_engine_stats))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_engine_stats>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_engine_stats))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_waiting() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_waiting) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_waiting)
            )
        );
    }
    test_field_n_waiting();
    fn test_field_n_running() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_running) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_running)
            )
        );
    }
    test_field_n_running();
    fn test_field_n_choice() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_choice) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_choice)
            )
        );
    }
    test_field_n_choice();
    fn test_field_n_event() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_event) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_event)
            )
        );
    }
    test_field_n_event();
    fn test_field_n_submitted() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_submitted) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_submitted)
            )
        );
    }
    test_field_n_submitted();
    fn test_field_n_ended() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_ended) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_ended)
            )
        );
    }
    test_field_n_ended();
    fn test_field_n_failed() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_failed) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_failed)
            )
        );
    }
    test_field_n_failed();
    fn test_field_n_canceled() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_canceled) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_canceled)
            )
        );
    }
    test_field_n_canceled();
    fn test_field_n_prompt() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_prompt) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_prompt)
            )
        );
    }
    test_field_n_prompt();
    fn test_field_n_cached() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_cached) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_cached)
            )
        );
    }
    test_field_n_cached();
    fn test_field_n_generated() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_generated) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_generated)
            )
        );
    }
    test_field_n_generated();
    fn test_field_n_step() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_step) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_step)
            )
        );
    }
    test_field_n_step();
    fn test_field_step_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).step_seconds) as usize - ptr as usize
            },
            88usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(step_seconds)
            )
        );
    }
    test_field_step_seconds();
    fn test_field_worst_gap() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).worst_gap) as usize - ptr as usize
            },
            96usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(worst_gap)
            )
        );
    }
    test_field_worst_gap();
    fn test_field_n_draft() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_draft) as usize - ptr as usize
            },
            104usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_draft)
            )
        );
    }
    test_field_n_draft();
    fn test_field_n_accepted() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_accepted) as usize - ptr as usize
            },
            112usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_accepted)
            )
        );
    }
    test_field_n_accepted();
    fn test_field_n_seq() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_seq) as usize - ptr as usize
            },
            120usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_seq)
            )
        );
    }
    test_field_n_seq();
    fn test_field_n_ctx() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_ctx) as usize - ptr as usize
            },
            124usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_ctx)
            )
        );
    }
    test_field_n_ctx();
    fn test_field_n_position() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_engine_stats>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_position) as usize - ptr as usize
            },
            128usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_engine_stats),
                "::",
                stringify!(n_position)
            )
        );
    }
    test_field_n_position();
}
impl Default for tlp_engine_stats {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Get the counters of an engine.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param engine    engine
    /// @return TLP_OK
    /// @since 0.1
    pub fn tlp_engine_get_stats(out: *mut tlp_engine_stats, engine: *mut tlp_engine) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Get the counters and sizes of an engine's session, as they were after its last
    /// step.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param engine    engine
    /// @return TLP_OK
    /// @since 0.1
    pub fn tlp_engine_get_session_stats(
        out: *mut tlp_session_stats,
        engine: *mut tlp_engine,
    ) -> tlp_status;
}
/// What a sequence of an engine's session is used for.
#[repr(C)]
pub struct tlp_slot {
    /// set by the caller
    pub struct_size: usize,
    /// number of the request; 0 = the sequence is free,
    /// and keeps its tokens for later prompts
    pub request: u64,
    /// choice of the request; -1 = free
    pub choice: i32,
    /// positions that the sequence holds
    pub n_held: i32,
    /// tokens of the request's prompt
    pub n_prompt: i32,
    /// of these, tokens that are evaluated
    pub n_done: i32,
    /// of these, tokens that were not evaluated again
    pub n_cached: i32,
    /// tokens that the choice has chosen
    pub n_generated: i32,
}
#[test]
fn bindgen_test_layout_tlp_slot() {
    assert_eq!(
        ::std::mem::size_of::<tlp_slot>(),
        40usize,
        concat!("Size of: ", stringify!(tlp_slot))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_slot>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_slot))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_slot>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_slot),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_request() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_slot>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).request) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_slot),
                "::",
                stringify!(request)
            )
        );
    }
    test_field_request();
    fn test_field_choice() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_slot>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).choice) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_slot),
                "::",
                stringify!(choice)
            )
        );
    }
    test_field_choice();
    fn test_field_n_held() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_slot>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_held) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_slot),
                "::",
                stringify!(n_held)
            )
        );
    }
    test_field_n_held();
    fn test_field_n_prompt() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_slot>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_prompt) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_slot),
                "::",
                stringify!(n_prompt)
            )
        );
    }
    test_field_n_prompt();
    fn test_field_n_done() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_slot>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_done) as usize - ptr as usize
            },
            28usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_slot),
                "::",
                stringify!(n_done)
            )
        );
    }
    test_field_n_done();
    fn test_field_n_cached() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_slot>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_cached) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_slot),
                "::",
                stringify!(n_cached)
            )
        );
    }
    test_field_n_cached();
    fn test_field_n_generated() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_slot>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_generated) as usize - ptr as usize
            },
            36usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_slot),
                "::",
                stringify!(n_generated)
            )
        );
    }
    test_field_n_generated();
}
impl Default for tlp_slot {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Get the use of a sequence, as it was after the engine's last step.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param engine    engine
    /// @param seq       0 to n_seq - 1
    /// @return TLP_OK; TLP_EINVAL if the session has no such sequence
    /// @since 0.1
    pub fn tlp_engine_get_slot(out: *mut tlp_slot, engine: *mut tlp_engine, seq: i32)
        -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Save a sequence of an engine to a file, by the rules of tlp_session_save.
    ///
    /// The work is done between two steps, and the call returns after it.  A request
    /// whose prompt begins like the tokens of a saved sequence need not evaluate them
    /// once the file is loaded.
    ///
    /// @par Threads
    /// Any thread, also while another one steps, and after tlp_engine_stop; not a
    /// callback of the engine.
    ///
    /// @param[out] n_held  positions that were saved; NULL = not wanted
    /// @param engine       engine
    /// @param seq          0 to n_seq - 1; free, as tlp_slot tells
    /// @param path         file to write; not a file of the model
    /// @return the statuses of tlp_session_save_file; TLP_EINVAL if the session has no
    ///         such sequence; TLP_EBUSY if a request uses it
    /// @since 0.1
    pub fn tlp_engine_save_file(
        n_held: *mut i32,
        engine: *mut tlp_engine,
        seq: i32,
        path: *const ::std::os::raw::c_char,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Load a sequence of an engine from a file, by the rules of tlp_session_load.
    ///
    /// Later prompts that begin like it begin with a copy.  Threads as with
    /// tlp_engine_save_file.
    ///
    /// @param[out] n_held  positions that were loaded; NULL = not wanted
    /// @param engine       engine
    /// @param seq          sequence to replace, 0 to n_seq - 1; free
    /// @param path         file of tlp_engine_save_file or tlp_session_save_file
    /// @return the statuses of tlp_session_load_file; TLP_EINVAL if the session has no
    ///         such sequence; TLP_EBUSY if a request uses it
    /// @since 0.1
    pub fn tlp_engine_load_file(
        n_held: *mut i32,
        engine: *mut tlp_engine,
        seq: i32,
        path: *const ::std::os::raw::c_char,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Forget what a sequence of an engine holds, which frees its pages.  Threads as
    /// with tlp_engine_save_file.
    ///
    /// @param[out] n_held  positions that were forgotten; NULL = not wanted
    /// @param engine       engine
    /// @param seq          0 to n_seq - 1; free
    /// @return TLP_OK; TLP_EINVAL if the session has no such sequence; TLP_EBUSY if a
    ///         request uses it; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_engine_clear(n_held: *mut i32, engine: *mut tlp_engine, seq: i32) -> tlp_status;
}
/// Options of tlp_model_quantize.
#[repr(C)]
pub struct tlp_quantize_options {
    /// sizeof(tlp_quantize_options)
    pub struct_size: usize,
    /// 0 = all cores; at most 256
    pub n_thread: i32,
    /// 1 = every matrix gets exactly the type
    pub pure_: i32,
    /// or NULL
    pub progress: tlp_progress_fn,
    /// last argument of progress
    pub progress_data: *mut ::std::os::raw::c_void,
    /// importance matrix, of tlp_model_imatrix or of
    /// llama.cpp, GGUF or the older format;
    /// NULL = columns count alike
    pub imatrix: *const ::std::os::raw::c_char,
}
#[test]
fn bindgen_test_layout_tlp_quantize_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_quantize_options>(),
        40usize,
        concat!("Size of: ", stringify!(tlp_quantize_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_quantize_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_quantize_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_thread() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_thread) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_options),
                "::",
                stringify!(n_thread)
            )
        );
    }
    test_field_n_thread();
    fn test_field_pure() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).pure_) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_options),
                "::",
                stringify!(pure_)
            )
        );
    }
    test_field_pure();
    fn test_field_progress() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_options),
                "::",
                stringify!(progress)
            )
        );
    }
    test_field_progress();
    fn test_field_progress_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress_data) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_options),
                "::",
                stringify!(progress_data)
            )
        );
    }
    test_field_progress_data();
    fn test_field_imatrix() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).imatrix) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_options),
                "::",
                stringify!(imatrix)
            )
        );
    }
    test_field_imatrix();
}
impl Default for tlp_quantize_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Result of tlp_model_quantize.
#[repr(C)]
pub struct tlp_quantize_result {
    /// set by the caller
    pub struct_size: usize,
    /// tensors in the file
    pub n_tensor: i32,
    /// tensors with another type than before; all
    /// further tensors are copied byte by byte
    pub n_converted: i32,
    /// matrices with another type than the wanted
    /// one, because their row length is no multiple
    /// of its block
    pub n_fallback: i32,
    /// bytes of all tensors in the new file
    pub n_bytes: i64,
}
#[test]
fn bindgen_test_layout_tlp_quantize_result() {
    assert_eq!(
        ::std::mem::size_of::<tlp_quantize_result>(),
        32usize,
        concat!("Size of: ", stringify!(tlp_quantize_result))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_quantize_result>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_quantize_result))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_result),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_tensor() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_tensor) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_result),
                "::",
                stringify!(n_tensor)
            )
        );
    }
    test_field_n_tensor();
    fn test_field_n_converted() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_converted) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_result),
                "::",
                stringify!(n_converted)
            )
        );
    }
    test_field_n_converted();
    fn test_field_n_fallback() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_fallback) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_result),
                "::",
                stringify!(n_fallback)
            )
        );
    }
    test_field_n_fallback();
    fn test_field_n_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_quantize_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_bytes) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_quantize_result),
                "::",
                stringify!(n_bytes)
            )
        );
    }
    test_field_n_bytes();
}
impl Default for tlp_quantize_result {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Write a model to a GGUF file, with its matrices in another type or unchanged.
    ///
    /// The types are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q3_K, Q4_K, Q5_K,
    /// Q6_K and MXFP4, and the mixtures Q2_K, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M,
    /// Q5_K_S, Q5_K_M, IQ4_NL and IQ4_XS, which give some matrices of some layers a
    /// better type, as llama.cpp does under these names.  Vectors keep their type.
    /// Metadata is kept, with these exceptions: general.file_type and
    /// general.quantization_version describe the new type, and the split.* keys are
    /// left out, because a split model or a folder becomes one file.
    ///
    /// Unless `pure` is set, the matrix that makes the logits (output.weight, or
    /// token_embd.weight in a model without it) gets Q6_K instead of a type with
    /// fewer bits.  With `pure` a mixture is the type in its name.  If the row length
    /// is no multiple of 256, Q2_K and Q3_K become Q4_0, Q4_K becomes Q5_0, Q5_K
    /// becomes Q5_1, Q6_K becomes Q8_0, and IQ4_XS becomes IQ4_NL.  If it is no
    /// multiple of 32, types with blocks of 32 become F16.
    ///
    /// An importance matrix says for each column of a matrix how much errors of its
    /// weights count: the mean square of the activations on some text.  The search
    /// for the steps of a block then minimises the errors of products.  It serves all
    /// quantised types but Q8_0; with it, llama.cpp's mixtures Q4_0, Q5_0, IQ4_NL and
    /// IQ4_XS choose other types for some of ffn_down, and so does the library.
    /// Entries without a tensor and matrices without an entry are warned of.
    ///
    /// The library refuses a value that is not finite or that lies beyond the range
    /// of the type (65504; for BF16, the range of f32).  The new file appears under
    /// its name when it is complete; a failure leaves an existing file as it was.
    ///
    /// @param[out] result  NULL is allowed; otherwise the caller sets struct_size
    /// @param model        model
    /// @param path         file to write, UTF-8; not a file of the model
    /// @param type         name of the type or the mixture; NULL = types stay
    /// @param opts         NULL = defaults
    /// @return TLP_OK; TLP_EINVAL for an unknown type, for a file of the model, or
    ///         for a model that was opened with vocab_only; TLP_EIO if the file
    ///         cannot be written or the importance matrix cannot be read;
    ///         TLP_EFORMAT for a value that the type cannot hold, or for a malformed
    ///         importance matrix; TLP_EMISMATCH for one of another model;
    ///         TLP_ECANCELED by progress
    /// @since 0.1
    pub fn tlp_model_quantize(
        result: *mut tlp_quantize_result,
        model: *const tlp_model,
        path: *const ::std::os::raw::c_char,
        type_: *const ::std::os::raw::c_char,
        opts: *const tlp_quantize_options,
    ) -> tlp_status;
}
/// Options of tlp_model_imatrix.
///
/// `session` describes the session that evaluates the windows of the text: n_ctx
/// (0 = 512, or all tokens if they are fewer), n_thread, compute, kv_type, isa.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_imatrix_options {
    /// sizeof(tlp_imatrix_options)
    pub struct_size: usize,
    /// NULL = defaults
    pub session: *const tlp_session_options,
    /// name of the text, UTF-8, for the file's
    /// imatrix.datasets; NULL = none
    pub dataset: *const ::std::os::raw::c_char,
    /// or NULL
    pub progress: tlp_progress_fn,
    /// last argument of progress
    pub progress_data: *mut ::std::os::raw::c_void,
}
#[test]
fn bindgen_test_layout_tlp_imatrix_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_imatrix_options>(),
        40usize,
        concat!("Size of: ", stringify!(tlp_imatrix_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_imatrix_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_imatrix_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_imatrix_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_imatrix_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_session() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_imatrix_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).session) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_imatrix_options),
                "::",
                stringify!(session)
            )
        );
    }
    test_field_session();
    fn test_field_dataset() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_imatrix_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).dataset) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_imatrix_options),
                "::",
                stringify!(dataset)
            )
        );
    }
    test_field_dataset();
    fn test_field_progress() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_imatrix_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_imatrix_options),
                "::",
                stringify!(progress)
            )
        );
    }
    test_field_progress();
    fn test_field_progress_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_imatrix_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress_data) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_imatrix_options),
                "::",
                stringify!(progress_data)
            )
        );
    }
    test_field_progress_data();
}
impl Default for tlp_imatrix_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Result of tlp_model_imatrix.
#[repr(C)]
pub struct tlp_imatrix_result {
    /// set by the caller
    pub struct_size: usize,
    /// tensors with importances
    pub n_entry: i32,
    /// windows of the text
    pub n_window: i32,
    /// tokens of the text
    pub n_token: i64,
    /// matrices of experts that no token has chosen; a
    /// warning says so if there are any
    pub n_unused: i32,
}
#[test]
fn bindgen_test_layout_tlp_imatrix_result() {
    assert_eq!(
        ::std::mem::size_of::<tlp_imatrix_result>(),
        32usize,
        concat!("Size of: ", stringify!(tlp_imatrix_result))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_imatrix_result>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_imatrix_result))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_imatrix_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_imatrix_result),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_entry() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_imatrix_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_entry) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_imatrix_result),
                "::",
                stringify!(n_entry)
            )
        );
    }
    test_field_n_entry();
    fn test_field_n_window() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_imatrix_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_window) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_imatrix_result),
                "::",
                stringify!(n_window)
            )
        );
    }
    test_field_n_window();
    fn test_field_n_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_imatrix_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_token) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_imatrix_result),
                "::",
                stringify!(n_token)
            )
        );
    }
    test_field_n_token();
    fn test_field_n_unused() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_imatrix_result>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_unused) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_imatrix_result),
                "::",
                stringify!(n_unused)
            )
        );
    }
    test_field_n_unused();
}
impl Default for tlp_imatrix_result {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Run a model over a text, and write how much the columns of its matrices count:
    /// an importance matrix for tlp_quantize_options.imatrix.
    ///
    /// The file is GGUF and has the form of llama-imatrix: NAME.in_sum2 with the sums
    /// over all tokens of the squares of what each column multiplies, and
    /// NAME.counts with the number of tokens, for all matrices of the layers.  Of
    /// experts each one has sums and a count of its own.  The matrix that makes the
    /// logits has no entry.  Each window of the text begins at position 0.
    ///
    /// @param[out] result  NULL is allowed; otherwise the caller sets struct_size
    /// @param model        model, such as an F16 file that will be quantised
    /// @param path         file to write, UTF-8; not a file of the model
    /// @param tokens       n ids of a text, such as 8192 tokens
    /// @param n            number of tokens, at least 2
    /// @param opts         NULL = defaults
    /// @return TLP_OK; TLP_EINVAL for an id that the model does not have, for a file
    ///         of the model, or for a model that was opened with vocab_only;
    ///         TLP_EFORMAT for activations that are not finite; TLP_EIO if the file
    ///         cannot be written; TLP_ECANCELED by progress
    /// @since 0.1
    pub fn tlp_model_imatrix(
        result: *mut tlp_imatrix_result,
        model: *mut tlp_model,
        path: *const ::std::os::raw::c_char,
        tokens: *const i32,
        n: usize,
        opts: *const tlp_imatrix_options,
    ) -> tlp_status;
}
/// mean of the KL divergence and of -log p
pub const TLP_OBJECTIVE_BOTH: tlp_objective = 0;
/// KL divergence from the serial model
pub const TLP_OBJECTIVE_KL: tlp_objective = 1;
/// -log p of the text
pub const TLP_OBJECTIVE_NLL: tlp_objective = 2;
/// What tlp_plan_make minimises, as a mean over all predictions on the text.
///
/// The KL divergence from the serial model is less noisy than -log p of the
/// text.  KL alone chooses plans that predict other text worse than necessary.
pub type tlp_objective = ::std::os::raw::c_uint;
/// leave out exchanges
pub const TLP_MAKE_NOSYNC: tlp_make_modes = 65536;
/// Bits of tlp_plan_make_options.modes beside 1 << TLP_MODE_...
pub type tlp_make_modes = ::std::os::raw::c_uint;
/// The best plan of one depth, or of one number of exchanges, that a search has
/// found.
#[repr(C)]
pub struct tlp_plan_point {
    /// set by the library
    pub struct_size: usize,
    /// stages
    pub depth: i32,
    /// 1 = the search returns this plan
    pub chosen: i32,
    /// borrowed for this call
    pub plan: *const tlp_plan,
    /// mean KL divergence on the text, nats
    pub kl: f64,
    /// share of predictions with the top token of the
    /// serial model, 0 to 1
    pub top1_agreement: f64,
    /// perplexity of the text
    pub ppl: f64,
    /// exchanges that a token waits for, on n_rank
    /// ranks
    pub exchanges: i32,
    /// 2; with TLP_MAKE_NOSYNC, n_track of the
    /// options
    pub n_rank: i32,
}
#[test]
fn bindgen_test_layout_tlp_plan_point() {
    assert_eq!(
        ::std::mem::size_of::<tlp_plan_point>(),
        56usize,
        concat!("Size of: ", stringify!(tlp_plan_point))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_plan_point>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_plan_point))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_point),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_depth() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).depth) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_point),
                "::",
                stringify!(depth)
            )
        );
    }
    test_field_depth();
    fn test_field_chosen() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).chosen) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_point),
                "::",
                stringify!(chosen)
            )
        );
    }
    test_field_chosen();
    fn test_field_plan() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).plan) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_point),
                "::",
                stringify!(plan)
            )
        );
    }
    test_field_plan();
    fn test_field_kl() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_point),
                "::",
                stringify!(kl)
            )
        );
    }
    test_field_kl();
    fn test_field_top1_agreement() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1_agreement) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_point),
                "::",
                stringify!(top1_agreement)
            )
        );
    }
    test_field_top1_agreement();
    fn test_field_ppl() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ppl) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_point),
                "::",
                stringify!(ppl)
            )
        );
    }
    test_field_ppl();
    fn test_field_exchanges() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).exchanges) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_point),
                "::",
                stringify!(exchanges)
            )
        );
    }
    test_field_exchanges();
    fn test_field_n_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_rank) as usize - ptr as usize
            },
            52usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_point),
                "::",
                stringify!(n_rank)
            )
        );
    }
    test_field_n_rank();
}
impl Default for tlp_plan_point {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Receive one point of the curve of quality over depth or exchanges.
///
/// @param point      point, borrowed for this call
/// @param user_data  pointer from the options
pub type tlp_plan_point_fn = ::std::option::Option<
    unsafe extern "C" fn(point: *const tlp_plan_point, user_data: *mut ::std::os::raw::c_void),
>;
/// Seconds of work of a rank.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tlp_link_rates {
    /// seconds per token and half stage (attention or
    /// feed-forward)
    pub half: f64,
    /// seconds per token and byte of the rank's weights
    pub byte: f64,
    /// seconds per token, query head and attended position
    pub attend: f64,
    /// seconds per token and all-reduce beyond the table's
    /// time, because ranks are not always equally fast
    pub stall: f64,
}
#[test]
fn bindgen_test_layout_tlp_link_rates() {
    assert_eq!(
        ::std::mem::size_of::<tlp_link_rates>(),
        32usize,
        concat!("Size of: ", stringify!(tlp_link_rates))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_link_rates>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_link_rates))
    );
    fn test_field_half() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link_rates>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).half) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link_rates),
                "::",
                stringify!(half)
            )
        );
    }
    test_field_half();
    fn test_field_byte() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link_rates>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).byte) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link_rates),
                "::",
                stringify!(byte)
            )
        );
    }
    test_field_byte();
    fn test_field_attend() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link_rates>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).attend) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link_rates),
                "::",
                stringify!(attend)
            )
        );
    }
    test_field_attend();
    fn test_field_stall() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link_rates>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).stall) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link_rates),
                "::",
                stringify!(stall)
            )
        );
    }
    test_field_stall();
}
/// Speed of the ranks of a session and of the link between them.
///
/// The message sizes in `size` rise; allreduce[i], late[i] and send[i] belong to
/// size[i].  docs/design.md has the formula that uses these numbers.
#[repr(C)]
pub struct tlp_link {
    /// set by the caller
    pub struct_size: usize,
    /// of the model; "" fits any model
    pub fingerprint: [::std::os::raw::c_char; 72usize],
    /// ranks that measured
    pub n_rank: i32,
    /// threads per rank
    pub n_thread: i32,
    /// tokens in a step of a prefill
    pub n_batch: i32,
    /// entries in use; 0 with one rank
    pub n_size: i32,
    /// work in steps of one token
    pub decode: tlp_link_rates,
    /// work in steps of many tokens
    pub prefill: tlp_link_rates,
    /// seconds per byte of a rank's output head
    pub head_byte: f64,
    /// seconds of a command from rank 0, one way
    pub command: f64,
    /// message size, in floats
    pub size: [i64; 16usize],
    /// seconds from the call of a rank until
    /// all further ranks have the sum
    pub allreduce: [f64; 16usize],
    /// seconds in the call of the rank that
    /// arrives last
    pub late: [f64; 16usize],
    /// seconds to the next rank, one way
    pub send: [f64; 16usize],
}
#[test]
fn bindgen_test_layout_tlp_link() {
    assert_eq!(
        ::std::mem::size_of::<tlp_link>(),
        688usize,
        concat!("Size of: ", stringify!(tlp_link))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_link>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_link))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_fingerprint() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).fingerprint) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(fingerprint)
            )
        );
    }
    test_field_fingerprint();
    fn test_field_n_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_rank) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(n_rank)
            )
        );
    }
    test_field_n_rank();
    fn test_field_n_thread() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_thread) as usize - ptr as usize
            },
            84usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(n_thread)
            )
        );
    }
    test_field_n_thread();
    fn test_field_n_batch() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_batch) as usize - ptr as usize
            },
            88usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(n_batch)
            )
        );
    }
    test_field_n_batch();
    fn test_field_n_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_size) as usize - ptr as usize
            },
            92usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(n_size)
            )
        );
    }
    test_field_n_size();
    fn test_field_decode() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).decode) as usize - ptr as usize
            },
            96usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(decode)
            )
        );
    }
    test_field_decode();
    fn test_field_prefill() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).prefill) as usize - ptr as usize
            },
            128usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(prefill)
            )
        );
    }
    test_field_prefill();
    fn test_field_head_byte() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).head_byte) as usize - ptr as usize
            },
            160usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(head_byte)
            )
        );
    }
    test_field_head_byte();
    fn test_field_command() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).command) as usize - ptr as usize
            },
            168usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(command)
            )
        );
    }
    test_field_command();
    fn test_field_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).size) as usize - ptr as usize
            },
            176usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(size)
            )
        );
    }
    test_field_size();
    fn test_field_allreduce() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).allreduce) as usize - ptr as usize
            },
            304usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(allreduce)
            )
        );
    }
    test_field_allreduce();
    fn test_field_late() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).late) as usize - ptr as usize
            },
            432usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(late)
            )
        );
    }
    test_field_late();
    fn test_field_send() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_link>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).send) as usize - ptr as usize
            },
            560usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_link),
                "::",
                stringify!(send)
            )
        );
    }
    test_field_send();
}
impl Default for tlp_link {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Options of tlp_plan_make.
///
/// Exactly one of depth, max_kl, speedup and exchanges is the target.
///
/// The search joins layers into groups, or leaves out exchanges, or does both,
/// by `modes`.  Only a search that may leave out exchanges reaches a target of
/// `exchanges`, and it does not reach a `depth`.
///
/// `session` describes the session that evaluates the windows of the text.  The
/// search reads nine fields of it: n_ctx is the length of a window in tokens (0
/// means 512); n_thread, n_thread_prefill, spin_us, pool, compute, kv_type and
/// isa have their usual meaning; n_rank is the number of ranks for which
/// `speedup` is predicted with `link` (0 means link->n_rank).  The search itself
/// runs on one rank on the CPU.
#[repr(C)]
pub struct tlp_plan_make_options {
    /// sizeof(tlp_plan_make_options)
    pub struct_size: usize,
    /// NULL = defaults
    pub session: *const tlp_session_options,
    /// target: number of stages
    pub depth: i32,
    /// most layers in a group; 0 = 4
    pub max_group: i32,
    /// target: least depth, or fewest exchanges,
    /// with at most this mean KL divergence, nats
    pub max_kl: f64,
    /// target: serial / plan; of the predicted
    /// seconds per decoded token with `link`, of the
    /// number of stages without, which
    /// TLP_MAKE_NOSYNC does not change
    pub speedup: f64,
    /// from tlp_session_measure, for speedup; or
    /// NULL
    pub link: *const tlp_link,
    /// allowed modes: bits 1 << TLP_MODE_LP,
    /// 1 << TLP_MODE_PAR, 1 << TLP_MODE_ASYM,
    /// TLP_MAKE_NOSYNC.  0 = TLP_MAKE_NOSYNC for a
    /// target of `exchanges`, the three modes for
    /// other targets
    pub modes: u32,
    /// enum tlp_objective
    pub objective: i32,
    /// order of the windows
    pub seed: u64,
    /// most memory for intermediate results that
    /// save time, bytes; 0 = 768 MiB
    pub max_bytes: u64,
    /// file of scores: read if it exists, and
    /// replaced from time to time; NULL = none
    pub resume: *const ::std::os::raw::c_char,
    /// receives one point per depth or number of
    /// exchanges, the serial plan first, then
    /// `start`; or NULL
    pub point: tlp_plan_point_fn,
    /// last argument of point
    pub point_data: *mut ::std::os::raw::c_void,
    /// or NULL
    pub progress: tlp_progress_fn,
    /// last argument of progress
    pub progress_data: *mut ::std::os::raw::c_void,
    /// target: at most this number of exchanges that
    /// a token waits for, on n_track ranks; 1 to
    /// 2 n_layer
    pub exchanges: i32,
    /// tracks of plans that leave out exchanges: 2 to
    /// 64, at most the query heads; 0 = 2
    pub n_track: i32,
    /// plan of the model from which the search sets
    /// out; NULL = the serial plan
    pub start: *const tlp_plan,
}
#[test]
fn bindgen_test_layout_tlp_plan_make_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_plan_make_options>(),
        128usize,
        concat!("Size of: ", stringify!(tlp_plan_make_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_plan_make_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_plan_make_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_session() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).session) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(session)
            )
        );
    }
    test_field_session();
    fn test_field_depth() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).depth) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(depth)
            )
        );
    }
    test_field_depth();
    fn test_field_max_group() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).max_group) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(max_group)
            )
        );
    }
    test_field_max_group();
    fn test_field_max_kl() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).max_kl) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(max_kl)
            )
        );
    }
    test_field_max_kl();
    fn test_field_speedup() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).speedup) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(speedup)
            )
        );
    }
    test_field_speedup();
    fn test_field_link() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).link) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(link)
            )
        );
    }
    test_field_link();
    fn test_field_modes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).modes) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(modes)
            )
        );
    }
    test_field_modes();
    fn test_field_objective() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).objective) as usize - ptr as usize
            },
            52usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(objective)
            )
        );
    }
    test_field_objective();
    fn test_field_seed() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seed) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(seed)
            )
        );
    }
    test_field_seed();
    fn test_field_max_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).max_bytes) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(max_bytes)
            )
        );
    }
    test_field_max_bytes();
    fn test_field_resume() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).resume) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(resume)
            )
        );
    }
    test_field_resume();
    fn test_field_point() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).point) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(point)
            )
        );
    }
    test_field_point();
    fn test_field_point_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).point_data) as usize - ptr as usize
            },
            88usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(point_data)
            )
        );
    }
    test_field_point_data();
    fn test_field_progress() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress) as usize - ptr as usize
            },
            96usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(progress)
            )
        );
    }
    test_field_progress();
    fn test_field_progress_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress_data) as usize - ptr as usize
            },
            104usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(progress_data)
            )
        );
    }
    test_field_progress_data();
    fn test_field_exchanges() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).exchanges) as usize - ptr as usize
            },
            112usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(exchanges)
            )
        );
    }
    test_field_exchanges();
    fn test_field_n_track() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_track) as usize - ptr as usize
            },
            116usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(n_track)
            )
        );
    }
    test_field_n_track();
    fn test_field_start() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_make_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).start) as usize - ptr as usize
            },
            120usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_make_options),
                "::",
                stringify!(start)
            )
        );
    }
    test_field_start();
}
impl Default for tlp_plan_make_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Choose which layers run side by side, and in which mode; or choose which
    /// exchanges are left out.
    ///
    /// The plan keeps the model close to the serial model on a text: it minimises
    /// the objective over windows of the text, each evaluated from position 0.  The
    /// search joins neighbouring layers, or leaves out exchanges, one by one.  A
    /// search that may do both takes the change that costs least for each exchange
    /// that it saves; a group saves several at once, so that the search passes over
    /// numbers of exchanges.  At each depth or number of exchanges it swaps groups
    /// for other groups, or a left-out exchange for another, or a group for left-out
    /// exchanges, as long as a swap helps.  Where exchanges may be left out, it
    /// tries swaps once more at the target, on more windows.  Equal arguments give
    /// equal plans on machines with equal instruction sets.  The plan records how it
    /// was made in its key "made".
    ///
    /// With `start` the search sets out from that plan instead of the serial plan,
    /// after it has tried swaps in it: for fewer exchanges than a known plan has, or
    /// for the plan's number once more, on another text or on a file whose units
    /// tlp_plan_bake has moved.
    ///
    /// @param[out] out  the plan; the caller frees it with tlp_plan_free
    /// @param model     model
    /// @param tokens    n ids of a calibration text; 2048 tokens are a good number
    /// @param n         number of tokens; a last window of one token is left out
    /// @param opts      options with one target
    /// @return TLP_OK; TLP_EUNREACHED if the search finds no plan that reaches the
    ///         target (few exchanges are out of reach beside a group); TLP_ENOTSUP
    ///         for a start with adjustments, with other modes or tracks than the
    ///         options allow, or without all layers in their order; TLP_EIO,
    ///         TLP_EFORMAT or TLP_EMISMATCH for the file of scores (TLP_EMISMATCH if
    ///         it belongs to another model, text or other options); TLP_EMISMATCH for
    ///         a start of another model; TLP_ECANCELED by progress, after the scores
    ///         are saved
    /// @since 0.1
    pub fn tlp_plan_make(
        out: *mut *mut tlp_plan,
        model: *mut tlp_model,
        tokens: *const i32,
        n: usize,
        opts: *const tlp_plan_make_options,
    ) -> tlp_status;
}
/// Adjustments of a plan.
#[repr(C)]
pub struct tlp_plan_adjust_info {
    /// set by the caller
    pub struct_size: usize,
    /// gains
    pub n_gain: i32,
    /// norms
    pub n_norm: i32,
    /// low-rank corrections
    pub n_low_rank: i32,
    /// bytes of their file; 0 = no adjustments
    pub n_bytes: u64,
    /// checksum of their file, borrowed from the plan; or
    /// NULL
    pub sha256: *const ::std::os::raw::c_char,
    /// matrices with LoRA
    pub n_lora: i32,
}
#[test]
fn bindgen_test_layout_tlp_plan_adjust_info() {
    assert_eq!(
        ::std::mem::size_of::<tlp_plan_adjust_info>(),
        48usize,
        concat!("Size of: ", stringify!(tlp_plan_adjust_info))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_plan_adjust_info>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_plan_adjust_info))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_info),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_gain() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_gain) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_info),
                "::",
                stringify!(n_gain)
            )
        );
    }
    test_field_n_gain();
    fn test_field_n_norm() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_norm) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_info),
                "::",
                stringify!(n_norm)
            )
        );
    }
    test_field_n_norm();
    fn test_field_n_low_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_low_rank) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_info),
                "::",
                stringify!(n_low_rank)
            )
        );
    }
    test_field_n_low_rank();
    fn test_field_n_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_bytes) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_info),
                "::",
                stringify!(n_bytes)
            )
        );
    }
    test_field_n_bytes();
    fn test_field_sha256() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).sha256) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_info),
                "::",
                stringify!(sha256)
            )
        );
    }
    test_field_sha256();
    fn test_field_n_lora() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_lora) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_info),
                "::",
                stringify!(n_lora)
            )
        );
    }
    test_field_n_lora();
}
impl Default for tlp_plan_adjust_info {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Count the adjustments of a plan.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param plan      plan
    /// @return TLP_OK
    /// @since 0.1
    pub fn tlp_plan_get_adjust(out: *mut tlp_plan_adjust_info, plan: *const tlp_plan)
        -> tlp_status;
}
/// Options of tlp_plan_adjust.
///
/// At least one of gains, norms and rank is set.
///
/// `session` describes the session that evaluates the windows of the text.  The
/// fit reads eight fields of it: n_ctx is the length of a window in tokens (0
/// means 512); n_thread, n_thread_prefill, spin_us, pool, compute, kv_type and
/// isa have their usual meaning.  The fit itself runs on one rank on the CPU.
#[repr(C)]
pub struct tlp_plan_adjust_options {
    /// sizeof(tlp_plan_adjust_options)
    pub struct_size: usize,
    /// NULL = defaults
    pub session: *const tlp_session_options,
    /// 1 = fit gains of groups
    pub gains: i32,
    /// 1 = fit weights of norms
    pub norms: i32,
    /// largest rank of low-rank corrections: a
    /// multiple of 4, at most n_embd; 0 = no such
    /// corrections
    pub rank: i32,
    /// share of the windows for validation, above 0
    /// and below 1; 0 = 0.25
    pub held_out: f64,
    /// choice of the windows for validation
    pub seed: u64,
    /// or NULL
    pub progress: tlp_progress_fn,
    /// last argument of progress
    pub progress_data: *mut ::std::os::raw::c_void,
}
#[test]
fn bindgen_test_layout_tlp_plan_adjust_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_plan_adjust_options>(),
        64usize,
        concat!("Size of: ", stringify!(tlp_plan_adjust_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_plan_adjust_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_plan_adjust_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_session() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).session) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_options),
                "::",
                stringify!(session)
            )
        );
    }
    test_field_session();
    fn test_field_gains() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).gains) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_options),
                "::",
                stringify!(gains)
            )
        );
    }
    test_field_gains();
    fn test_field_norms() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).norms) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_options),
                "::",
                stringify!(norms)
            )
        );
    }
    test_field_norms();
    fn test_field_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).rank) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_options),
                "::",
                stringify!(rank)
            )
        );
    }
    test_field_rank();
    fn test_field_held_out() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).held_out) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_options),
                "::",
                stringify!(held_out)
            )
        );
    }
    test_field_held_out();
    fn test_field_seed() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seed) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_options),
                "::",
                stringify!(seed)
            )
        );
    }
    test_field_seed();
    fn test_field_progress() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_options),
                "::",
                stringify!(progress)
            )
        );
    }
    test_field_progress();
    fn test_field_progress_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress_data) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_options),
                "::",
                stringify!(progress_data)
            )
        );
    }
    test_field_progress_data();
}
impl Default for tlp_plan_adjust_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Quality before and after tlp_plan_adjust, on the windows for validation.
#[repr(C)]
pub struct tlp_plan_adjust_report {
    /// set by the caller
    pub struct_size: usize,
    /// windows of the text
    pub n_window: i32,
    /// windows for validation
    pub n_held_out: i32,
    /// mean KL divergence from the serial model, nats
    pub kl_before: f64,
    /// mean KL divergence from the serial model, nats
    pub kl_after: f64,
    /// perplexity
    pub ppl_before: f64,
    /// perplexity
    pub ppl_after: f64,
    /// agreement with the serial model, 0 to 1
    pub top1_before: f64,
    /// agreement with the serial model, 0 to 1
    pub top1_after: f64,
    /// gains that help; the plan contains them
    pub n_gain: i32,
    /// norms that help; the plan contains them
    pub n_norm: i32,
    /// low-rank corrections that help; the plan contains
    /// them
    pub n_low_rank: i32,
    /// bytes of the adjustments
    pub n_bytes: u64,
}
#[test]
fn bindgen_test_layout_tlp_plan_adjust_report() {
    assert_eq!(
        ::std::mem::size_of::<tlp_plan_adjust_report>(),
        88usize,
        concat!("Size of: ", stringify!(tlp_plan_adjust_report))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_plan_adjust_report>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_plan_adjust_report))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_window() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_window) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(n_window)
            )
        );
    }
    test_field_n_window();
    fn test_field_n_held_out() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_held_out) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(n_held_out)
            )
        );
    }
    test_field_n_held_out();
    fn test_field_kl_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl_before) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(kl_before)
            )
        );
    }
    test_field_kl_before();
    fn test_field_kl_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl_after) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(kl_after)
            )
        );
    }
    test_field_kl_after();
    fn test_field_ppl_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ppl_before) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(ppl_before)
            )
        );
    }
    test_field_ppl_before();
    fn test_field_ppl_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ppl_after) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(ppl_after)
            )
        );
    }
    test_field_ppl_after();
    fn test_field_top1_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1_before) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(top1_before)
            )
        );
    }
    test_field_top1_before();
    fn test_field_top1_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1_after) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(top1_after)
            )
        );
    }
    test_field_top1_after();
    fn test_field_n_gain() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_gain) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(n_gain)
            )
        );
    }
    test_field_n_gain();
    fn test_field_n_norm() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_norm) as usize - ptr as usize
            },
            68usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(n_norm)
            )
        );
    }
    test_field_n_norm();
    fn test_field_n_low_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_low_rank) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(n_low_rank)
            )
        );
    }
    test_field_n_low_rank();
    fn test_field_n_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_adjust_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_bytes) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_adjust_report),
                "::",
                stringify!(n_bytes)
            )
        );
    }
    test_field_n_bytes();
}
impl Default for tlp_plan_adjust_report {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Fit adjustments of the groups and tracks of a plan.
    ///
    /// The fit is a regression in closed form, stage by stage, with the activations
    /// of the adjusted plan itself.  Windows for validation decide three questions:
    /// which adjustments stay (those that bring the activations closer to the serial
    /// model), how strongly each is regularised, and which rank up to `rank` each
    /// low-rank correction gets.  If the KL divergence from the serial model falls
    /// on these windows, the library fits everything that stays once more, on all
    /// windows.
    ///
    /// The work keeps activations of all windows: 4 n_embd n bytes for each of the
    /// stream, the stream behind a stage, the serial model's stream and its inputs
    /// of the two halves of each layer of a stage, and for each of T tracks twice.
    ///
    /// tlp_plan_save writes the adjustments to a second file.
    ///
    /// @param[out] out     the adjusted plan; the caller frees it with tlp_plan_free
    /// @param[out] report  NULL is allowed; otherwise the caller sets struct_size;
    ///                     also filled in with TLP_ENOGAIN
    /// @param plan         plan without adjustments and with at least one group in
    ///                     mode lp, par or asym, or one half-layer that reads streams
    ///                     which differ between tracks
    /// @param tokens       n ids of a calibration text, such as 8192 tokens
    /// @param n            number of tokens, at least two windows
    /// @param opts         options
    /// @return TLP_OK; TLP_ENOGAIN if no adjustment improves the plan; TLP_ENOTSUP
    ///         for a plan that changes the order of layers, and for norms alone of
    ///         tracks of models without norms of inputs; TLP_ECANCELED by progress
    /// @since 0.1
    pub fn tlp_plan_adjust(
        out: *mut *mut tlp_plan,
        report: *mut tlp_plan_adjust_report,
        plan: *const tlp_plan,
        tokens: *const i32,
        n: usize,
        opts: *const tlp_plan_adjust_options,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Make a plan for another file of a model.
    ///
    /// A file with other tensor types has another fingerprint, so a plan for one
    /// file is refused for the other file.  This function makes an equal plan for
    /// the other file, with the adjustments of the plan, though they were fitted to
    /// the first file.
    ///
    /// Both files must be of one model: hyper-parameters and the values of all norms
    /// and biases, which the type of the matrices does not change, must be equal.  A
    /// model that was trained further differs in these values, unless the training
    /// left them unchanged.  Where the plan leaves out exchanges, hidden units and
    /// heads must have one order in both files, because their order decides what the
    /// plan computes (tlp_plan_bake).
    ///
    /// @param[out] out  the new plan; the caller frees it with tlp_plan_free
    /// @param plan      plan for the first file
    /// @param model     model of the other file; the new plan keeps it alive
    /// @return TLP_OK; TLP_EMISMATCH, with a text that names the difference;
    ///         TLP_EINVAL for a model that was opened with vocab_only
    /// @since 0.1
    pub fn tlp_plan_carry(
        out: *mut *mut tlp_plan,
        plan: *const tlp_plan,
        model: *mut tlp_model,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Write the model of a plan to a file with its matrices in another type, and
    /// the plan for that file: tlp_model_quantize and tlp_plan_carry in one call.
    ///
    /// The model's file gets its name after the plan is complete: if the call fails
    /// or is canceled, both old files stay as they were.
    ///
    /// @param[out] out     the plan for the new file, with the adjustments of
    ///                     `plan`; it keeps the new file's model open; the caller
    ///                     frees it with tlp_plan_free
    /// @param[out] result  NULL is allowed; otherwise the caller sets struct_size
    /// @param plan         plan
    /// @param path         file to write; none of the files of the plan's model
    /// @param plan_path    file for the new plan, JSON, as tlp_plan_save writes it;
    ///                     NULL = none
    /// @param type         as in tlp_model_quantize
    /// @param opts         NULL = defaults
    /// @return as tlp_model_quantize
    /// @since 0.1
    pub fn tlp_plan_quantize(
        out: *mut *mut tlp_plan,
        result: *mut tlp_quantize_result,
        plan: *const tlp_plan,
        path: *const ::std::os::raw::c_char,
        plan_path: *const ::std::os::raw::c_char,
        type_: *const ::std::os::raw::c_char,
        opts: *const tlp_quantize_options,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Write the model of a plan to a file with the plan's LoRA added to its
    /// matrices, and the plan for that file, which has all adjustments but LoRA.
    ///
    /// The plan then computes the function that it computed with LoRA beside it, but
    /// for rounding.  The model's file gets its name after the plan is complete.
    ///
    /// @param[out] out     the plan for the new file; it keeps the new file's model
    ///                     open; the caller frees it with tlp_plan_free
    /// @param[out] result  NULL is allowed; otherwise the caller sets struct_size
    /// @param plan         plan with LoRA (tlp_plan_train)
    /// @param path         file to write; none of the files of the plan's model
    /// @param plan_path    file for the new plan, JSON, as tlp_plan_save writes it;
    ///                     NULL = none
    /// @param type         as in tlp_model_quantize; NULL = types stay, but matrices
    ///                     with LoRA of fewer than eight bits become Q8_0 (F16 if
    ///                     rows do not fit)
    /// @param opts         NULL = defaults
    /// @return TLP_EINVAL for a plan without LoRA; else as tlp_model_quantize
    /// @since 0.1
    pub fn tlp_plan_merge(
        out: *mut *mut tlp_plan,
        result: *mut tlp_quantize_result,
        plan: *const tlp_plan,
        path: *const ::std::os::raw::c_char,
        plan_path: *const ::std::os::raw::c_char,
        type_: *const ::std::os::raw::c_char,
        opts: *const tlp_quantize_options,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Write the plan's LoRA to a file that tlp_adapter_open and llama.cpp read as an
    /// adapter.
    ///
    /// The file has the LoRA alone: its products were trained for the plan, with its
    /// other adjustments, and mean little without it.
    ///
    /// @param plan  plan with LoRA
    /// @param path  file to write, GGUF; none of the files of the plan's model
    /// @return TLP_OK; TLP_EINVAL for a plan without LoRA; TLP_EIO
    /// @since 0.1
    pub fn tlp_plan_save_adapter(
        plan: *const tlp_plan,
        path: *const ::std::os::raw::c_char,
    ) -> tlp_status;
}
/// Options of tlp_plan_bake.
///
/// `session` describes the session that evaluates the windows of the text, as in
/// tlp_plan_adjust_options.
#[repr(C)]
pub struct tlp_plan_bake_options {
    /// sizeof(tlp_plan_bake_options)
    pub struct_size: usize,
    /// NULL = defaults
    pub session: *const tlp_session_options,
    /// share of the windows for validation, above 0
    /// and below 1; 0 = 0.25
    pub held_out: f64,
    /// choice of the windows for validation
    pub seed: u64,
    /// or NULL
    pub progress: tlp_progress_fn,
    /// last argument of progress
    pub progress_data: *mut ::std::os::raw::c_void,
    /// file for the new plan, JSON; NULL = none
    pub plan_path: *const ::std::os::raw::c_char,
    /// type of the new file's matrices, as in
    /// tlp_model_quantize; NULL = types stay
    pub type_: *const ::std::os::raw::c_char,
    /// 1 = every matrix gets exactly `type`
    pub pure_: i32,
    /// as in tlp_quantize_options; with `type`
    pub imatrix: *const ::std::os::raw::c_char,
}
#[test]
fn bindgen_test_layout_tlp_plan_bake_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_plan_bake_options>(),
        80usize,
        concat!("Size of: ", stringify!(tlp_plan_bake_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_plan_bake_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_plan_bake_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_session() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).session) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_options),
                "::",
                stringify!(session)
            )
        );
    }
    test_field_session();
    fn test_field_held_out() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).held_out) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_options),
                "::",
                stringify!(held_out)
            )
        );
    }
    test_field_held_out();
    fn test_field_seed() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seed) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_options),
                "::",
                stringify!(seed)
            )
        );
    }
    test_field_seed();
    fn test_field_progress() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_options),
                "::",
                stringify!(progress)
            )
        );
    }
    test_field_progress();
    fn test_field_progress_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress_data) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_options),
                "::",
                stringify!(progress_data)
            )
        );
    }
    test_field_progress_data();
    fn test_field_plan_path() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).plan_path) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_options),
                "::",
                stringify!(plan_path)
            )
        );
    }
    test_field_plan_path();
    fn test_field_type() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).type_) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_options),
                "::",
                stringify!(type_)
            )
        );
    }
    test_field_type();
    fn test_field_pure() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).pure_) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_options),
                "::",
                stringify!(pure_)
            )
        );
    }
    test_field_pure();
    fn test_field_imatrix() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).imatrix) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_options),
                "::",
                stringify!(imatrix)
            )
        );
    }
    test_field_imatrix();
}
impl Default for tlp_plan_bake_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Quality before and after tlp_plan_bake, on the windows for validation.
#[repr(C)]
pub struct tlp_plan_bake_report {
    /// set by the caller
    pub struct_size: usize,
    /// windows of the text
    pub n_window: i32,
    /// windows for validation
    pub n_held_out: i32,
    /// mean KL divergence from the serial model, nats
    pub kl_before: f64,
    /// mean KL divergence from the serial model, nats
    pub kl_after: f64,
    /// perplexity
    pub ppl_before: f64,
    /// perplexity
    pub ppl_after: f64,
    /// agreement with the serial model, 0 to 1
    pub top1_before: f64,
    /// agreement with the serial model, 0 to 1
    pub top1_after: f64,
    /// layers whose units can be dealt out: those with
    /// a left-out exchange
    pub n_site: i32,
    /// layers that got another order of units
    pub n_layer: i32,
    /// units of all layers that changed their track
    pub n_unit: i32,
    /// as in tlp_quantize_result
    pub n_tensor: i32,
    /// as in tlp_quantize_result
    pub n_converted: i32,
    /// as in tlp_quantize_result
    pub n_fallback: i32,
    /// as in tlp_quantize_result
    pub n_bytes: i64,
}
#[test]
fn bindgen_test_layout_tlp_plan_bake_report() {
    assert_eq!(
        ::std::mem::size_of::<tlp_plan_bake_report>(),
        96usize,
        concat!("Size of: ", stringify!(tlp_plan_bake_report))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_plan_bake_report>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_plan_bake_report))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_window() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_window) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(n_window)
            )
        );
    }
    test_field_n_window();
    fn test_field_n_held_out() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_held_out) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(n_held_out)
            )
        );
    }
    test_field_n_held_out();
    fn test_field_kl_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl_before) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(kl_before)
            )
        );
    }
    test_field_kl_before();
    fn test_field_kl_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl_after) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(kl_after)
            )
        );
    }
    test_field_kl_after();
    fn test_field_ppl_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ppl_before) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(ppl_before)
            )
        );
    }
    test_field_ppl_before();
    fn test_field_ppl_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ppl_after) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(ppl_after)
            )
        );
    }
    test_field_ppl_after();
    fn test_field_top1_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1_before) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(top1_before)
            )
        );
    }
    test_field_top1_before();
    fn test_field_top1_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1_after) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(top1_after)
            )
        );
    }
    test_field_top1_after();
    fn test_field_n_site() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_site) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(n_site)
            )
        );
    }
    test_field_n_site();
    fn test_field_n_layer() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_layer) as usize - ptr as usize
            },
            68usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(n_layer)
            )
        );
    }
    test_field_n_layer();
    fn test_field_n_unit() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_unit) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(n_unit)
            )
        );
    }
    test_field_n_unit();
    fn test_field_n_tensor() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_tensor) as usize - ptr as usize
            },
            76usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(n_tensor)
            )
        );
    }
    test_field_n_tensor();
    fn test_field_n_converted() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_converted) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(n_converted)
            )
        );
    }
    test_field_n_converted();
    fn test_field_n_fallback() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_fallback) as usize - ptr as usize
            },
            84usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(n_fallback)
            )
        );
    }
    test_field_n_fallback();
    fn test_field_n_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_bake_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_bytes) as usize - ptr as usize
            },
            88usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_bake_report),
                "::",
                stringify!(n_bytes)
            )
        );
    }
    test_field_n_bytes();
}
impl Default for tlp_plan_bake_report {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Write the model of a plan to a file in which each track has the hidden units
    /// that it serves best.
    ///
    /// A plan that leaves out exchanges cuts a layer into tracks, and the cut decides
    /// which hidden units a track has.  The order of the hidden units of a layer is
    /// free: when rows of ffn_gate and ffn_up and columns of ffn_down move alike, the
    /// serial model stays the same function.  Where the exchange after an attention
    /// is left out, each track computes its units from a stream of its own, and the
    /// call gives a unit to the track on which its value has the smallest error.
    /// Where the exchange after a feed-forward part is left out, a track's next
    /// attention lacks the units of other tracks, and the call deals them out so that
    /// the heads miss little.  Units move one by one where
    /// ffn_down has a type of single elements (F32, F16, BF16), and in whole blocks
    /// of ffn_down's type where it is quantised, so that no weight is rounded again.
    ///
    /// With `type` the new file is quantised too, after its units were ordered, so
    /// that units of an F16 file move one by one in a quantised file.  The report
    /// is of the plan before that.
    ///
    /// Windows for validation decide which order a layer gets, by the KL divergence
    /// from the serial model; a layer keeps its order if no other is better.
    ///
    /// Without `type` the file has the types, the metadata and all other tensors of
    /// the model, byte for byte; a split model becomes one file without the split.*
    /// keys.  It gets its name when it and the plan in `plan_path` are complete: if
    /// the call fails or is canceled, both old files stay as they were.  The call
    /// needs memory for another copy of the feed-forward matrices of the layers in
    /// question (three where both exchanges of a layer are left out), and 8 n_ff^2
    /// bytes for a layer and for each track (the latter for at most 4096 units).
    ///
    /// @param[out] out     the plan for the new file, with the key "baked" in its
    ///                     record; it keeps the new file's model open; the caller
    ///                     frees it with tlp_plan_free
    /// @param[out] report  NULL is allowed; otherwise the caller sets struct_size;
    ///                     also filled in with TLP_ENOGAIN
    /// @param plan         plan without adjustments that leaves out at least one
    ///                     exchange
    /// @param path         file to write; none of the files of the plan's model
    /// @param tokens       n ids of a calibration text, such as 8192 tokens
    /// @param n            number of tokens, at least two windows
    /// @param opts         options
    /// @return TLP_OK; TLP_ENOGAIN if no other order lowers the divergence, and then
    ///         no file is written; TLP_ENOTSUP for another order of layers, and for
    ///         models with experts; TLP_EINVAL for an unknown type; TLP_EFORMAT for a value that
    ///         the type cannot hold; TLP_EIO if a file cannot be written;
    ///         TLP_ECANCELED by progress
    /// @since 0.1
    pub fn tlp_plan_bake(
        out: *mut *mut tlp_plan,
        report: *mut tlp_plan_bake_report,
        plan: *const tlp_plan,
        path: *const ::std::os::raw::c_char,
        tokens: *const i32,
        n: usize,
        opts: *const tlp_plan_bake_options,
    ) -> tlp_status;
}
/// A validation in the course of tlp_plan_train.
#[repr(C)]
pub struct tlp_train_point {
    /// set by the library
    pub struct_size: usize,
    /// tokens trained on so far
    pub n_token: i64,
    /// steps so far
    pub step: i64,
    /// steps of the whole training
    pub n_step: i64,
    /// mean loss of the steps since the last point;
    /// NaN at the first point
    pub loss: f64,
    /// mean KL divergence from the serial model on the
    /// windows for validation, nats
    pub kl: f64,
    /// perplexity of these windows
    pub ppl: f64,
    /// share of predictions with the top token of the
    /// serial model, 0 to 1
    pub top1_agreement: f64,
    /// since the training began; earlier runs count
    pub seconds: f64,
    /// learning rate of the last step
    pub rate: f64,
    /// 1 = an earlier run made this point, and
    /// resume_path has kept it
    pub resumed: i32,
    /// 1 = `loss` is the local loss
    pub local: i32,
}
#[test]
fn bindgen_test_layout_tlp_train_point() {
    assert_eq!(
        ::std::mem::size_of::<tlp_train_point>(),
        88usize,
        concat!("Size of: ", stringify!(tlp_train_point))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_train_point>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_train_point))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_token) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(n_token)
            )
        );
    }
    test_field_n_token();
    fn test_field_step() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).step) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(step)
            )
        );
    }
    test_field_step();
    fn test_field_n_step() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_step) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(n_step)
            )
        );
    }
    test_field_n_step();
    fn test_field_loss() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).loss) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(loss)
            )
        );
    }
    test_field_loss();
    fn test_field_kl() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(kl)
            )
        );
    }
    test_field_kl();
    fn test_field_ppl() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ppl) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(ppl)
            )
        );
    }
    test_field_ppl();
    fn test_field_top1_agreement() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1_agreement) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(top1_agreement)
            )
        );
    }
    test_field_top1_agreement();
    fn test_field_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seconds) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(seconds)
            )
        );
    }
    test_field_seconds();
    fn test_field_rate() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).rate) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(rate)
            )
        );
    }
    test_field_rate();
    fn test_field_resumed() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).resumed) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(resumed)
            )
        );
    }
    test_field_resumed();
    fn test_field_local() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_train_point>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).local) as usize - ptr as usize
            },
            84usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_train_point),
                "::",
                stringify!(local)
            )
        );
    }
    test_field_local();
}
impl Default for tlp_train_point {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Receive a validation of tlp_plan_train.
///
/// @param point      point, borrowed for this call
/// @param user_data  pointer from the options
pub type tlp_train_point_fn = ::std::option::Option<
    unsafe extern "C" fn(point: *const tlp_train_point, user_data: *mut ::std::os::raw::c_void),
>;
/// Options of tlp_plan_train.
///
/// `session` describes the windows of the text, as in tlp_plan_adjust_options,
/// and the ranks: n_rank, comm, comm_handle and timeout_ms have their usual
/// meaning, except that ranks are processes.
#[repr(C)]
pub struct tlp_plan_train_options {
    /// sizeof(tlp_plan_train_options)
    pub struct_size: usize,
    /// NULL = defaults
    pub session: *const tlp_session_options,
    /// tokens to train on; the text is repeated as
    /// often as it takes; 0 = the text once
    pub n_token: i64,
    /// windows of a rank in a step; 0 = 1
    pub n_accum: i32,
    /// 1 = train all matrices of the layers that the
    /// plan changes
    pub full: i32,
    /// rank of LoRA for these matrices; 0 = none
    pub rank: i32,
    /// 1 = train weights of norms
    pub norms: i32,
    /// 1 = train gains of attention and
    /// feed-forward
    pub gains: i32,
    /// 1 = train the low-rank corrections that the
    /// plan has
    pub corrections: i32,
    /// learning rate; 0 = 1e-4, 4e-5 for a plan with
    /// gains, norms or corrections of its own,
    /// 1e-3 with LoRA
    pub rate: f64,
    /// share of the steps in which the rate rises;
    /// 0 = 0.03
    pub warm_up: f64,
    /// of matrices, for each unit of the rate
    pub weight_decay: f64,
    /// largest norm of a gradient; 0 = 1
    pub clip: f64,
    /// share of -log p of the text in the loss, 0 to
    /// 1; the rest is the KL divergence from the
    /// serial model
    pub text_share: f64,
    /// share of the windows for validation, above 0
    /// and below 1; 0 = 0.1
    pub held_out: f64,
    /// order of the windows, first values of LoRA
    pub seed: u64,
    /// or NULL
    pub point: tlp_train_point_fn,
    /// last argument of point
    pub point_data: *mut ::std::os::raw::c_void,
    /// or NULL
    pub progress: tlp_progress_fn,
    /// last argument of progress
    pub progress_data: *mut ::std::os::raw::c_void,
    /// file for the new plan, JSON; NULL = none
    pub plan_path: *const ::std::os::raw::c_char,
    /// type of the new file's matrices, as in
    /// tlp_model_quantize; NULL = types stay, but
    /// trained matrices of fewer than eight bits
    /// become Q8_0 (F16 if rows do not fit)
    pub type_: *const ::std::os::raw::c_char,
    /// train for about this time, where n_token is
    /// 0; the speed of the first steps decides how
    /// many tokens that is; 0 = no such limit
    pub seconds: f64,
    /// most memory for results that are computed
    /// again where memory ends, bytes; 0 = 1 GiB
    pub max_bytes: u64,
    /// 1 = when progress cancels the training or a
    /// rank fails after a state that is better than
    /// the plan, go on as if it had ended
    pub keep: i32,
    /// file of the training's state: the training
    /// goes on from it if it exists, and replaces
    /// it from time to time; NULL = none
    pub resume_path: *const ::std::os::raw::c_char,
    /// tokens of a first phase, in which every
    /// section of the plan is trained alone; at most
    /// n_token; 0 = none
    pub n_local_token: i64,
    /// tokens at the beginning of `tokens` that are
    /// for validation alone, and no part of the text
    /// to train on; excludes `held_out`; 0 = a share
    /// of the windows is held out
    pub n_held_out_token: i64,
}
#[test]
fn bindgen_test_layout_tlp_plan_train_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_plan_train_options>(),
        200usize,
        concat!("Size of: ", stringify!(tlp_plan_train_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_plan_train_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_plan_train_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_session() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).session) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(session)
            )
        );
    }
    test_field_session();
    fn test_field_n_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_token) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(n_token)
            )
        );
    }
    test_field_n_token();
    fn test_field_n_accum() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_accum) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(n_accum)
            )
        );
    }
    test_field_n_accum();
    fn test_field_full() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).full) as usize - ptr as usize
            },
            28usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(full)
            )
        );
    }
    test_field_full();
    fn test_field_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).rank) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(rank)
            )
        );
    }
    test_field_rank();
    fn test_field_norms() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).norms) as usize - ptr as usize
            },
            36usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(norms)
            )
        );
    }
    test_field_norms();
    fn test_field_gains() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).gains) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(gains)
            )
        );
    }
    test_field_gains();
    fn test_field_corrections() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).corrections) as usize - ptr as usize
            },
            44usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(corrections)
            )
        );
    }
    test_field_corrections();
    fn test_field_rate() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).rate) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(rate)
            )
        );
    }
    test_field_rate();
    fn test_field_warm_up() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).warm_up) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(warm_up)
            )
        );
    }
    test_field_warm_up();
    fn test_field_weight_decay() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).weight_decay) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(weight_decay)
            )
        );
    }
    test_field_weight_decay();
    fn test_field_clip() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).clip) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(clip)
            )
        );
    }
    test_field_clip();
    fn test_field_text_share() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).text_share) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(text_share)
            )
        );
    }
    test_field_text_share();
    fn test_field_held_out() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).held_out) as usize - ptr as usize
            },
            88usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(held_out)
            )
        );
    }
    test_field_held_out();
    fn test_field_seed() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seed) as usize - ptr as usize
            },
            96usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(seed)
            )
        );
    }
    test_field_seed();
    fn test_field_point() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).point) as usize - ptr as usize
            },
            104usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(point)
            )
        );
    }
    test_field_point();
    fn test_field_point_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).point_data) as usize - ptr as usize
            },
            112usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(point_data)
            )
        );
    }
    test_field_point_data();
    fn test_field_progress() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress) as usize - ptr as usize
            },
            120usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(progress)
            )
        );
    }
    test_field_progress();
    fn test_field_progress_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress_data) as usize - ptr as usize
            },
            128usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(progress_data)
            )
        );
    }
    test_field_progress_data();
    fn test_field_plan_path() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).plan_path) as usize - ptr as usize
            },
            136usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(plan_path)
            )
        );
    }
    test_field_plan_path();
    fn test_field_type() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).type_) as usize - ptr as usize
            },
            144usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(type_)
            )
        );
    }
    test_field_type();
    fn test_field_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seconds) as usize - ptr as usize
            },
            152usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(seconds)
            )
        );
    }
    test_field_seconds();
    fn test_field_max_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).max_bytes) as usize - ptr as usize
            },
            160usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(max_bytes)
            )
        );
    }
    test_field_max_bytes();
    fn test_field_keep() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).keep) as usize - ptr as usize
            },
            168usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(keep)
            )
        );
    }
    test_field_keep();
    fn test_field_resume_path() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).resume_path) as usize - ptr as usize
            },
            176usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(resume_path)
            )
        );
    }
    test_field_resume_path();
    fn test_field_n_local_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_local_token) as usize - ptr as usize
            },
            184usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(n_local_token)
            )
        );
    }
    test_field_n_local_token();
    fn test_field_n_held_out_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_held_out_token) as usize - ptr as usize
            },
            192usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_options),
                "::",
                stringify!(n_held_out_token)
            )
        );
    }
    test_field_n_held_out_token();
}
impl Default for tlp_plan_train_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Quality before and after tlp_plan_train, on the windows for validation.
#[repr(C)]
pub struct tlp_plan_train_report {
    /// set by the caller
    pub struct_size: usize,
    /// windows of the text
    pub n_window: i32,
    /// windows for validation
    pub n_held_out: i32,
    /// tokens that the best state was trained on
    pub n_token: i64,
    /// numbers that were trained
    pub n_number: i64,
    /// mean KL divergence from the serial model, nats
    pub kl_before: f64,
    /// mean KL divergence from the serial model, nats
    pub kl_after: f64,
    /// perplexity
    pub ppl_before: f64,
    /// perplexity
    pub ppl_after: f64,
    /// agreement with the serial model, 0 to 1
    pub top1_before: f64,
    /// agreement with the serial model, 0 to 1
    pub top1_after: f64,
    /// of the whole training; earlier runs count
    pub seconds: f64,
    /// 1 = progress canceled it, 2 = a rank failed, and
    /// `keep` kept it
    pub canceled: i32,
}
#[test]
fn bindgen_test_layout_tlp_plan_train_report() {
    assert_eq!(
        ::std::mem::size_of::<tlp_plan_train_report>(),
        96usize,
        concat!("Size of: ", stringify!(tlp_plan_train_report))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_plan_train_report>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_plan_train_report))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_window() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_window) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(n_window)
            )
        );
    }
    test_field_n_window();
    fn test_field_n_held_out() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_held_out) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(n_held_out)
            )
        );
    }
    test_field_n_held_out();
    fn test_field_n_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_token) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(n_token)
            )
        );
    }
    test_field_n_token();
    fn test_field_n_number() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_number) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(n_number)
            )
        );
    }
    test_field_n_number();
    fn test_field_kl_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl_before) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(kl_before)
            )
        );
    }
    test_field_kl_before();
    fn test_field_kl_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl_after) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(kl_after)
            )
        );
    }
    test_field_kl_after();
    fn test_field_ppl_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ppl_before) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(ppl_before)
            )
        );
    }
    test_field_ppl_before();
    fn test_field_ppl_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ppl_after) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(ppl_after)
            )
        );
    }
    test_field_ppl_after();
    fn test_field_top1_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1_before) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(top1_before)
            )
        );
    }
    test_field_top1_before();
    fn test_field_top1_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1_after) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(top1_after)
            )
        );
    }
    test_field_top1_after();
    fn test_field_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seconds) as usize - ptr as usize
            },
            80usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(seconds)
            )
        );
    }
    test_field_seconds();
    fn test_field_canceled() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_plan_train_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).canceled) as usize - ptr as usize
            },
            88usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_plan_train_report),
                "::",
                stringify!(canceled)
            )
        );
    }
    test_field_canceled();
}
impl Default for tlp_plan_train_report {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Train the layers that a plan changes, so that the plan acts like the serial
    /// model (arXiv 2502.02790, section on fine-tuning).
    ///
    /// The loss of a token is the KL divergence from the serial model's prediction,
    /// of which the 64 likeliest tokens and the probability of all other tokens are
    /// kept; `text_share` mixes in -log p of the text.  AdamW with a linear warm-up
    /// and a cosine down to a tenth of the rate takes a step after every `n_accum`
    /// windows.  All arithmetic is f32.  Equal arguments give equal bits for any
    /// number of threads on machines with equal instruction sets.
    ///
    /// With `n_local_token` the training begins with a phase of local losses.  A
    /// section of the plan is the stages between two exchanges behind which all
    /// tracks have one stream.  Each section that the plan changes begins with the
    /// serial model's stream x, and its output z is compared with the serial model's
    /// stream y behind it: the loss of a token is |z - y|^2 / |y - x|^2, as a mean
    /// over sections.  The phase has a rise and fall of the rate of its own, and
    /// AdamW begins anew behind it.  `seconds` then limits the whole training, but
    /// the phase is always complete.
    ///
    /// About twenty times in the course of the training, and ten times in the local
    /// phase, the windows for validation are scored.  The state with the least loss
    /// there is kept: the KL divergence mixed with `text_share` of -log p, also in
    /// the local phase.
    ///
    /// With `comm` of the session options the training has one rank in each process
    /// (the other processes call tlp_worker_run): every rank takes n_accum windows
    /// of a step, and all ranks take the step with the sum of their gradients.  The
    /// windows for validation are shared out too.  Every rank needs the memory of a
    /// training alone.  A number of ranks gives its own bits.
    ///
    /// With `resume_path` the state of the training is written at least once a
    /// minute, at the end, when progress cancels the training, and after a validation
    /// if this takes little time.
    /// A call with equal arguments that finds the file goes on from it to the bits
    /// that a training in one piece gives; the number of threads, max_bytes, keep
    /// and what is written may differ.  The time of earlier runs counts, and their
    /// points are shown again first.  If the file cannot be written, the training
    /// ends with an error and the file stays as it was.  The file has 16 bytes for
    /// each number that is trained.  It stays when the training is complete.
    ///
    /// Matrices go to a new file at `path`.  LoRA is added to the matrices of that
    /// file, or, where `path` is NULL, is one of the new plan's adjustments.  LoRA
    /// that the plan has is trained on with `rank`, which must be its rank, and is
    /// kept without.  A `type` of few bits undoes much of what training changed,
    /// because the steps of its grid are larger than the changes.  The serial model
    /// of that file is another model, and is worse than the plan there.  Norms,
    /// gains and corrections are adjustments of the new plan (tlp_plan_save writes
    /// them beside it).
    ///
    /// Within max_bytes a training keeps, in this order, the forward pass of each
    /// stage for the backward pass, the residual stream of every window before the
    /// first trained layer (4 n_embd bytes for each token of the text), and frozen
    /// matrices as floats in the order of their products (8 bytes for each number).
    /// The bits do not depend on it.
    ///
    /// Memory: four times 4 bytes for each number that is trained and 4 more for the
    /// best state, max_bytes, the residual stream of a window before every stage,
    /// 4 n_vocab bytes for each token of a window, and 512 bytes for each token of
    /// the text.
    ///
    /// @param[out] out     the plan, for the new file where there is one; the caller
    ///                     frees it with tlp_plan_free
    /// @param[out] report  NULL is allowed; otherwise the caller sets struct_size;
    ///                     also filled in with TLP_ENOGAIN
    /// @param plan         plan with a group in mode lp, par or asym, or that leaves
    ///                     out exchanges; its adjustments stay, or are trained
    /// @param path         file to write, GGUF; none of the files of the plan's
    ///                     model; required with `full`, not used without `full`
    ///                     and `rank`
    /// @param tokens       n ids of a text
    /// @param n            number of tokens, at least two windows
    /// @param opts         options
    /// @return TLP_OK; TLP_ENOGAIN if no state is better than the plan; TLP_ENOTSUP
    ///         for a plan in mode lp-code or merge, for models with experts, and
    ///         with n_local_token for layers in another order; TLP_ERROR if a loss
    ///         or a gradient is not finite; TLP_EIO if a file cannot be written;
    ///         TLP_EFORMAT or TLP_EMISMATCH for the file at resume_path
    ///         (TLP_EMISMATCH if it belongs to another training: the text names the
    ///         first difference); TLP_ECANCELED by progress, after the state is
    ///         written; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed; TLP_EMISMATCH
    ///         if processes disagree; TLP_ESTATE in a process other than rank 0's
    /// @since 0.1
    pub fn tlp_plan_train(
        out: *mut *mut tlp_plan,
        report: *mut tlp_plan_train_report,
        plan: *const tlp_plan,
        path: *const ::std::os::raw::c_char,
        tokens: *const i32,
        n: usize,
        opts: *const tlp_plan_train_options,
    ) -> tlp_status;
}
/// the exchange after a half-layer is left out
pub const TLP_PLACE_EXCHANGE: tlp_place_kind = 0;
/// a layer and the next run as a pair in `par`
pub const TLP_PLACE_PAIR: tlp_place_kind = 1;
/// Change of a plan that tlp_model_study measures.
pub type tlp_place_kind = ::std::os::raw::c_uint;
/// One change at one place of the serial plan, and its price.
///
/// For an exchange, f is the half-layer before it and g the half-layer behind it.
/// For a pair, f and g are its two layers.  x is the stream before f, and f also
/// names the vector that f adds to it, so that the serial model computes
/// g(x + f).  Sizes are Euclidean.  Each ratio is a root mean square over the
/// tokens of the text, except the first token of each window.
#[repr(C)]
pub struct tlp_study_place {
    /// set by the library
    pub struct_size: usize,
    /// enum tlp_place_kind
    pub kind: i32,
    /// layer of f
    pub layer: i32,
    /// exchange: enum tlp_nosync, the half-layer f;
    /// pair: 0
    pub half: i32,
    /// exchange: tracks of the plan; pair: 0
    pub n_track: i32,
    /// the serial plan with this change alone;
    /// borrowed for this call
    pub plan: *const tlp_plan,
    /// |f| / |x + f|
    pub step: f64,
    /// what one rank adds of f, over |f|; root mean
    /// square over the tracks.  Pair: what one layer
    /// adds, over what both add
    pub own: f64,
    /// |g(x + f) - g(x)| / |g(x + f)|, the
    /// first-order error |J_g f| up to higher orders
    pub change: f64,
    /// |difference that the plan makes in the stream
    /// behind g| / |stream behind g|
    pub error: f64,
    /// KL divergence that noise on the stream behind g
    /// costs, nats, over the square of |noise| /
    /// |stream|.  sensitivity * error * error is an
    /// estimate of kl
    pub sensitivity: f64,
    /// mean KL divergence of the plan from the serial
    /// model, nats
    pub kl: f64,
}
#[test]
fn bindgen_test_layout_tlp_study_place() {
    assert_eq!(
        ::std::mem::size_of::<tlp_study_place>(),
        80usize,
        concat!("Size of: ", stringify!(tlp_study_place))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_study_place>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_study_place))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_kind() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kind) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(kind)
            )
        );
    }
    test_field_kind();
    fn test_field_layer() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).layer) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(layer)
            )
        );
    }
    test_field_layer();
    fn test_field_half() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).half) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(half)
            )
        );
    }
    test_field_half();
    fn test_field_n_track() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_track) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(n_track)
            )
        );
    }
    test_field_n_track();
    fn test_field_plan() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).plan) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(plan)
            )
        );
    }
    test_field_plan();
    fn test_field_step() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).step) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(step)
            )
        );
    }
    test_field_step();
    fn test_field_own() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).own) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(own)
            )
        );
    }
    test_field_own();
    fn test_field_change() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).change) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(change)
            )
        );
    }
    test_field_change();
    fn test_field_error() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).error) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(error)
            )
        );
    }
    test_field_error();
    fn test_field_sensitivity() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).sensitivity) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(sensitivity)
            )
        );
    }
    test_field_sensitivity();
    fn test_field_kl() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_place>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl) as usize - ptr as usize
            },
            72usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_place),
                "::",
                stringify!(kl)
            )
        );
    }
    test_field_kl();
}
impl Default for tlp_study_place {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Receive one place.
///
/// @param place      place, borrowed for this call
/// @param user_data  pointer from the options
pub type tlp_study_place_fn = ::std::option::Option<
    unsafe extern "C" fn(place: *const tlp_study_place, user_data: *mut ::std::os::raw::c_void),
>;
/// Options of tlp_model_study.
///
/// `session` describes the session that evaluates the windows of the text, as in
/// tlp_plan_make_options, except that no n_rank is read.
#[repr(C)]
pub struct tlp_study_options {
    /// sizeof(tlp_study_options)
    pub struct_size: usize,
    /// NULL = defaults
    pub session: *const tlp_session_options,
    /// tracks where an exchange is left out: 2 to
    /// 64, at most the query heads; 0 = 2
    pub n_track: i32,
    /// order of the windows, and the noise
    pub seed: u64,
    /// most memory for intermediate results that
    /// save time, bytes; 0 = 768 MiB
    pub max_bytes: u64,
    /// receives every place; required
    pub place: tlp_study_place_fn,
    /// last argument of place
    pub place_data: *mut ::std::os::raw::c_void,
    /// or NULL
    pub progress: tlp_progress_fn,
    /// last argument of progress
    pub progress_data: *mut ::std::os::raw::c_void,
}
#[test]
fn bindgen_test_layout_tlp_study_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_study_options>(),
        72usize,
        concat!("Size of: ", stringify!(tlp_study_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_study_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_study_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_session() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).session) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_options),
                "::",
                stringify!(session)
            )
        );
    }
    test_field_session();
    fn test_field_n_track() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_track) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_options),
                "::",
                stringify!(n_track)
            )
        );
    }
    test_field_n_track();
    fn test_field_seed() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seed) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_options),
                "::",
                stringify!(seed)
            )
        );
    }
    test_field_seed();
    fn test_field_max_bytes() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).max_bytes) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_options),
                "::",
                stringify!(max_bytes)
            )
        );
    }
    test_field_max_bytes();
    fn test_field_place() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).place) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_options),
                "::",
                stringify!(place)
            )
        );
    }
    test_field_place();
    fn test_field_place_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).place_data) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_options),
                "::",
                stringify!(place_data)
            )
        );
    }
    test_field_place_data();
    fn test_field_progress() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_options),
                "::",
                stringify!(progress)
            )
        );
    }
    test_field_progress();
    fn test_field_progress_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_study_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress_data) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_study_options),
                "::",
                stringify!(progress_data)
            )
        );
    }
    test_field_progress_data();
}
impl Default for tlp_study_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Measure what each exchange and each pair of neighbouring layers costs alone,
    /// and the errors from which the cost comes.
    ///
    /// The call shows each exchange that a plan can leave out, then each pair of
    /// neighbouring layers, in the order of layers.  Most of its time goes into the
    /// KL divergences: about 5 evaluations of the text for each layer.  Equal
    /// arguments give equal numbers on machines with equal instruction sets.
    /// docs/theory.md explains the measures.
    ///
    /// @param model   model
    /// @param tokens  n ids of a text; 2048 tokens are a good number
    /// @param n       number of tokens; a last window of one token is left out
    /// @param opts    options with `place`
    /// @return TLP_OK; TLP_EINVAL for a model that was opened with vocab_only;
    ///         TLP_ENOTSUP for olmo2 models; TLP_ECANCELED by progress, after some
    ///         places were shown
    /// @since 0.1
    pub fn tlp_model_study(
        model: *mut tlp_model,
        tokens: *const i32,
        n: usize,
        opts: *const tlp_study_options,
    ) -> tlp_status;
}
/// Options of tlp_plan_bridge.
///
/// `session` describes the session that evaluates the windows of both texts, as
/// in tlp_plan_adjust_options.
#[repr(C)]
pub struct tlp_bridge_options {
    /// sizeof(tlp_bridge_options)
    pub struct_size: usize,
    /// NULL = defaults
    pub session: *const tlp_session_options,
    /// largest rank of a map: a multiple of 4, at
    /// most n_embd; 0 = n_embd, rounded down to a
    /// multiple of 4
    pub rank: i32,
    /// share of the windows of the first text that
    /// choose the ridge and the rank of each map,
    /// above 0 and below 1; 0 = 0.25
    pub held_out: f64,
    /// choice of these windows
    pub seed: u64,
    /// or NULL
    pub progress: tlp_progress_fn,
    /// last argument of progress
    pub progress_data: *mut ::std::os::raw::c_void,
}
#[test]
fn bindgen_test_layout_tlp_bridge_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_bridge_options>(),
        56usize,
        concat!("Size of: ", stringify!(tlp_bridge_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_bridge_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_bridge_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_session() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).session) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_options),
                "::",
                stringify!(session)
            )
        );
    }
    test_field_session();
    fn test_field_rank() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).rank) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_options),
                "::",
                stringify!(rank)
            )
        );
    }
    test_field_rank();
    fn test_field_held_out() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).held_out) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_options),
                "::",
                stringify!(held_out)
            )
        );
    }
    test_field_held_out();
    fn test_field_seed() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seed) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_options),
                "::",
                stringify!(seed)
            )
        );
    }
    test_field_seed();
    fn test_field_progress() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_options),
                "::",
                stringify!(progress)
            )
        );
    }
    test_field_progress();
    fn test_field_progress_data() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).progress_data) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_options),
                "::",
                stringify!(progress_data)
            )
        );
    }
    test_field_progress_data();
}
impl Default for tlp_bridge_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// Quality of a plan with dropped layers, before and after maps take their
/// place.
#[repr(C)]
pub struct tlp_bridge_report {
    /// set by the caller
    pub struct_size: usize,
    /// runs of dropped layers
    pub n_gap: i32,
    /// gaps with a map; in other gaps none helped
    pub n_map: i32,
    /// windows of the second text
    pub n_window: i32,
    /// mean KL divergence from the serial model, nats
    pub kl_before: f64,
    /// mean KL divergence from the serial model, nats
    pub kl_after: f64,
    /// perplexity
    pub ppl_before: f64,
    /// perplexity
    pub ppl_after: f64,
    /// agreement with the serial model, 0 to 1
    pub top1_before: f64,
    /// agreement with the serial model, 0 to 1
    pub top1_after: f64,
}
#[test]
fn bindgen_test_layout_tlp_bridge_report() {
    assert_eq!(
        ::std::mem::size_of::<tlp_bridge_report>(),
        72usize,
        concat!("Size of: ", stringify!(tlp_bridge_report))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_bridge_report>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_bridge_report))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_report),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_gap() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_gap) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_report),
                "::",
                stringify!(n_gap)
            )
        );
    }
    test_field_n_gap();
    fn test_field_n_map() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_map) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_report),
                "::",
                stringify!(n_map)
            )
        );
    }
    test_field_n_map();
    fn test_field_n_window() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_window) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_report),
                "::",
                stringify!(n_window)
            )
        );
    }
    test_field_n_window();
    fn test_field_kl_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl_before) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_report),
                "::",
                stringify!(kl_before)
            )
        );
    }
    test_field_kl_before();
    fn test_field_kl_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl_after) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_report),
                "::",
                stringify!(kl_after)
            )
        );
    }
    test_field_kl_after();
    fn test_field_ppl_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ppl_before) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_report),
                "::",
                stringify!(ppl_before)
            )
        );
    }
    test_field_ppl_before();
    fn test_field_ppl_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).ppl_after) as usize - ptr as usize
            },
            48usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_report),
                "::",
                stringify!(ppl_after)
            )
        );
    }
    test_field_ppl_after();
    fn test_field_top1_before() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1_before) as usize - ptr as usize
            },
            56usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_report),
                "::",
                stringify!(top1_before)
            )
        );
    }
    test_field_top1_before();
    fn test_field_top1_after() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_bridge_report>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1_after) as usize - ptr as usize
            },
            64usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_bridge_report),
                "::",
                stringify!(top1_after)
            )
        );
    }
    test_field_top1_after();
}
impl Default for tlp_bridge_report {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Measure what pruning costs when a linear map takes the place of each run of
    /// dropped layers: the rival of plans that keep all layers.
    ///
    /// The map of a gap adds W x to the stream x.  W is a ridge regression of what
    /// the serial model's stream behind the gap has more than x, of full rank where
    /// that helps (arXiv 2605.15491).  Maps are fitted on the first text and judged
    /// on the second.  They are no part of a plan: a session runs plans without
    /// them.
    ///
    /// @param[out] report   the caller sets struct_size
    /// @param plan          plan that drops layers, without adjustments, with all
    ///                      exchanges, and with layers in their order
    /// @param tokens        n ids of a text to fit on, such as 32768 tokens
    /// @param n             number of tokens, at least two windows
    /// @param judge_tokens  n_judge ids of another text
    /// @param n_judge       number of tokens, at least two windows
    /// @param opts          NULL = defaults
    /// @return TLP_OK; TLP_EINVAL for a plan without dropped layers; TLP_ENOTSUP for
    ///         other plans that it does not know; TLP_ECANCELED by progress
    /// @since 0.1
    pub fn tlp_plan_bridge(
        report: *mut tlp_bridge_report,
        plan: *const tlp_plan,
        tokens: *const i32,
        n: usize,
        judge_tokens: *const i32,
        n_judge: usize,
        opts: *const tlp_bridge_options,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Measure the ranks of a session and the link between them.
    ///
    /// The call takes seconds.  The times are medians over steps under the plan of
    /// the session; the serial plan is the best basis for predictions.  Sequence 0
    /// must be empty, and is empty afterwards.  The rows of logits are lost.  The
    /// counters of the session do not change.
    ///
    /// @param[out] out    the caller sets struct_size
    /// @param[out] stage  one value per stage of the plan, or NULL: seconds of work
    ///                    for one token on the slowest rank when no other stage runs
    ///                    before
    /// @param session     session with an empty sequence 0
    /// @return TLP_OK; TLP_ESTATE if sequence 0 is not empty; TLP_ECANCELED by
    ///         tlp_session_abort; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_measure(
        out: *mut tlp_link,
        stage: *mut f64,
        session: *mut tlp_session,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Measure the link between the ranks for the message that decoding waits for.
    ///
    /// The message is the sum over all ranks of a token's activations, n_embd
    /// floats.  The call takes about a tenth of a second, or a dozen messages on a
    /// slow link; it changes neither sequences nor counters.
    /// tlp_session_stats.link names what carries the messages.
    ///
    /// @param[out] seconds  median time of an all-reduce; 0 with one rank
    /// @param session       session on CPU ranks
    /// @return TLP_OK; TLP_ENOTSUP on devices; TLP_ECANCELED by tlp_session_abort;
    ///         TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
    /// @since 0.1
    pub fn tlp_session_measure_link(seconds: *mut f64, session: *mut tlp_session) -> tlp_status;
}
/// Predicted time of an evaluation.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tlp_prediction {
    /// set by the caller
    pub struct_size: usize,
    /// time until rank 0 has the candidates for the
    /// next token
    pub seconds: f64,
    /// work of all ranks, and waiting for the rank
    /// with the most work
    pub compute_seconds: f64,
    /// commands of rank 0, and the answers
    pub command_seconds: f64,
    /// one-way messages
    pub send_seconds: f64,
    /// all-reduces, inner ones included
    pub allreduce_seconds: f64,
}
#[test]
fn bindgen_test_layout_tlp_prediction() {
    assert_eq!(
        ::std::mem::size_of::<tlp_prediction>(),
        48usize,
        concat!("Size of: ", stringify!(tlp_prediction))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_prediction>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_prediction))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_prediction>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_prediction),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_prediction>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).seconds) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_prediction),
                "::",
                stringify!(seconds)
            )
        );
    }
    test_field_seconds();
    fn test_field_compute_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_prediction>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).compute_seconds) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_prediction),
                "::",
                stringify!(compute_seconds)
            )
        );
    }
    test_field_compute_seconds();
    fn test_field_command_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_prediction>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).command_seconds) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_prediction),
                "::",
                stringify!(command_seconds)
            )
        );
    }
    test_field_command_seconds();
    fn test_field_send_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_prediction>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).send_seconds) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_prediction),
                "::",
                stringify!(send_seconds)
            )
        );
    }
    test_field_send_seconds();
    fn test_field_allreduce_seconds() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_prediction>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).allreduce_seconds) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_prediction),
                "::",
                stringify!(allreduce_seconds)
            )
        );
    }
    test_field_allreduce_seconds();
}
extern "C" {
    #[must_use]
    /// Predict the time of an evaluation of n_tok tokens in one sequence.
    ///
    /// With another number of ranks than the link was measured with, the prediction
    /// cuts the weights for that number of ranks.  A message then goes to all
    /// other ranks at once over the link: one latency, and the bytes for each rank.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param plan      plan
    /// @param link      from tlp_session_measure, or numbers of the caller
    /// @param n_rank    1 to 64
    /// @param n_tok     tokens to evaluate, at least 1; 1 = decode one token
    /// @param pos       positions that the sequence already holds
    /// @return TLP_OK; TLP_EINVAL for a number out of range, or for several ranks
    ///         and a link that was measured with one; TLP_EMISMATCH for a link of
    ///         another model
    /// @since 0.1
    pub fn tlp_plan_predict(
        out: *mut tlp_prediction,
        plan: *const tlp_plan,
        link: *const tlp_link,
        n_rank: ::std::os::raw::c_int,
        n_tok: i64,
        pos: i64,
    ) -> tlp_status;
}
/// Difference between a row of logits and a reference row for the same token.
///
/// In practice the row comes from a plan and the reference row from the serial
/// model.  The top tokens are the tokens with the highest logits; of equal
/// logits the lower id comes first.  A token with a logit of -inf never counts.
#[repr(C)]
pub struct tlp_divergence {
    /// set by the caller
    pub struct_size: usize,
    /// KL(reference || row), nats; infinite if the
    /// row excludes a token that the reference
    /// allows
    pub kl: f64,
    /// log of the sum of exp(reference[i]), so that
    /// reference[i] - reference_lse = log p(i)
    pub reference_lse: f64,
    /// log of the sum of exp(logits[i])
    pub lse: f64,
    /// top token of the reference
    pub reference_top1: i32,
    /// top token of the row
    pub top1: i32,
    /// 1 = both rows have equal sets of top 5
    /// tokens
    pub same_top5: i32,
}
#[test]
fn bindgen_test_layout_tlp_divergence() {
    assert_eq!(
        ::std::mem::size_of::<tlp_divergence>(),
        48usize,
        concat!("Size of: ", stringify!(tlp_divergence))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_divergence>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_divergence))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_divergence>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_divergence),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_kl() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_divergence>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).kl) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_divergence),
                "::",
                stringify!(kl)
            )
        );
    }
    test_field_kl();
    fn test_field_reference_lse() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_divergence>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).reference_lse) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_divergence),
                "::",
                stringify!(reference_lse)
            )
        );
    }
    test_field_reference_lse();
    fn test_field_lse() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_divergence>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).lse) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_divergence),
                "::",
                stringify!(lse)
            )
        );
    }
    test_field_lse();
    fn test_field_reference_top1() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_divergence>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).reference_top1) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_divergence),
                "::",
                stringify!(reference_top1)
            )
        );
    }
    test_field_reference_top1();
    fn test_field_top1() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_divergence>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).top1) as usize - ptr as usize
            },
            36usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_divergence),
                "::",
                stringify!(top1)
            )
        );
    }
    test_field_top1();
    fn test_field_same_top5() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_divergence>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).same_top5) as usize - ptr as usize
            },
            40usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_divergence),
                "::",
                stringify!(same_top5)
            )
        );
    }
    test_field_same_top5();
}
impl Default for tlp_divergence {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Compare a row of logits with a reference row.
    ///
    /// The error of kl is about 1e-6; equal rows give exactly 0.
    ///
    /// @param[out] out   the caller sets struct_size
    /// @param reference  n_vocab logits
    /// @param logits     n_vocab logits
    /// @param n_vocab    values per row
    /// @return TLP_OK; TLP_EINVAL for a row that contains NaN or +inf, or only -inf
    /// @since 0.1
    pub fn tlp_logits_compare(
        out: *mut tlp_divergence,
        reference: *const f32,
        logits: *const f32,
        n_vocab: usize,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Compute a confidence interval of a weighted mean by the bootstrap.
    ///
    /// The mean is (sum of all sum[i]) / (sum of all weight[i]).  The library draws
    /// the units with replacement 2000 times and takes percentiles of the 2000
    /// means.  A unit is a thing that was sampled independently: a window of text,
    /// with the sum over its tokens and their number, or a question.  To compare two
    /// plans, pass the differences of the units.
    ///
    /// @param[out] lo  lower bound
    /// @param[out] hi  upper bound
    /// @param sum      n values
    /// @param weight   n values above 0; NULL = all 1
    /// @param n        units, at least 2
    /// @param level    above 0 and below 1; with 0.95 and many units, about 95 of
    ///                 100 such intervals contain the true mean
    /// @param seed     equal seeds give equal intervals
    /// @return TLP_OK; TLP_EINVAL for a value out of range
    /// @since 0.1
    pub fn tlp_bootstrap_mean(
        lo: *mut f64,
        hi: *mut f64,
        sum: *const f64,
        weight: *const f64,
        n: usize,
        level: f64,
        seed: u64,
    ) -> tlp_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_task {
    _unused: [u8; 0],
}
/// Options of tlp_task_load.
#[repr(C)]
pub struct tlp_task_options {
    /// sizeof(tlp_task_options)
    pub struct_size: usize,
    /// text between query and choice; NULL = one
    /// blank
    pub delimiter: *const ::std::os::raw::c_char,
    /// most tokens of an item; a longer item loses the
    /// beginning of its query; 0 = n_ctx_train, but at
    /// most 4096
    pub n_ctx: i32,
    /// 1 = begin every query with BOS
    pub bos: i32,
}
#[test]
fn bindgen_test_layout_tlp_task_options() {
    assert_eq!(
        ::std::mem::size_of::<tlp_task_options>(),
        24usize,
        concat!("Size of: ", stringify!(tlp_task_options))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_task_options>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_task_options))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_options),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_delimiter() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).delimiter) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_options),
                "::",
                stringify!(delimiter)
            )
        );
    }
    test_field_delimiter();
    fn test_field_n_ctx() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_ctx) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_options),
                "::",
                stringify!(n_ctx)
            )
        );
    }
    test_field_n_ctx();
    fn test_field_bos() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_options>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).bos) as usize - ptr as usize
            },
            20usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_options),
                "::",
                stringify!(bos)
            )
        );
    }
    test_field_bos();
}
impl Default for tlp_task_options {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Read a task from a file.
    ///
    /// Each line is a JSON object with the keys "query" (a string), "choices" (2 to
    /// 256 strings, none empty) and "gold" (the index of the right choice).  The
    /// library ignores further keys.
    ///
    /// Tokens follow the rules of lm-evaluation-harness: blanks at the end of the
    /// query (the white space of Python's str.rstrip, which is Unicode's and U+001C to
    /// U+001F) move to the choices; the tokens of a choice are the tokens of query +
    /// delimiter + choice behind the number of tokens of the query alone.  An empty
    /// query becomes BOS, or EOS if the model has no BOS.
    ///
    /// @param[out] out  the task; the caller frees it with tlp_task_free
    /// @param model     model with the vocabulary; the task keeps it alive
    /// @param path      UTF-8
    /// @param opts      NULL = defaults
    /// @return TLP_OK; TLP_EIO; TLP_EFORMAT, with a text that names line and key
    /// @since 0.1
    pub fn tlp_task_load(
        out: *mut *mut tlp_task,
        model: *mut tlp_model,
        path: *const ::std::os::raw::c_char,
        opts: *const tlp_task_options,
    ) -> tlp_status;
}
extern "C" {
    /// Release a task.
    ///
    /// @param task  NULL is allowed
    /// @since 0.1
    pub fn tlp_task_free(task: *mut tlp_task);
}
/// Facts about a task.
#[repr(C)]
pub struct tlp_task_info {
    /// set by the caller
    pub struct_size: usize,
    /// items
    pub n_item: u64,
    /// items whose query lost its beginning
    pub n_cut: u64,
    /// least n_ctx of a session that answers the task
    pub max_token: i32,
}
#[test]
fn bindgen_test_layout_tlp_task_info() {
    assert_eq!(
        ::std::mem::size_of::<tlp_task_info>(),
        32usize,
        concat!("Size of: ", stringify!(tlp_task_info))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_task_info>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_task_info))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_info),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_n_item() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_item) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_info),
                "::",
                stringify!(n_item)
            )
        );
    }
    test_field_n_item();
    fn test_field_n_cut() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_cut) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_info),
                "::",
                stringify!(n_cut)
            )
        );
    }
    test_field_n_cut();
    fn test_field_max_token() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_info>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).max_token) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_info),
                "::",
                stringify!(max_token)
            )
        );
    }
    test_field_max_token();
}
impl Default for tlp_task_info {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Get facts about a task.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param task      task
    /// @return TLP_OK
    /// @since 0.1
    pub fn tlp_task_get_info(out: *mut tlp_task_info, task: *const tlp_task) -> tlp_status;
}
/// One question.
#[repr(C)]
pub struct tlp_task_item {
    /// set by the caller
    pub struct_size: usize,
    /// borrowed from the task
    pub query: *const ::std::os::raw::c_char,
    /// n_choice texts, borrowed from the task
    pub choices: *const *const ::std::os::raw::c_char,
    /// choices
    pub n_choice: i32,
    /// index of the right choice
    pub gold: i32,
}
#[test]
fn bindgen_test_layout_tlp_task_item() {
    assert_eq!(
        ::std::mem::size_of::<tlp_task_item>(),
        32usize,
        concat!("Size of: ", stringify!(tlp_task_item))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_task_item>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_task_item))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_item>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_item),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_query() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_item>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).query) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_item),
                "::",
                stringify!(query)
            )
        );
    }
    test_field_query();
    fn test_field_choices() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_item>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).choices) as usize - ptr as usize
            },
            16usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_item),
                "::",
                stringify!(choices)
            )
        );
    }
    test_field_choices();
    fn test_field_n_choice() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_item>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).n_choice) as usize - ptr as usize
            },
            24usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_item),
                "::",
                stringify!(n_choice)
            )
        );
    }
    test_field_n_choice();
    fn test_field_gold() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_task_item>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).gold) as usize - ptr as usize
            },
            28usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_task_item),
                "::",
                stringify!(gold)
            )
        );
    }
    test_field_gold();
}
impl Default for tlp_task_item {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Get one item of a task.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param task      task
    /// @param index     0 to n_item - 1
    /// @return TLP_OK; TLP_EINVAL past the last item
    /// @since 0.1
    pub fn tlp_task_get_item(
        out: *mut tlp_task_item,
        task: *const tlp_task,
        index: usize,
    ) -> tlp_status;
}
/// Answer to one question.  Of equal choices the first one counts.
#[repr(C)]
pub struct tlp_answer {
    /// set by the caller
    pub struct_size: usize,
    /// choice with the highest log-probability, for the
    /// accuracy "acc"
    pub best: i32,
    /// choice with the highest log-probability per
    /// character, for "acc_norm"
    pub best_norm: i32,
}
#[test]
fn bindgen_test_layout_tlp_answer() {
    assert_eq!(
        ::std::mem::size_of::<tlp_answer>(),
        16usize,
        concat!("Size of: ", stringify!(tlp_answer))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_answer>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_answer))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_answer>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_answer),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_best() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_answer>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).best) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_answer),
                "::",
                stringify!(best)
            )
        );
    }
    test_field_best();
    fn test_field_best_norm() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_answer>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).best_norm) as usize - ptr as usize
            },
            12usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_answer),
                "::",
                stringify!(best_norm)
            )
        );
    }
    test_field_best_norm();
}
impl Default for tlp_answer {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Answer one item of a task with a session.
    ///
    /// The call uses sequence 0; the former content of sequence 0 is lost.  It
    /// evaluates the query once for all choices.
    ///
    /// @param[out] out      the caller sets struct_size
    /// @param[out] logprob  n_choice sums over the tokens of each choice, nats; NULL
    ///                      is allowed
    /// @param task          task
    /// @param index         0 to n_item - 1
    /// @param session       session of the model of the task
    /// @return TLP_OK; TLP_EINVAL past the last item; TLP_EFULL if the session has
    ///         fewer positions than max_token of the task; TLP_EMISMATCH if the
    ///         session is one of another model; the statuses of tlp_session_score
    /// @since 0.1
    pub fn tlp_task_answer(
        out: *mut tlp_answer,
        logprob: *mut f64,
        task: *const tlp_task,
        index: usize,
        session: *mut tlp_session,
    ) -> tlp_status;
}
/// repeat four words
pub const TLP_DRILL_COPY_WORDS: tlp_drill_kind = 0;
/// repeat six digits
pub const TLP_DRILL_COPY_DIGITS: tlp_drill_kind = 1;
/// add two numbers of one digit
pub const TLP_DRILL_ADD: tlp_drill_kind = 2;
/// add two numbers of two digits
pub const TLP_DRILL_ADD_TENS: tlp_drill_kind = 3;
/// Kind of a drill.
pub type tlp_drill_kind = ::std::os::raw::c_uint;
/// One drill.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tlp_drill {
    /// set by the caller
    pub struct_size: usize,
    /// name of the kind: "copy-words"
    pub name: [::std::os::raw::c_char; 24usize],
    /// text to complete
    pub prompt: [::std::os::raw::c_char; 424usize],
    /// right completion, without the blank before it
    pub answer: [::std::os::raw::c_char; 64usize],
}
#[test]
fn bindgen_test_layout_tlp_drill() {
    assert_eq!(
        ::std::mem::size_of::<tlp_drill>(),
        520usize,
        concat!("Size of: ", stringify!(tlp_drill))
    );
    assert_eq!(
        ::std::mem::align_of::<tlp_drill>(),
        8usize,
        concat!("Alignment of ", stringify!(tlp_drill))
    );
    fn test_field_struct_size() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_drill>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).struct_size) as usize - ptr as usize
            },
            0usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_drill),
                "::",
                stringify!(struct_size)
            )
        );
    }
    test_field_struct_size();
    fn test_field_name() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_drill>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).name) as usize - ptr as usize
            },
            8usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_drill),
                "::",
                stringify!(name)
            )
        );
    }
    test_field_name();
    fn test_field_prompt() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_drill>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).prompt) as usize - ptr as usize
            },
            32usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_drill),
                "::",
                stringify!(prompt)
            )
        );
    }
    test_field_prompt();
    fn test_field_answer() {
        assert_eq!(
            unsafe {
                let uninit = ::std::mem::MaybeUninit::<tlp_drill>::uninit();
                let ptr = uninit.as_ptr();
                ::std::ptr::addr_of!((*ptr).answer) as usize - ptr as usize
            },
            456usize,
            concat!(
                "Offset of field: ",
                stringify!(tlp_drill),
                "::",
                stringify!(answer)
            )
        );
    }
    test_field_answer();
}
impl Default for tlp_drill {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
extern "C" {
    #[must_use]
    /// Generate a drill.
    ///
    /// @param[out] out  the caller sets struct_size
    /// @param kind      enum tlp_drill_kind
    /// @param seed      equal seeds give equal drills
    /// @param index     number of the drill, from 0
    /// @return TLP_OK; TLP_EINVAL for an unknown kind
    /// @since 0.1
    pub fn tlp_drill_get(
        out: *mut tlp_drill,
        kind: ::std::os::raw::c_int,
        seed: u64,
        index: u64,
    ) -> tlp_status;
}
extern "C" {
    #[must_use]
    /// Complete a drill greedily with a session.
    ///
    /// The call uses sequence 0; the former content of sequence 0 is lost.
    ///
    /// @param[out] exact  1 if the generated line is the answer, else 0; blanks
    ///                    around the line do not count
    /// @param drill       drill
    /// @param model       model of the session
    /// @param session     session
    /// @return TLP_OK; TLP_EFULL if the drill does not fit into n_ctx positions;
    ///         TLP_EMISMATCH if the session is one of another model; the statuses of
    ///         tlp_session_generate
    /// @since 0.1
    pub fn tlp_drill_run(
        exact: *mut i32,
        drill: *const tlp_drill,
        model: *mut tlp_model,
        session: *mut tlp_session,
    ) -> tlp_status;
}
