//! Finds libtlp: in `TLP_LIB_DIR`, in the build folder of a clone, or through
//! pkg-config.  Dependents read the folder that needs an
//! rpath as `DEP_TLP_LIB_DIR`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{exit, Command};

const LIBRARY: &str = "libtlp.so";
const BUILD_OF_CLONE: &str = "../../../build";

fn main() {
    println!("cargo:rerun-if-env-changed=TLP_LIB_DIR");
    println!("cargo:rerun-if-env-changed=TLP_NO_RPATH");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo:rerun-if-changed=build.rs");
    match find() {
        Ok(found) => tell(&found),
        Err(text) => {
            eprintln!("tlp-sys: {}", text);
            exit(1);
        }
    }
}

/// Where libtlp is.
enum Found {
    /// A folder that the loader does not search.
    Folder(PathBuf),
    /// Folders that pkg-config names; none where the linker searches.
    System(Vec<PathBuf>),
}

fn find() -> Result<Found, String> {
    if let Some(folder) = env::var_os("TLP_LIB_DIR") {
        let folder = PathBuf::from(folder);
        return if folder.join(LIBRARY).exists() {
            Ok(Found::Folder(folder))
        } else {
            Err(format!(
                "TLP_LIB_DIR is {}: a folder with {} expected",
                folder.display(),
                LIBRARY
            ))
        };
    }
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).join(BUILD_OF_CLONE);
    if clone.join(LIBRARY).exists() {
        let build = clone.canonicalize().map_err(|e| e.to_string())?;
        // A build that is newer than the last one of this crate needs no other
        // flags, but a build that goes away does.
        println!("cargo:rerun-if-changed={}", build.join(LIBRARY).display());
        return Ok(Found::Folder(build));
    }
    pkg_config().ok_or_else(|| {
        format!(
            "no libtlp: set TLP_LIB_DIR to the folder of {}, run make at the \
             top of the clone, or set PKG_CONFIG_PATH to the folder of tlp.pc",
            LIBRARY
        )
    })
}

/// Asks the program pkg-config.  None if it does not know tlp.
fn pkg_config() -> Option<Found> {
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output = Command::new(program)
        .args(["--libs-only-L", "tlp"])
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    let folders = text
        .trim()
        .strip_prefix("-L")
        .map(|folder| PathBuf::from(folder.trim_matches('"')));
    Some(Found::System(folders.into_iter().collect()))
}

fn tell(found: &Found) {
    let folders = match found {
        Found::Folder(folder) => std::slice::from_ref(folder),
        Found::System(folders) => folders,
    };
    for folder in folders {
        println!("cargo:rustc-link-search=native={}", folder.display());
    }
    println!("cargo:rustc-link-lib=dylib=tlp");
    // With TLP_NO_RPATH the user's loader has to find the library.
    if env::var_os("TLP_NO_RPATH").is_some() {
        return;
    }
    if let Found::Folder(folder) = found {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
        println!("cargo:lib_dir={}", folder.display());
    }
}
