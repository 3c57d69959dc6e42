//! Displays results: redrawn in place in a terminal, one window after the other in a pipe.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
};

use weir_analytics::Live;
use weir_events::{decode_page_analytics, decode_top_pages};
use weir_manifest::Pipeline;

use super::{Assembler, Sealed, Style, render_live, render_sealed};

/// Enters the alternate screen without a cursor; leaves it again.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
pub(crate) const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Displays a pipeline's last sealed window, and in a terminal also the open one.
pub struct Screen<W: Write> {
    out: W,
    topics: [String; 3],
    windows: Assembler,
    sealed: Option<Sealed>,
    /// The last live values of each input partition.
    live: BTreeMap<Option<i32>, Live>,
    /// Whether the output is a terminal, which is redrawn in place.
    terminal: bool,
    color: bool,
    /// The first line of every frame.
    header: Option<String>,
    /// In a pipe: windows are assembled, so that later ones come in order, but not written.
    silent: bool,
    drawn: bool,
    changed: bool,
}

impl Screen<io::Stdout> {
    /// On standard output. Colours only in a terminal, and not where NO_COLOR is set.
    pub fn on_stdout(pipeline: &Pipeline) -> Self {
        let out = io::stdout();
        let terminal = out.is_terminal();
        let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::new(out, pipeline, terminal, color)
    }
}

impl<W: Write> Screen<W> {
    /// On any writer. Without `terminal`, only text and line ends are written.
    pub fn new(out: W, pipeline: &Pipeline, terminal: bool, color: bool) -> Self {
        let topics = [
            pipeline.results_topic().to_owned(),
            pipeline.top_pages_topic().to_owned(),
            pipeline.live_topic(),
        ];
        Self {
            out,
            topics,
            windows: Assembler::default(),
            sealed: None,
            live: BTreeMap::new(),
            terminal,
            color,
            header: None,
            silent: false,
            drawn: false,
            changed: false,
        }
    }

    /// The topics to read.
    pub fn topics(&self) -> [&str; 3] {
        [&self.topics[0], &self.topics[1], &self.topics[2]]
    }

    /// Writes `text`, and puts `header` above every frame: the terminal's alternate screen hides what was written before. The
    /// header is written once more when that screen is left.
    ///
    /// # Errors
    /// Nothing can be written any more.
    pub fn announce(&mut self, text: &str, header: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.header = Some(header.to_owned());
        self.changed = true;
        self.out.flush()
    }

    /// Sets whether windows are assembled without being written to a pipe.
    pub fn keep_silent(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// Writes the progress before the first frame, in place; in a terminal only.
    ///
    /// # Errors
    /// Nothing can be written any more.
    pub fn progress(&mut self, text: &str) -> io::Result<()> {
        if self.terminal {
            write!(self.out, "\r{text}\x1b[K")?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Adds a record of one of the topics.
    ///
    /// # Errors
    /// Nothing can be written any more.
    pub fn take(&mut self, topic: &str, value: &[u8]) -> io::Result<()> {
        let sealed = if topic == self.topics[2] {
            Live::decode(value)
                .map(|live| {
                    self.live.insert(live.partition, live);
                    Vec::new()
                })
                .map_err(|error| error.to_string())
        } else if topic == self.topics[1] {
            decode_top_pages(value).map(|top| self.windows.top(top)).map_err(|error| error.to_string())
        } else {
            decode_page_analytics(value).map(|row| self.windows.row(row)).map_err(|error| error.to_string())
        };
        self.changed = true;
        match sealed {
            // Lanes may be some windows apart: the display never goes back in time.
            Ok(sealed) if self.terminal => {
                let newest = sealed.into_iter().chain(self.sealed.take());
                self.sealed = newest.max_by_key(|window| window.top.window_end);
            }
            Ok(_) if self.silent => {}
            Ok(sealed) => {
                for window in sealed {
                    writeln!(
                        self.out,
                        "{}",
                        render_sealed(&window, Style { color: self.color, width: PIPE_WIDTH })
                    )?;
                }
            }
            Err(error) => tracing::warn!(topic, %error, "not a record of this version"),
        }
        Ok(())
    }

    /// Redraws a terminal after changes.
    ///
    /// # Errors
    /// Nothing can be written any more.
    pub fn draw(&mut self) -> io::Result<()> {
        if !self.terminal || !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let (width, height) = terminal_size::terminal_size()
            .map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)));
        let frame = self.frame(Style { color: self.color, width });
        let mut output = String::from(if self.drawn { "" } else { ENTER });
        output.push_str("\x1b[H");
        for line in frame.lines().take(height.saturating_sub(1)) {
            output.extend([line, "\x1b[K\r\n"]);
        }
        output.push_str("\x1b[J");
        self.drawn = true;
        self.out.write_all(output.as_bytes())?;
        self.out.flush()
    }

    /// On a small terminal the open window's pages are cut off, not its totals.
    fn frame(&self, style: Style) -> String {
        let header =
            self.header.as_ref().map(|header| shortened(header, style.width) + "\n\n").unwrap_or_default();
        let live = Live::merge(self.live.values()).map(|live| render_live(&live, style));
        let (totals, pages) = live.as_deref().and_then(|text| text.split_once("\n\n")).unwrap_or_default();
        let sealed =
            self.sealed.as_ref().map_or("no window was sealed yet\n".to_owned(), |s| render_sealed(s, style));
        format!("{header}{totals}\n\n{sealed}\n{pages}")
    }
}

/// Cuts a line to the terminal's width: a wrapped line would push the frame down.
fn shortened(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

/// Width without a terminal.
const PIPE_WIDTH: usize = 120;

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        if !self.drawn {
            return;
        }
        // The last window stays on the terminal.
        let last = self
            .sealed
            .as_ref()
            .map(|sealed| render_sealed(sealed, Style { color: self.color, width: PIPE_WIDTH }));
        let header = self.header.as_ref().map(|header| header.clone() + "\n").unwrap_or_default();
        let _ = write!(self.out, "{LEAVE}{}{header}", last.unwrap_or_default());
        let _ = self.out.flush();
    }
}

#[cfg(test)]
mod tests;
