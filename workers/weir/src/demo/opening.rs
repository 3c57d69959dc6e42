//! Opens a demo's dashboard once the history is processed, and announces its address.

use std::sync::{
    OnceLock,
    mpsc::{Receiver, SyncSender, sync_channel},
};

use crate::console::Screen;

/// Held by the part that knows when the history is processed.
pub(super) struct Opening<'a> {
    open: Option<SyncSender<()>>,
    address: &'a OnceLock<String>,
    banner: Banner,
    shown: bool,
}

/// The announcement's contents beside the address.
#[derive(Debug, Clone)]
pub(super) struct Banner {
    /// Where the log is.
    pub(super) location: String,
    pub(super) speed: f64,
    /// Seconds until the first window is sealed, where there is no history.
    pub(super) first: Option<f64>,
}

impl Banner {
    fn time(&self) -> String {
        if self.speed > 1.0 {
            format!("simulated time, {} times as fast as the clock", self.speed)
        } else {
            "simulated visitors".to_owned()
        }
    }
}

impl<'a> Opening<'a> {
    /// Closed. The receiver's holder opens the dashboard upon a message and sets its address; it does not if this is dropped.
    pub(super) fn new(address: &'a OnceLock<String>, banner: Banner) -> (Self, Receiver<()>) {
        let (open, opened) = sync_channel(1);
        (Self { open: Some(open), address, banner, shown: false }, opened)
    }

    /// Opens the dashboard: the history is processed.
    pub(super) fn open(&mut self) {
        if let Some(open) = self.open.take() {
            // Without a receiver the dashboard has ended.
            let _ = open.send(());
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_none()
    }

    /// Whether the dashboard serves. Announces its address once, and above every frame.
    pub(super) fn shown<W: std::io::Write>(&mut self, screen: &mut Screen<W>) -> std::io::Result<bool> {
        if let (false, Some(address)) = (self.shown, self.address.get()) {
            self.shown = true;
            let Banner { location, first, .. } = &self.banner;
            let wait = first.map_or(String::new(), |first| {
                format!("; the first window is sealed after about {first:.0} s")
            });
            screen.announce(
                &format!(
                    "a simulated shop {location}, {}{wait}. ctrl-C ends.\nthe dashboard is at {address}",
                    self.banner.time()
                ),
                &format!("dashboard: {address}   {}   ctrl-C ends", self.banner.time()),
            )?;
        }
        Ok(self.shown)
    }
}
