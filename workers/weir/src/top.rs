//! `weir top`: sealed windows and the open one on the console.

use std::{
    io::{self, Stdout},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use weir_kafka::{Connection, Reader, Start};
use weir_log::Error;
use weir_manifest::Pipeline;

use crate::{backoff::retry_with_backoff, console::Screen, generation};

/// Shows each window once it is sealed, and in a terminal the open one's live values, until `stop`.
///
/// # Errors
/// The topics cannot be read.
pub fn run(
    pipeline: &Pipeline,
    brokers: &str,
    from_beginning: bool,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let Some(pipeline) = generation::newest(pipeline, brokers, stop)? else { return Ok(()) };
    follow(&pipeline, brokers, from_beginning, stop, |_| Ok(true))
}

/// The same; nothing is drawn before `ready`, which may announce something.
pub(crate) fn follow(
    pipeline: &Pipeline,
    brokers: &str,
    from_beginning: bool,
    stop: &AtomicBool,
    mut ready: impl FnMut(&mut Screen<Stdout>) -> io::Result<bool>,
) -> anyhow::Result<()> {
    let options = Connection::new(brokers, "weir-top");
    let start = if from_beginning { Start::Beginning } else { Start::End };
    let mut screen = Screen::on_stdout(pipeline);
    let Some(mut reader) = retry_with_backoff(stop, || Reader::follow(&options, &screen.topics(), start))?
    else {
        return Ok(());
    };
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
            Err(Error::Retry(why)) => tracing::warn!(reason = %why, "transient error, retrying"),
            Err(error) => return Err(error.into()),
        }
        if ready(&mut screen)? {
            screen.draw()?;
        }
    }
    Ok(())
}
