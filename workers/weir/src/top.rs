//! `weir top`: sealed windows on the console.

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use weir_events::{decode_page_analytics, decode_top_pages};
use weir_spec::Pipeline;
use weir_stream::{
    kafka::{Reader, ReaderOptions, Start},
    log::Error,
};

use crate::console::{Assembler, Style, render_sealed};

/// Prints each window once it is sealed, until `stop`.
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
    let mut reader =
        Reader::follow(&options, &[pipeline.results_topic(), pipeline.top_pages_topic()], start)?;
    let style = Style { color: std::io::stdout().is_terminal(), width: 120 };
    let mut windows = Assembler::default();
    while !stop.load(Ordering::SeqCst) {
        let mut sealed = Vec::new();
        let polled = reader.poll(10_000, Duration::from_millis(200), &mut |topic, record| {
            let value = record.value.unwrap_or_default();
            let complete = if topic == pipeline.top_pages_topic() {
                decode_top_pages(value).map(|top| windows.top(top))
            } else {
                decode_page_analytics(value).map(|row| windows.row(row))
            };
            match complete {
                Ok(complete) => sealed.extend(complete),
                Err(error) => {
                    tracing::warn!(topic, offset = record.offset, %error, "not a result of this version")
                }
            }
        });
        match polled {
            Ok(_) => {}
            Err(Error::Retry(why)) => tracing::warn!(reason = %why, "not now"),
            Err(error) => return Err(error.into()),
        }
        for window in sealed {
            println!("{}", render_sealed(&window, style));
        }
    }
    Ok(())
}
