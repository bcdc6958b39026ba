//! Control groups: what limits the memory of a process besides the host, and whether the kernel has killed for it.
//!
//! Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; proc(5) for mountinfo.

use std::fs;
use std::path::{Path, PathBuf};

/// One control group of the memory controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its directory.
    dir: PathBuf,
    /// Where its hierarchy is mounted.
    mount: PathBuf,
    v2: bool,
}

impl Cgroup {
    /// The group that a process is in. None: there is no memory controller, or the process is gone.
    pub fn of(pid: u32) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::find(&groups, &mounts).into_iter().find(Self::has_memory)
    }

    /// The groups of both versions that the two files speak of.
    fn find(groups: &str, mounts: &str) -> Vec<Self> {
        let mut found = Vec::new();
        for line in groups.lines() {
            // hierarchy:controllers:path; version 2 has number 0 and names none
            let mut fields = line.splitn(3, ':');
            let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let v2 = number == "0" && controllers.is_empty();
            if !v2 && !controllers.split(',').any(|name| name == "memory") {
                continue;
            }
            for mount in mounts.lines().filter_map(|line| Mount::parse(line, v2)) {
                // a container sees the hierarchy from its own group on
                let inside = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
                let dir = mount.point.join(inside.strip_prefix("/").unwrap_or(inside));
                let dir = if dir.is_dir() { dir } else { mount.point.clone() };
                found.push(Self { dir, mount: mount.point, v2 });
            }
        }
        found
    }

    /// Its directory, as people know it.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// It and all that it is in: each may have a limit.
    pub fn upwards(self) -> impl Iterator<Item = Self> {
        let mount = self.mount.clone();
        std::iter::successors(Some(self), move |group| {
            let dir = group.dir.parent().filter(|parent| parent.starts_with(&mount))?.to_owned();
            Some(Self { dir, ..group.clone() })
        })
    }

    /// Memory in use, caches that can be dropped not counted, and the limit. None: no limit is set. Unit: bytes.
    pub fn usage(&self) -> Option<(u64, u64)> {
        let (limit, used, cache) = if self.v2 {
            ("memory.max", "memory.current", "inactive_file")
        } else {
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        };
        let limit: u64 = self.read(limit)?.trim().parse().ok()?;
        let used: u64 = self.read(used)?.trim().parse().ok()?;
        let cache = self.field("memory.stat", cache).unwrap_or(0);
        Some((used.saturating_sub(cache), limit.max(1)))
    }

    /// How many processes the kernel has killed in it, or below it, because no memory was left.
    pub fn oom_kills(&self) -> Option<u64> {
        self.field(if self.v2 { "memory.events" } else { "memory.oom_control" }, "oom_kill")
    }

    /// Whether a process is in it or below it.
    pub fn holds(&self, pid: u32) -> bool {
        Self::of(pid).is_some_and(|group| group.v2 == self.v2 && group.dir.starts_with(&self.dir))
    }

    fn has_memory(&self) -> bool {
        let files: &[&str] = if self.v2 { &["memory.stat"] } else { &["memory.usage_in_bytes"] };
        files.iter().any(|file| self.dir.join(file).is_file())
    }

    fn field(&self, file: &str, name: &str) -> Option<u64> {
        let text = self.read(file)?;
        text.lines().find_map(|line| line.split_once(' ').filter(|(key, _)| *key == name)?.1.trim().parse().ok())
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.dir.join(file)).ok()
    }
}

/// Where a hierarchy is mounted, and which of its groups stands there.
struct Mount {
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// A line of mountinfo: `36 35 98:0 /root /mnt options - type source super-options`.
    fn parse(line: &str, v2: bool) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut kind = after.split(' ');
        let (kind, options) = (kind.next()?, kind.nth(1)?);
        let wanted = if v2 { kind == "cgroup2" } else { kind == "cgroup" && options.split(',').any(|o| o == "memory") };
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        wanted.then(|| Self { root: root.into(), point: point.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNT: &str = "32 31 0:29 / MOUNT rw,relatime shared:9 - cgroup cgroup rw,memory";
    const V2_MOUNT: &str = "31 23 0:28 / MOUNT rw,relatime - cgroup2 cgroup2 rw,nsdelegate";

    fn write(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).expect("a directory");
        files.iter().for_each(|(name, text)| fs::write(dir.join(name), text).expect("written"));
    }

    fn find(groups: &str, mount: &str, at: &Path) -> Cgroup {
        let mounts = mount.replace("MOUNT", &at.display().to_string());
        let mut found = Cgroup::find(groups, &mounts);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn limits_of_version_2_are_read_up_the_hierarchy() {
        let root = tempfile::tempdir().expect("a directory");
        let service = root.path().join("system.slice/retraind.service");
        write(
            &service,
            &[
                ("memory.max", "max\n"),
                ("memory.current", "900\n"),
                ("memory.stat", "anon 500\ninactive_file 300\n"),
                ("memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 0\n"),
            ],
        );
        write(&root.path().join("system.slice"), &[("memory.max", "1000\n"), ("memory.current", "950\n")]);
        let group = find("0::/system.slice/retraind.service\n", V2_MOUNT, root.path());
        assert_eq!((group.usage(), group.oom_kills()), (None, Some(2)));
        let usages: Vec<_> = group.upwards().map(|group| group.usage()).collect();
        assert_eq!(usages, [None, Some((950, 1000)), None], "the service's, the slice's, the root's");
    }

    #[test]
    fn limits_of_version_1_are_read_too() {
        let root = tempfile::tempdir().expect("a directory");
        write(
            &root.path().join("job"),
            &[
                ("memory.limit_in_bytes", "1000\n"),
                ("memory.usage_in_bytes", "900\n"),
                ("memory.stat", "cache 400\ntotal_inactive_file 300\n"),
                ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
            ],
        );
        let group = find("9:name=systemd:/\n4:cpu,memory:/job\n", V1_MOUNT, root.path());
        assert_eq!((group.usage(), group.oom_kills()), (Some((600, 1000)), Some(1)));
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_mount() {
        let root = tempfile::tempdir().expect("a directory");
        write(root.path(), &[("memory.max", "10\n"), ("memory.current", "9\n")]);
        let mount = V2_MOUNT.replace(" / MOUNT", " /docker/abc MOUNT");
        for groups in ["0::/docker/abc\n", "0::/\n", "0::/elsewhere\n"] {
            assert_eq!(find(groups, &mount, root.path()).usage(), Some((9, 10)), "{groups}");
        }
    }
}
