//! When a demo shows itself, and where.

use std::sync::{
    OnceLock,
    mpsc::{Receiver, SyncSender, sync_channel},
};

use crate::console::Screen;

/// Held by whoever knows when the history is processed.
pub(super) struct Opening<'a> {
    open: Option<SyncSender<()>>,
    address: &'a OnceLock<String>,
    banner: Banner,
    shown: bool,
}

/// What is said about the demo beside its address.
#[derive(Debug, Clone)]
pub(super) struct Banner {
    /// Where the log is.
    pub(super) place: String,
    pub(super) speed: f64,
    /// What has to be waited for.
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
    /// Closed; whoever holds the receiver opens the dashboard when told, says its address, and never where this is dropped.
    pub(super) fn new(address: &'a OnceLock<String>, banner: Banner) -> (Self, Receiver<()>) {
        let (open, told) = sync_channel(1);
        (Self { open: Some(open), address, banner, shown: false }, told)
    }

    /// Everything before now is processed.
    pub(super) fn open(&mut self) {
        if let Some(open) = self.open.take() {
            // Where nobody waits any more, the dashboard has ended.
            let _ = open.send(());
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_none()
    }

    /// Whether the dashboard can be visited. Its address is said once, and stands over everything that is drawn.
    pub(super) fn shown<W: std::io::Write>(&mut self, screen: &mut Screen<W>) -> std::io::Result<bool> {
        if let (false, Some(address)) = (self.shown, self.address.get()) {
            self.shown = true;
            let Banner { place, first, .. } = &self.banner;
            let wait = first.map_or(String::new(), |first| {
                format!("; the first window is sealed after about {first:.0} s")
            });
            screen.announce(
                &format!(
                    "a simulated shop {place}, {}{wait}. ctrl-C ends.\nthe dashboard is at {address}",
                    self.banner.time()
                ),
                &format!("dashboard: {address}   {}   ctrl-C ends", self.banner.time()),
            )?;
        }
        Ok(self.shown)
    }
}
