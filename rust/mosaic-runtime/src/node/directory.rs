//! The runtime's directory: sockets and the secret, readable by their owner only, gone with the runtime.
//!
//! Every process of a runtime holds a shared lock on the file `lock` in it. A process that gets that lock exclusively
//! knows that no process of that runtime is left: so a new runtime removes the directory of one whose processes were
//! all killed at once (`DIR-1`). A directory gets its name when its lock is held, and the lock is removed last, so a
//! directory without a lock is one that was being removed. A directory that is being made bears another name and is
//! removed if it is not locked; its maker then finds it gone and makes another.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mosaic_core::id::RuntimeId;
use rustix::fs::{FlockOperation, flock};

use crate::net::handshake::Secret;
use crate::sync::{Mutex, Rank};

const PREFIX: &str = "mosaic-";
/// Before the name of one that is being made.
const UNFINISHED: &str = ".";
const LOCK: &str = "lock";
/// How often a directory may be swept away while it is being made.
const ATTEMPTS: usize = 10;

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
        let mut made = Self::make_in(base);
        for _ in 1..ATTEMPTS {
            match &made {
                Err(error) if error.kind() == io::ErrorKind::NotFound && base.is_dir() => {
                    made = Self::make_in(base);
                }
                _ => break,
            }
        }
        made
    }

    fn make_in(base: &Path) -> io::Result<Self> {
        let secret = Secret::generate()?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        // Twelve digits: a socket's path has to be short.
        let name = u64::from_ne_bytes(random) >> 16;
        let name = format!("{PREFIX}{}-{name:012x}", std::process::id());
        let unfinished = base.join(format!("{UNFINISHED}{name}"));
        DirBuilder::new().mode(0o700).create(&unfinished)?;
        let private = |name: &str| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(unfinished.join(name))
        };
        let lock = private(LOCK)?;
        flock(&lock, FlockOperation::LockShared)?;
        private("secret")?.write_all(&secret.to_bytes())?;
        let path = base.join(name);
        fs::rename(&unfinished, &path)?;
        Ok(Self {
            path,
            secret,
            lock: Mutex::new(Rank::DirectoryLock, Some(lock)),
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
        let lock = OpenOptions::new().read(true).open(path.join(LOCK))?;
        flock(&lock, FlockOperation::LockShared)?;
        let mut bytes = [0; Secret::LENGTH];
        File::open(path.join("secret"))?.read_exact(&mut bytes)?;
        Ok(Self {
            path: path.to_path_buf(),
            secret: Secret::from_bytes(&bytes),
            lock: Mutex::new(Rank::DirectoryLock, Some(lock)),
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

    /// This process has left: it does not keep the directory alive any more. If it was the last, its head having been
    /// killed, no other process removes it.
    pub fn leave(&self) {
        let lock = self.lock.lock().take();
        drop(lock);
        if let Ok(lock) = File::open(self.path.join(LOCK))
            && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            remove(&self.path);
        }
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
        .is_some_and(|name| is_ours(&name.to_string_lossy()));
    if named
        && fs::symlink_metadata(path).is_ok_and(|status| status.is_dir() && status.uid() == own)
    {
        remove(path);
    }
}

/// Another process may be removing it too, or be about to put a socket into it: what counts is that it is gone.
pub(crate) fn remove(path: &Path) {
    for _ in 0..3 {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            if entry.file_name() != LOCK {
                let _ = fs::remove_file(entry.path());
            }
        }
        let _ = fs::remove_file(path.join(LOCK));
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            _ => return,
        }
    }
}

/// Remove the directories of runtimes of which no process lives (`DIR-1`).
fn sweep(base: &Path) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let finished = is_ours(&name);
        let unfinished = name.strip_prefix(UNFINISHED).is_some_and(is_ours);
        let of_this_user = || {
            let status = entry.metadata();
            status.is_ok_and(|status| status.is_dir() && status.uid() == own)
        };
        if !(finished || unfinished) || !of_this_user() {
            continue;
        }
        match File::open(path.join(LOCK)) {
            // Held meanwhile, so that no process enters.
            Ok(lock) => {
                if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    remove(&path);
                }
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {}
            Err(_) if finished => remove(&path),
            // Another process may be about to lock it. Refused if it has.
            Err(_) => {
                let _ = fs::remove_dir(&path);
            }
        }
    }
}

/// Whether it is a name that [`Directory::create_in`] gives.
fn is_ours(name: &str) -> bool {
    let parts = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(process, random)| {
        let hexadecimal = random.bytes().all(|digit| digit.is_ascii_hexdigit());
        process.parse::<u32>().is_ok() && random.len() == 12 && hexadecimal
    })
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
        drop(dead.lock.lock().take());
        let dead = dead.path().to_path_buf();
        let living = Directory::create_in(base.path()).expect("a runtime directory");
        assert!(!dead.exists());
        let next = Directory::create_in(base.path()).expect("a runtime directory");
        assert!(living.path().exists() && next.path().exists());
    }

    #[test]
    fn the_last_to_leave_removes_it() {
        let base = tempfile::tempdir().expect("a directory");
        let head = Directory::create_in(base.path()).expect("a runtime directory");
        let members = [(); 2].map(|()| Directory::join(head.path()).expect("a member"));
        members[0].leave();
        assert!(head.path().exists());
        // Killed.
        drop(head.lock.lock().take());
        assert!(head.path().exists());
        members[1].leave();
        assert!(!head.path().exists());
    }

    /// `DIR-1`
    #[test]
    fn dir_1_what_was_left_half_made_or_half_removed_is_swept_up() {
        let base = tempfile::tempdir().expect("a directory");
        let path = |name: &str| base.path().join(name);
        let half: [(&str, &[&str]); 7] = [
            (".mosaic-1-00000000000a", &[]),
            (".mosaic-1-00000000000b", &[LOCK]),
            (".mosaic-1-00000000000c", &[LOCK, "secret"]),
            ("mosaic-1-00000000000d", &[LOCK, "secret", "0.sock"]),
            ("mosaic-1-00000000000e", &[LOCK]),
            ("mosaic-1-00000000000f", &["1.sock"]),
            ("mosaic-1-000000000010", &[]),
        ];
        for (name, files) in half {
            fs::create_dir(path(name)).expect("a directory");
            for file in files {
                File::create(path(name).join(file)).expect("a file");
            }
        }
        let foreign = path("mosaic-1-notes");
        fs::create_dir(&foreign).expect("a directory");
        File::create(foreign.join("text")).expect("a file");
        let living = Directory::create_in(base.path()).expect("a runtime directory");
        let mut left: Vec<_> = fs::read_dir(base.path())
            .expect("the base")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        left.sort();
        let mut expected = vec![living.path().to_path_buf(), foreign];
        expected.sort();
        assert_eq!(left, expected);
    }

    /// `DIR-1`
    #[test]
    fn dir_1_sweeps_do_not_keep_anybody_from_starting() {
        let base = tempfile::tempdir().expect("a directory");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let made = Directory::create_in(base.path()).expect("a runtime directory");
                        Directory::join(made.path()).expect("it stays while somebody lives there");
                        made.leave();
                        made.remove();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(base.path()).expect("the base").count(), 0);
    }
}
