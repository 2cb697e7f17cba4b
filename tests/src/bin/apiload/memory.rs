//! What the server's processes hold.

/// The processes to ask; none if they are not known.
pub struct Memory(Vec<usize>);

impl Memory {
    pub fn of(pids: &[usize]) -> Self {
        Memory(pids.to_vec())
    }

    /// Resident KiB of all of them; `None` if one cannot be read.
    pub fn resident(&self) -> Option<usize> {
        let each = |pid: &usize| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().split(' ').next()?.parse::<usize>().ok()
        };
        (!self.0.is_empty()).then(|| self.0.iter().map(each).sum())?
    }

    pub fn show(&self, when: &str) {
        if let Some(resident) = self.resident() {
            let name = format!("memory {when}");
            println!("{name:<44} {:>9.1} MiB", resident as f64 / 1024.0);
        }
    }

    /// Prints what each of some things takes, since there was `before`.
    pub fn show_each(&self, before: Option<usize>, count: usize, what: &str) {
        if let (Some(before), Some(now)) = (before, self.resident()) {
            let name = format!("memory with {count} {what}");
            let each = now.saturating_sub(before) as f64 / count as f64;
            println!("{name:<44} {:>9.1} MiB, {each:.2} KiB each", now as f64 / 1024.0);
        }
    }
}
