//! How much memory a process may use, and whether the kernel killed one for want of it.
//!
//! The kernel sends no notification of an out-of-memory kill, but it counts kills: for the machine, and for each
//! control group that has a limit. A worker that died by SIGKILL while the counter of its group rose was killed for
//! want of memory (`OOM-1`). One kill explains one death. Where the kernel does not count, the cause stays open.
//!
//! The head's I/O thread reads the counters when a worker has died and before it is reaped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The cause of a death by SIGKILL, as far as the counters show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// They cannot be read.
    Unknown,
    /// The kernel killed no process for want of memory.
    NotMemory,
    /// The kernel killed the process; the limit in bytes that was reached, of its group or of the machine.
    Memory { limit: Option<u64>, of_group: bool },
}

/// The kills that have been explained, or were there before.
#[derive(Debug, Default)]
pub(crate) struct KillCounts {
    machine: Option<u64>,
    groups: BTreeMap<PathBuf, u64>,
}

impl KillCounts {
    /// Look at the counters while nobody has died yet.
    pub(crate) fn now() -> Self {
        let mut counts = Self {
            machine: machine_kills(),
            ..Self::default()
        };
        if let Some(group) = Group::of(std::process::id())
            && let Some(kills) = group.kills()
        {
            counts.groups.insert(group.directory, kills);
        }
        counts
    }

    /// A process of that group was killed by SIGKILL: by whom?
    pub(crate) fn explain(&mut self, group: Option<&Group>) -> Verdict {
        let machine = machine_kills();
        let kills = group.and_then(Group::kills);
        let directory = group.map(|group| group.directory.as_path());
        match self.compare(machine, directory.zip(kills)) {
            Some(true) => {
                let limit = group.and_then(Group::limit);
                Verdict::Memory {
                    limit: limit.or_else(machine_memory),
                    of_group: limit.is_some(),
                }
            }
            Some(false) => Verdict::NotMemory,
            None => Verdict::Unknown,
        }
    }

    /// Whether the counters have risen; the kill is explained by that. `None` if there are none.
    fn compare(&mut self, machine: Option<u64>, group: Option<(&Path, u64)>) -> Option<bool> {
        // The machine's counter rises with every group's.
        let machine_rose = machine.map(|now| now > self.machine.unwrap_or(0));
        let group_rose = group.map(|(directory, now)| {
            let before = self.groups.entry(directory.to_path_buf()).or_insert(0);
            let rose = now > *before;
            if rose && machine_rose != Some(false) {
                *before += 1;
            }
            rose
        });
        let killed = match (machine_rose, group_rose) {
            (None, None) => return None,
            (machine, group) => machine.unwrap_or(true) && group.unwrap_or(true),
        };
        if killed && let Some(before) = &mut self.machine {
            *before += 1;
        }
        Some(killed)
    }
}

/// A control group that memory is counted for, of either version of the interface.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    mount: PathBuf,
    directory: PathBuf,
    unified: bool,
}

impl Group {
    /// That of a process that has ended and not been reaped. The older interface does not tell any more.
    pub(crate) fn of_ended(process: u32) -> Option<Self> {
        Self::of(process).filter(|group| group.unified)
    }

    /// That of a living process.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::find(&groups, &mounts)
    }

    /// From the texts of `/proc/PID/cgroup` and `/proc/self/mountinfo`.
    fn find(groups: &str, mounts: &str) -> Option<Self> {
        let rows = || {
            groups.lines().filter_map(|line| {
                let (_, rest) = line.split_once(':')?;
                rest.split_once(':')
            })
        };
        let old =
            rows().find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
        let unified = old.is_none();
        let (_, path) = old.or_else(|| rows().find(|(controllers, _)| controllers.is_empty()))?;
        mounts.lines().find_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mut kind = kind.split(' ');
            let is_it = match kind.next()? {
                "cgroup2" => unified,
                "cgroup" => !unified && kind.nth(1)?.split(',').any(|name| name == "memory"),
                _ => false,
            };
            let mut place = place.split(' ').skip(3);
            let (root, mount) = (place.next()?, place.next()?);
            // Seen from inside a group, the mount begins there.
            let inside = Path::new(path).strip_prefix(root).ok().filter(|_| is_it)?;
            let mount = PathBuf::from(mount);
            let directory = mount.join(inside);
            Some(Self {
                mount,
                directory,
                unified,
            })
        })
    }

    fn kills(&self) -> Option<u64> {
        let file = if self.unified {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        counter(
            &fs::read_to_string(self.directory.join(file)).ok()?,
            "oom_kill",
        )
    }

    /// The lowest limit of the group and those around it.
    fn limit(&self) -> Option<u64> {
        let file = if self.unified {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        let around = self
            .directory
            .ancestors()
            .take_while(|directory| directory.starts_with(&self.mount));
        let limits = around.filter_map(|directory| {
            let text = fs::read_to_string(directory.join(file)).ok()?;
            // The word "max", or more than any machine has, stands for no limit.
            text.trim().parse().ok().filter(|limit| *limit < 1 << 60)
        });
        limits.min()
    }
}

/// The number behind a name in a text of such lines.
fn counter(text: &str, name: &str) -> Option<u64> {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    rest.trim().parse().ok()
}

fn machine_kills() -> Option<u64> {
    counter(&fs::read_to_string("/proc/vmstat").ok()?, "oom_kill")
}

fn machine_memory() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// The largest size in bytes that the memory of this process has had. `None` where the system does not tell.
pub(crate) fn own_peak() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The bytes behind a name in a text of such lines.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let count: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    count.checked_mul(1024)
}

/// Bytes that this process may use: the machine's, or fewer if a control group around it says so. `None` where the
/// system does not tell.
pub fn available() -> Option<u64> {
    let limit = Group::of(std::process::id()).and_then(|group| group.limit());
    limit.into_iter().chain(machine_memory()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
29 1 0:25 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
30 1 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
31 1 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn counters_are_found_by_their_whole_name() {
        let text = "low 0\noom 7\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(counter(text, "oom_kill"), Some(3));
        assert_eq!(counter(text, "oom"), Some(7));
        assert_eq!(
            counter("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", "oom_kill"),
            Some(2)
        );
        assert_eq!(counter(text, "max"), None);
    }

    #[test]
    fn groups_of_both_versions_are_found() {
        let old =
            Group::find("4:cpu:/x\n3:blkio,memory:/jobs/7\n0::/other\n", MOUNTS).expect("a group");
        assert_eq!(old.directory, Path::new("/sys/fs/cgroup/memory/jobs/7"));
        assert!(!old.unified);
        let new = Group::find("4:cpu:/x\n0::/jobs/8\n", MOUNTS).expect("a group");
        assert_eq!(new.directory, Path::new("/sys/fs/cgroup/unified/jobs/8"));
        assert!(new.unified);
        let inside = "31 1 0:27 /jobs /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let inside = Group::find("0::/jobs/8\n", inside).expect("a group");
        assert_eq!(inside.directory, Path::new("/sys/fs/cgroup/8"));
        assert!(Group::find("", MOUNTS).is_none());
    }

    /// `OOM-1`
    #[test]
    fn one_kill_explains_one_death() {
        let group = Path::new("/sys/fs/cgroup/jobs");
        let mut counts = KillCounts {
            machine: Some(5),
            ..KillCounts::default()
        };
        counts.groups.insert(group.to_path_buf(), 2);
        assert_eq!(counts.compare(Some(5), Some((group, 2))), Some(false));
        assert_eq!(counts.compare(Some(7), Some((group, 3))), Some(true));
        assert_eq!(
            counts.compare(Some(7), Some((group, 3))),
            Some(false),
            "that one is explained"
        );
        let moved = Path::new("/sys/fs/cgroup/elsewhere");
        assert_eq!(
            counts.compare(Some(7), Some((moved, 1))),
            Some(true),
            "a group that was not looked at before"
        );
        assert_eq!(
            counts.compare(Some(7), Some((moved, 2))),
            Some(false),
            "nobody was killed on the machine"
        );
    }

    #[test]
    fn without_groups_the_machine_tells_and_without_counters_nobody() {
        let mut counts = KillCounts {
            machine: Some(0),
            ..KillCounts::default()
        };
        assert_eq!(counts.compare(Some(1), None), Some(true));
        assert_eq!(counts.compare(Some(1), None), Some(false));
        assert_eq!(KillCounts::default().compare(None, None), None);
    }
}
