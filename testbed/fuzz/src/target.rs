//! A target: a decoder, what is known of its inputs, and what it may take.

use std::collections::HashSet;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant, SystemTime};

use crate::corpus::Corpus;
use crate::memory::peak_of;
use crate::mutate::mutate;
use crate::random::Random;

/// For how long each target is run, in seconds; without it a fixed number of mutations is tried.
const SECONDS: &str = "WEIR_FUZZ_SECONDS";
/// Mutations of an ordinary test.
const EXECUTIONS: u64 = 20_000;
/// Maximum inputs that are kept in memory for their outcome.
const MAX_KNOWN: usize = 4_000;
/// Attempts to make a finding smaller.
const SHRINKING: usize = 5_000;
/// What any input may allocate: serde reserves up to a megabyte for a list, and lists are in lists.
const BYTES: usize = 4 << 20;
/// What it may allocate for each of its bytes.
const BYTES_PER_BYTE: usize = 256;

/// A decoder under test.
pub struct Target {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    bytes_per_byte: usize,
    executions: u64,
}

/// What is wrong with an input.
enum Finding {
    Panic(String),
    Memory(usize),
    Silent,
}

impl Target {
    /// A target; its corpus is the folder of that name.
    pub fn new(name: &'static str) -> Self {
        Self { name, seeds: Vec::new(), bytes_per_byte: BYTES_PER_BYTE, executions: EXECUTIONS }
    }

    /// Adds valid inputs, such as golden files.
    #[must_use]
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.seeds.extend(seeds);
        self
    }

    /// Allows more memory for each byte of an input: for formats that a byte of says much.
    #[must_use]
    pub fn bytes_per_byte(self, bytes_per_byte: usize) -> Self {
        Self { bytes_per_byte, ..self }
    }

    /// Tries fewer mutations in an ordinary test, where one takes long.
    #[must_use]
    pub fn executions(self, executions: u64) -> Self {
        Self { executions, ..self }
    }

    /// Tries the corpus, the seeds, and mutations of both. `decode` returns the error's message, or panics where something else is wrong
    /// with what it decoded.
    ///
    /// # Panics
    /// With the smallest input that panics, that allocates too much, or whose error says nothing.
    pub fn run(self, decode: impl Fn(&[u8]) -> Result<(), String>) {
        let corpus = Corpus::of(self.name);
        let kept = corpus.read().unwrap_or_else(|error| panic!("corpus of {}: {error}", self.name));
        let mut known: Vec<Vec<u8>> = kept.into_iter().chain(self.seeds.iter().cloned()).collect();
        known.push(Vec::new());
        let mut outcomes = HashSet::new();
        for bytes in known.clone() {
            match self.check(&bytes, &decode) {
                Ok(outcome) => drop(outcomes.insert(outcome)),
                Err(finding) => self.report(&bytes, &finding, &decode, None),
            }
        }
        let long = std::env::var(SECONDS).ok().map(|seconds| {
            let seconds =
                seconds.parse().unwrap_or_else(|_| panic!("{SECONDS} is {seconds:?}, expected a number"));
            Instant::now() + Duration::from_secs(seconds)
        });
        let seed = long.map_or(1, |_| now_nanos());
        let (mut random, mut executed) = (Random(seed), 0_u64);
        while long.map_or(executed < self.executions, |end| executed % 64 != 0 || Instant::now() < end) {
            executed += 1;
            let bytes = mutate(&mut random, &known);
            match self.check(&bytes, &decode) {
                Ok(outcome) => {
                    if known.len() < MAX_KNOWN && outcomes.insert(outcome) {
                        known.push(bytes);
                    }
                }
                Err(finding) => self.report(&bytes, &finding, &decode, long.map(|_| &corpus)),
            }
        }
        if long.is_some() {
            println!("{}: {executed} executions from seed {seed}, {} outcomes", self.name, outcomes.len());
        }
    }

    /// What became of an input: the error's words without numbers and quotations, or how much was decoded.
    fn check(&self, bytes: &[u8], decode: &impl Fn(&[u8]) -> Result<(), String>) -> Result<String, Finding> {
        let (decoded, peak) = peak_of(|| panic::catch_unwind(AssertUnwindSafe(|| decode(bytes))));
        // A panic's backtrace takes memory, too.
        if decoded.is_ok() && peak > BYTES + self.bytes_per_byte * bytes.len() {
            return Err(Finding::Memory(peak));
        }
        match decoded {
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                Err(Finding::Panic(text.unwrap_or_default()))
            }
            Ok(Err(error)) if error.trim().is_empty() => Err(Finding::Silent),
            Ok(Err(error)) => {
                let words = error.split('`').step_by(2).flat_map(str::chars);
                Ok(words.filter(|c| !c.is_ascii_hexdigit()).take(80).collect())
            }
            // In powers of two, so that some inputs of every size are kept.
            Ok(Ok(())) => Ok(format!("ok {} {}", bytes.len().ilog2_or_zero(), peak.ilog2_or_zero())),
        }
    }

    fn report(
        &self,
        bytes: &[u8],
        finding: &Finding,
        decode: &impl Fn(&[u8]) -> Result<(), String>,
        corpus: Option<&Corpus>,
    ) {
        let same = |bytes: &[u8]| {
            let found = self.check(bytes, decode).err();
            found.is_some_and(|found| std::mem::discriminant(&found) == std::mem::discriminant(finding))
        };
        // Each attempt that still panics would print that.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| ()));
        let bytes = shrunk(bytes.to_vec(), &same);
        panic::set_hook(hook);
        let what = match finding {
            Finding::Panic(message) => format!("panics: {message}"),
            Finding::Memory(peak) => format!("takes {peak} bytes of memory"),
            Finding::Silent => "is refused without a word".to_owned(),
        };
        let kept = corpus.map(|corpus| match corpus.add(&bytes) {
            Ok(path) => format!("; kept as {}", path.display()),
            Err(error) => format!("; not kept: {error}"),
        });
        let shown = bytes.escape_ascii();
        panic!(
            "{}: an input of {} bytes {what}{}: {shown}",
            self.name,
            bytes.len(),
            kept.unwrap_or_default()
        );
    }
}

/// The smallest input found for which `fails` still holds: without as many of its bytes as possible, and the others 0 where that is enough.
fn shrunk(mut bytes: Vec<u8>, fails: &impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut attempts = 0;
    let mut size = bytes.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < bytes.len() && attempts < SHRINKING {
            attempts += 1;
            let end = (at + size).min(bytes.len());
            let shorter = [&bytes[..at], &bytes[end..]].concat();
            if fails(&shorter) { bytes = shorter } else { at = end }
        }
        size = if size > 1 { size.div_ceil(2) } else { 0 };
    }
    for at in 0..bytes.len() {
        let mut simpler = bytes.clone();
        simpler[at] = 0;
        attempts += 1;
        if attempts < 2 * SHRINKING && fails(&simpler) {
            bytes = simpler;
        }
    }
    bytes
}

fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| since.as_nanos() as u64)
}

trait Log2 {
    fn ilog2_or_zero(self) -> u32;
}

impl Log2 for usize {
    fn ilog2_or_zero(self) -> u32 {
        self.checked_ilog2().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(decode: impl Fn(&[u8]) -> Result<(), String>) -> String {
        let target = Target::new("self-test").seeds([b"a length of 3: abc".to_vec()]);
        let panic = panic::catch_unwind(AssertUnwindSafe(|| target.run(decode))).err();
        panic.and_then(|panic| panic.downcast::<String>().ok()).map_or_else(String::new, |text| *text)
    }

    #[test]
    fn what_is_wrong_is_found_and_made_small() {
        assert_eq!(found(|bytes| if bytes.is_empty() { Err("empty".to_owned()) } else { Ok(()) }), "");
        let panics = found(|bytes| {
            assert!(!bytes.contains(&b'z'), "planted");
            Ok(())
        });
        assert_eq!(panics, "self-test: an input of 1 bytes panics: planted: z");
        let reserves = found(|bytes| {
            let Some(first) = bytes.first() else { return Ok(()) };
            drop(Vec::<u8>::with_capacity(usize::from(*first) << 16));
            Ok(())
        });
        assert!(reserves.starts_with("self-test: an input of 1 bytes takes "), "{reserves}");
        let silent = found(|bytes| if bytes.len() > 4 { Err(String::new()) } else { Ok(()) });
        assert!(silent.starts_with("self-test: an input of 5 bytes is refused without a word: "), "{silent}");
    }
}
