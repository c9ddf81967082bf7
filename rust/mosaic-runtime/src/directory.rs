//! The runtime's directory: sockets and the secret, readable by their owner only, gone with the runtime.
//!
//! Every process of a runtime holds a shared lock on the file `lock` in it. Whoever can take that lock
//! exclusively knows that nobody lives there any more: that is how a new runtime sweeps up after one
//! whose every process was killed at once (`DIR-1`).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use mosaic_core::id::RuntimeId;
use rustix::fs::{FlockOperation, flock};

use crate::auth::Secret;

const PREFIX: &str = "mosaic-";

/// A runtime's directory, and this process's lock on it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    secret: Secret,
    lock: Mutex<Option<File>>,
}

impl Directory {
    /// Make a new one below `XDG_RUNTIME_DIR` or the directory for temporary files.
    pub fn create() -> io::Result<Self> {
        let base = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute() && path.is_dir())
            .unwrap_or_else(std::env::temp_dir);
        Self::create_in(&base)
    }

    /// Make a new one below `base`, after sweeping up what dead runtimes of this user left there.
    pub fn create_in(base: &Path) -> io::Result<Self> {
        sweep(base);
        let secret = Secret::generate()?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        // Twelve digits: a socket's path has to be short.
        let name = u64::from_ne_bytes(random) >> 16;
        let path = base.join(format!("{PREFIX}{}-{name:012x}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        let private = |name: &str| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path.join(name))
        };
        // Locked before it bears its name, so that no sweep can find it free.
        let lock = private("lock.new")?;
        flock(&lock, FlockOperation::LockShared)?;
        fs::rename(path.join("lock.new"), path.join("lock"))?;
        private("secret")?.write_all(&secret.to_bytes())?;
        Ok(Self {
            path,
            secret,
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Enter the one that the head made. Refuses one that others could have read.
    pub fn join(path: &Path) -> io::Result<Self> {
        let own = rustix::process::geteuid().as_raw();
        for part in [path.to_path_buf(), path.join("secret")] {
            let status = fs::metadata(&part)?;
            if status.uid() != own || status.mode() & 0o077 != 0 {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "{} is not private to user {own}: mode {:o}",
                        part.display(),
                        status.mode() & 0o777
                    ),
                ));
            }
        }
        let lock = OpenOptions::new().read(true).open(path.join("lock"))?;
        flock(&lock, FlockOperation::LockShared)?;
        let mut bytes = [0; Secret::LENGTH];
        File::open(path.join("secret"))?.read_exact(&mut bytes)?;
        Ok(Self {
            path: path.to_path_buf(),
            secret: Secret::from_bytes(&bytes),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its members share.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The socket that a runtime listens on.
    pub fn socket(&self, runtime: RuntimeId) -> PathBuf {
        self.path.join(format!("{}.sock", runtime.0))
    }

    /// This process has left: it does not keep the directory alive any more.
    pub fn leave(&self) {
        drop(crate::shared::lock(&self.lock).take());
    }

    /// Remove it with everything in it. Others may do the same at the same time.
    pub fn remove(&self) {
        remove(&self.path);
    }
}

/// Remove the directory of a runtime whose head is dead, if it is one of this user's.
pub(crate) fn remove_of_dead(path: &Path) {
    let own = rustix::process::geteuid().as_raw();
    let named = path
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    if named
        && fs::symlink_metadata(path).is_ok_and(|status| status.is_dir() && status.uid() == own)
    {
        remove(path);
    }
}

fn remove(path: &Path) {
    // Somebody else may be removing it too: what counts is that it is gone.
    for _ in 0..3 {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.exists() => {}
            _ => return,
        }
    }
}

/// Remove the directories of runtimes of which no process lives (`DIR-1`).
fn sweep(base: &Path) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry
                .metadata()
                .is_ok_and(|status| status.is_dir() && status.uid() == own);
        if !ours {
            continue;
        }
        // A directory without its lock is one that is being made or unmade at this moment.
        let Ok(lock) = File::open(path.join("lock")) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_whole() {
        let base = tempfile::tempdir().expect("a directory");
        let directory = Directory::create_in(base.path()).expect("a runtime directory");
        assert_eq!(
            fs::metadata(directory.path()).expect("it exists").mode() & 0o777,
            0o700
        );
        assert_eq!(
            fs::metadata(directory.path().join("secret"))
                .expect("it exists")
                .mode()
                & 0o777,
            0o600
        );
        let member = Directory::join(directory.path()).expect("a member");
        assert_eq!(member.secret().to_bytes(), directory.secret().to_bytes());
        directory.remove();
        assert_eq!(fs::read_dir(base.path()).expect("the base").count(), 0);
    }

    #[test]
    fn one_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().expect("a directory");
        let directory = Directory::create_in(base.path()).expect("a runtime directory");
        fs::set_permissions(
            directory.path().join("secret"),
            fs::Permissions::from_mode(0o644),
        )
        .expect("chmod");
        let refusal = Directory::join(directory.path()).expect_err("a refusal");
        assert!(refusal.to_string().contains("not private"), "{refusal}");
    }

    /// `DIR-1`
    #[test]
    fn the_dead_are_swept_up_and_the_living_left_alone() {
        let base = tempfile::tempdir().expect("a directory");
        let dead = Directory::create_in(base.path()).expect("a runtime directory");
        dead.leave();
        let dead = dead.path().to_path_buf();
        let living = Directory::create_in(base.path()).expect("a runtime directory");
        assert!(!dead.exists());
        let next = Directory::create_in(base.path()).expect("a runtime directory");
        assert!(living.path().exists() && next.path().exists());
    }
}
