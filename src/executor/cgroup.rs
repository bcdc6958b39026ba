//! Whether the kernel killed something of ours for memory: the control group counts.

use std::fs;
use std::path::PathBuf;

/// Processes of this process's control group that were killed for memory so far. None: nobody counts (no cgroup v2).
pub fn out_of_memory_kills() -> Option<u64> {
    // Source: cgroups(7); the line of version 2 starts with "0::".
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let file = PathBuf::from(format!("/sys/fs/cgroup{path}")).join("memory.events");
    count(&fs::read_to_string(file).ok()?)
}

fn count(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_read() {
        assert_eq!(count("low 0\nhigh 3\nmax 5\noom 2\noom_kill 7\noom_group_kill 0\n"), Some(7));
        assert_eq!(count("low 0\n"), None);
    }
}
