//! Examples and tests find libtlp in the folder that `tlp-sys` linked with.
//! Cargo does not hand such arguments on from the crate that links.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(folder) = std::env::var("DEP_TLP_LIB_DIR") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder);
    }
}
