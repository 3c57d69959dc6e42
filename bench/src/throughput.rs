//! Throughput of the processor, the bare Kafka client and Flink: one topic, read from beginning to end by each in turn.

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    flink::{self, Flink},
    machine::Machine,
    test_bed::{Load, Pipeline, TestBed, ensure_output},
};

/// The programs under comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// The client library alone: records are discarded.
    Drain,
    /// The same, and each record decoded and validated.
    Decode,
    /// `weir process --until-end`: exactly once, snapshots, live values.
    Weir,
    /// Flink with panes of 10 s by hand, as an expert writes it.
    FlinkSlices,
    /// Flink with its own sliding windows, as its documentation shows.
    FlinkWindows,
}

/// One subject, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) subject: Subject,
    pub(crate) round: u32,
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) peak_rss_mib: f64,
    pub(crate) broker_cpu_s: f64,
    /// CPU time that other programs on the machine took meanwhile.
    pub(crate) others_cpu_s: f64,
    /// Without what passed before the first event was read: a JVM's start is no cost of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after_start: Option<AfterStart>,
}

/// Usage reported by Flink's job, from its first event on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct AfterStart {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
}

/// All runs over one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) load: Load,
    /// `weir generate` filling the topic: seconds of CPU and by the clock.
    pub(crate) fill_cpu_s: f64,
    pub(crate) fill_wall_s: f64,
    pub(crate) runs: Vec<Run>,
}

/// What is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Throughput {
    pub(crate) machine: Machine,
    pub(crate) kafka: String,
    pub(crate) flink: String,
    pub(crate) tables: Vec<Table>,
}

/// Measures everything: so many events, so many rounds, in so many of which Flink takes part.
pub(crate) fn measure(events: u64, rounds: u32, flink_rounds: u32) -> anyhow::Result<Throughput> {
    use Subject::{Decode, Drain, FlinkSlices, FlinkWindows, Weir};
    let machine = Machine::detect();
    let flink = if flink_rounds > 0 { Some(Flink::build()?) } else { None };
    let load = |name: &str, users, pages, events| Load { name: name.to_owned(), users, pages, events };
    let mut plan = vec![
        (load("shop", 1_000, 100, events), rounds, vec![Drain, Decode, Weir, FlinkSlices]),
        (load("crowd", 100_000, 2_000, events), rounds, vec![Drain, Decode, Weir, FlinkSlices]),
        // It is so slow that it gets fewer events, with the other subjects on the same topic for comparison.
        (load("few", 1_000, 100, events / 6), 1, vec![Drain, Weir, FlinkSlices, FlinkWindows]),
    ];
    if flink.is_none() {
        plan.pop();
    }
    let mut tables = Vec::new();
    for (load, rounds, subjects) in plan {
        // A separate broker for each load, so that loads do not share the page cache.
        let bed = TestBed::new()?;
        eprintln!("{}: {} events of {} users on {} pages", load.name, load.events, load.users, load.pages);
        let (pipeline, filled) = bed.fill(&load)?;
        let mut bench = Bench { bed, load, pipeline, flink: flink.as_ref(), digest: None };
        // Warms the page cache, so that no subject reads from disk.
        bench.run(Drain, 0)?;
        let mut runs = Vec::new();
        for round in 1..=rounds {
            for &subject in &subjects {
                if round > flink_rounds && matches!(subject, FlinkSlices | FlinkWindows) {
                    continue;
                }
                let run = bench.run(subject, round)?;
                #[allow(clippy::cast_precision_loss)]
                let each = 1e6 / bench.load.events as f64;
                eprintln!(
                    "  {:<13} {:>7.2} us CPU/event {:>6.2} s {:>5.0} MiB; broker {:.2} us, others {:.1} s",
                    subject.name(),
                    run.cpu_s * each,
                    run.wall_s,
                    run.peak_rss_mib,
                    run.broker_cpu_s * each,
                    run.others_cpu_s
                );
                runs.push(run);
            }
        }
        let Bench { load, .. } = bench;
        tables.push(Table { load, fill_cpu_s: filled.usage.cpu, fill_wall_s: filled.usage.wall, runs });
    }
    Ok(Throughput {
        machine,
        kafka: weir_broker::version().to_owned(),
        flink: flink::version().to_owned(),
        tables,
    })
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Decode => "drain + decode",
            Self::Weir => "weir process",
            Self::FlinkSlices => "Flink, slices by hand",
            Self::FlinkWindows => "Flink, sliding windows",
        }
    }
}

/// One load in its topic.
struct Bench<'a> {
    bed: TestBed,
    load: Load,
    /// Only its events topic is used: every run of weir is a pipeline of its own.
    pipeline: Pipeline,
    flink: Option<&'a Flink>,
    /// The first verified results of weir: the pipeline, and the hash of its results.
    digest: Option<(Pipeline, String)>,
}

impl Bench<'_> {
    /// Runs a subject and checks what it made.
    fn run(&mut self, subject: Subject, round: u32) -> anyhow::Result<Run> {
        let (bed, events) = (&self.bed, self.load.events);
        let mut after_start = None;
        let measured = match subject {
            Subject::Drain => {
                let measured = bed.run(bed.audit(&self.pipeline).arg("--drain"))?;
                ensure_output(&measured, &format!("{events} records read"))?;
                measured
            }
            Subject::Decode => {
                let measured = bed.run(bed.audit(&self.pipeline).args(["--drain", "--decode"]))?;
                ensure_output(&measured, &format!("{events} records read, {events} of them valid"))?;
                measured
            }
            Subject::Weir => {
                let pipeline = bed.pipeline(&format!("{}-{round}", self.load.name), &self.load, 1.0)?;
                let measured = bed.run(bed.weir(&pipeline).args(["process", "--until-end"]))?;
                self.check(pipeline)?;
                measured
            }
            Subject::FlinkSlices | Subject::FlinkWindows => {
                let flink = self.flink.context("Flink was not built")?;
                let by_hand = subject == Subject::FlinkSlices;
                let output =
                    format!("{}-{}-{round}", self.load.name, if by_hand { "slices" } else { "windows" });
                let input = format!("{}-events", self.load.name);
                let measured = bed.run(&mut flink.job(bed, &input, &output, by_hand))?;
                after_start = Some(serde_json::from_str(measured.printed.trim_end())?);
                let (verified, _) =
                    self.digest.as_ref().context("Flink is compared with verified results")?;
                bed.run(bed.audit(verified).args(["--peer", &output])).context("Flink's results")?;
                measured
            }
        };
        Ok(Run {
            subject,
            round,
            wall_s: measured.usage.wall,
            cpu_s: measured.usage.cpu,
            peak_rss_mib: measured.usage.peak,
            broker_cpu_s: measured.broker,
            others_cpu_s: measured.others,
            after_start,
        })
    }

    /// The first results are held against the oracle in every field; all others must be the same bytes.
    fn check(&mut self, pipeline: Pipeline) -> anyhow::Result<()> {
        let digest = |printed: &str| printed.trim_end().rsplit(' ').next().unwrap_or_default().to_owned();
        if let Some((verified, expected)) = &self.digest {
            let found = self.bed.run(self.bed.audit(&pipeline).arg("--digest"))?;
            return ensure_output(&found, expected)
                .with_context(|| format!("{} has other results than {}", pipeline.name, verified.name));
        }
        let checked = self.bed.run(self.bed.audit(&pipeline).arg("--ended"))?;
        eprintln!("  {}", checked.printed.trim_end());
        self.digest = Some((pipeline, digest(&checked.printed)));
        Ok(())
    }
}
