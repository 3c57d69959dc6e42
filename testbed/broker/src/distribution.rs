//! Kafka itself: Java packages from Maven Central, kept outside the checkout so that they are fetched once per machine.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::error::Error;
use crate::folders::cache;
use crate::supervised::tail;

const POM: &str = include_str!("../pom.xml");

/// A Kafka that can be started.
#[derive(Debug, Clone)]
pub struct Distribution {
    java: PathBuf,
    packages: PathBuf,
}

impl Distribution {
    /// Finds Java and Kafka's packages, and fetches the packages where they are missing (about 54 MB, reported on standard
    /// error). Several processes may call this at once: one fetches, the others wait for it.
    ///
    /// # Errors
    /// [`Error::NoJava`], [`Error::NoMaven`], [`Error::Download`], or [`Error::Io`] when the cache cannot be written.
    pub fn install() -> Result<Self, Error> {
        let java = find_java()?;
        let packages = cache()?.join(format!("kafka-{}", version()));
        if !packages.is_dir() {
            fetch(&packages)?;
        }
        Ok(Self { java, packages })
    }

    /// Java with Kafka on its class path, to run `class`. Starts fast rather than runs fast.
    #[must_use]
    pub fn java(&self, class: &str, heap_mib: u32) -> Command {
        let mut command = Command::new(&self.java);
        command
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"])
            .arg(format!("-Xmx{heap_mib}m"))
            .arg("-Dorg.slf4j.simpleLogger.showDateTime=true")
            .arg("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS")
            .arg("-cp")
            .arg(self.packages.join("*"))
            .arg(class);
        command
    }

    /// Runs one of Kafka's own tools, such as `org.apache.kafka.tools.TopicCommand`, and returns what it printed.
    /// Takes one to two seconds, most of them Java's start.
    ///
    /// # Errors
    /// [`Error::Tool`] with the end of its output when it fails.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Result<String, Error> {
        let mut java = self.java(class, 256);
        java.args(arguments);
        // Tools that log print all of their settings first.
        java.env("JDK_JAVA_OPTIONS", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        let output = java.output().map_err(Error::io(format!("run {class}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Tool { class: class.to_owned(), output: tail(&output_of(&output)) })
    }
}

/// The version of the Kafka that is started, from pom.xml.
#[must_use]
pub fn version() -> &'static str {
    let after = POM.split_once("<kafka.version>").map_or("", |(_, after)| after);
    after.split_once('<').map_or("", |(version, _)| version)
}

/// Fetches beside `packages` and renames at the end, so that the folder is either absent or complete.
fn fetch(packages: &Path) -> Result<(), Error> {
    let doing = || format!("put Kafka's packages into {}", packages.display());
    let lock = File::create(packages.with_added_extension("lock")).map_err(Error::io(doing()))?;
    lock.lock().map_err(Error::io(doing()))?;
    if packages.is_dir() {
        return Ok(()); // another process fetched them while this one waited for the lock
    }
    eprintln!("fetching Kafka {} from Maven Central into {} (once)", version(), packages.display());
    let partial = tempfile::tempdir_in(packages.parent().unwrap_or(packages)).map_err(Error::io(doing()))?;
    let pom = partial.path().join("pom.xml");
    fs::write(&pom, POM).map_err(Error::io(doing()))?;
    let libraries = partial.path().join("packages");
    let output = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-f"])
        .arg(&pom)
        .arg(format!("-DoutputDirectory={}", libraries.display()))
        .output()
        .map_err(|_| Error::NoMaven { wanted: packages.display().to_string() })?;
    if !output.status.success() {
        return Err(Error::Download { output: tail(&output_of(&output)) });
    }
    fs::rename(&libraries, packages).map_err(Error::io(doing()))?;
    eprintln!("fetched Kafka {}", version());
    Ok(())
}

/// `JAVA_HOME`'s Java, else the one on the path, if it is new enough.
fn find_java() -> Result<PathBuf, Error> {
    let java = env::var_os("JAVA_HOME")
        .map(|home| Path::new(&home).join("bin/java"))
        .filter(|java| java.is_file())
        .unwrap_or_else(|| PathBuf::from("java"));
    let Ok(output) = Command::new(&java).arg("-version").output() else {
        return Err(Error::NoJava { found: "none".to_owned() });
    };
    let version_text = output_of(&output);
    if java_version(&version_text).is_some_and(|version| version >= 17) {
        return Ok(java);
    }
    Err(Error::NoJava {
        found: format!("{} ({})", java.display(), version_text.lines().next().unwrap_or_default()),
    })
}

/// The feature version in the output of `java -version`: 17 of `openjdk version "17.0.15" 2025-04-15`.
fn java_version(text: &str) -> Option<u32> {
    let quoted = text.split('"').nth(1)?;
    quoted.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Both output streams of a program.
fn output_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_java_version_is_the_first_number() {
        assert_eq!(java_version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"), Some(17));
        assert_eq!(java_version("java version \"1.8.0_401\""), Some(1));
        assert_eq!(java_version("openjdk version \"25-ea\" 2025-09-16"), Some(25));
        assert_eq!(java_version("java: command not found"), None);
    }

    #[test]
    fn the_version_is_read_from_the_pom() {
        assert!(version().split('.').count() == 3, "{:?} in pom.xml is no version", version());
    }
}
