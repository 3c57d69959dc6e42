//! `weir top`: sealed windows and the open one on the console.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use weir_spec::Pipeline;
use weir_stream::{
    kafka::{Reader, ReaderOptions, Start},
    log::Error,
};

use crate::{console::Screen, patience::patiently};

/// Shows each window once it is sealed, and in a terminal what the open one shows, until `stop`.
///
/// # Errors
/// The topics cannot be read.
pub fn run(
    pipeline: &Pipeline,
    brokers: &str,
    from_beginning: bool,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let options =
        ReaderOptions { bootstrap: brokers.to_owned(), client_id: "weir-top".to_owned(), extra: Vec::new() };
    let start = if from_beginning { Start::Beginning } else { Start::End };
    let mut screen = Screen::on_stdout(pipeline);
    let follow = || Reader::follow(&options, &screen.topics(), start);
    let Some(mut reader) = patiently(stop, follow)? else { return Ok(()) };
    while !stop.load(Ordering::SeqCst) {
        let mut shown = Ok(());
        let polled = reader.poll(10_000, Duration::from_millis(200), &mut |topic, record| {
            if let (Ok(()), Some(value)) = (&shown, record.value) {
                shown = screen.take(topic, value);
            }
        });
        shown?;
        match polled {
            Ok(_) => {}
            Err(Error::Retry(why)) => tracing::warn!(reason = %why, "not now"),
            Err(error) => return Err(error.into()),
        }
        screen.draw()?;
    }
    Ok(())
}
