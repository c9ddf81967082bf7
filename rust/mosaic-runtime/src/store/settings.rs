//! What a store may use: from the environment, or from the program.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "amounts of memory for people: positive, and never exact"
)]

use std::path::PathBuf;
use std::time::Duration;

/// Environment: memory of the node that stores may take; a fraction up to 1, or bytes with a unit (`2GB`).
pub(crate) const MEMORY: &str = "MOSAIC_WAREHOUSE_MEM";
/// Environment: where buffers go that do not fit into memory.
pub(crate) const SPILL_DIRECTORY: &str = "MOSAIC_SPILL_DIRECTORY";
/// Environment: most bytes that a process may have there, with a unit.
pub(crate) const SPILL_LIMIT: &str = "MOSAIC_SPILL_LIMIT";

/// Environment: seconds for which memory stays warm that nothing uses.
pub(crate) const IDLE: &str = "MOSAIC_WAREHOUSE_IDLE";

/// Part of the machine's memory that stores may take if nothing else was said.
const USUAL_FRACTION: f64 = 0.5;
/// How long memory stays warm that nothing uses.
const USUAL_IDLE: Duration = Duration::from_secs(2);

/// What a store may use.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSettings {
    /// Bytes of memory that the stores of a node may take together.
    pub memory_limit: u64,
    /// Where buffers go that do not fit into memory.
    pub spill_directory: PathBuf,
    /// Most bytes that a process may have there.
    pub spill_limit: u64,
    /// How long memory stays warm that nothing uses.
    pub idle: Duration,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            memory_limit: (available_memory() as f64 * USUAL_FRACTION) as u64,
            spill_directory: std::env::temp_dir(),
            spill_limit: u64::MAX,
            idle: USUAL_IDLE,
        }
    }
}

impl StoreSettings {
    /// The usual ones, and what the environment says.
    ///
    /// # Errors
    /// A variable says something that makes no sense; the text says which and what it may say.
    pub fn from_environment() -> Result<Self, String> {
        let mut settings = Self::default();
        if let Some(text) = variable(MEMORY) {
            let set = settings.set_memory(&text);
            set.map_err(|error| format!("{MEMORY}: {error}"))?;
        }
        if let Some(text) = variable(SPILL_LIMIT) {
            let set = settings.set_spill_limit(&text);
            set.map_err(|error| format!("{SPILL_LIMIT}: {error}"))?;
        }
        if let Some(path) = std::env::var_os(SPILL_DIRECTORY).filter(|path| !path.is_empty()) {
            settings.spill_directory = path.into();
        }
        if let Some(text) = variable(IDLE) {
            let seconds = text.trim().parse().ok();
            settings.idle = seconds
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| format!("{IDLE}: {text:?} is no number of seconds"))?;
        }
        Ok(settings)
    }

    /// Bytes of memory that the stores of a node may take together: a fraction of the machine's memory up to 1, or
    /// bytes with or without a unit.
    ///
    /// # Errors
    /// It is neither; the text says what is possible.
    pub fn set_memory(&mut self, text: &str) -> Result<(), String> {
        self.memory_limit = memory(text)?;
        Ok(())
    }

    /// Most bytes that a process may have on disk, with or without a unit.
    ///
    /// # Errors
    /// It is no such amount; the text says what is possible.
    pub fn set_spill_limit(&mut self, text: &str) -> Result<(), String> {
        self.spill_limit = size(text)?;
        Ok(())
    }

    /// As environment, for the processes of a runtime.
    pub fn to_environment(&self) -> Vec<(String, String)> {
        let text = |name: &str, value: String| (name.to_owned(), value);
        vec![
            text(MEMORY, format!("{}B", self.memory_limit)),
            text(
                SPILL_DIRECTORY,
                self.spill_directory.to_string_lossy().into_owned(),
            ),
            text(SPILL_LIMIT, format!("{}B", self.spill_limit)),
            text(IDLE, self.idle.as_secs_f64().to_string()),
        ]
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|text| !text.trim().is_empty())
}

/// A fraction of the machine's memory, or bytes.
fn memory(text: &str) -> Result<u64, String> {
    match text.trim().parse::<f64>() {
        Ok(fraction) if fraction > 0.0 && fraction <= 1.0 => {
            Ok((available_memory() as f64 * fraction) as u64)
        }
        _ => size(text).map_err(|error| format!("{error}, or a fraction of the memory up to 1")),
    }
}

/// Bytes, with or without a unit: `512MB`, `2 GiB`, `1000000`.
fn size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{text:?} is no amount of memory: say bytes with a unit such as 512MB or 2GiB");
    let trimmed = text.trim();
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(wrong);
    }
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Ok((number * factor as f64) as u64)
}

/// Bytes, for people.
pub fn bytes(count: u64) -> String {
    let count = count as f64;
    for (factor, unit) in [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")] {
        if count >= factor {
            return format!("{:.1} {unit}", count / factor);
        }
    }
    format!("{count} bytes")
}

/// Memory that this process may use; where that is unknown, what the smallest of today's machines have.
fn available_memory() -> u64 {
    crate::node::cgroup::available().unwrap_or(4 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!(size("64MB"), Ok(64_000_000));
        assert_eq!(size(" 2 GiB "), Ok(2 << 30));
        assert_eq!(size("1.5k"), Ok(1500));
        assert_eq!(size("17"), Ok(17));
        assert_eq!(memory("1048577"), Ok(1_048_577));
        assert_eq!(memory("1.0"), Ok(available_memory()));
        for wrong in ["", "much", "12 parsecs", "-1", "1e400GB", "99999999999TB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_set_reaches_the_other_processes() {
        let settings = StoreSettings {
            memory_limit: 12345,
            spill_limit: u64::MAX,
            ..StoreSettings::default()
        };
        let text = settings.to_environment();
        assert_eq!(size(&text[0].1), Ok(12345));
        assert_eq!(size(&text[2].1), Ok(u64::MAX));
    }
}
