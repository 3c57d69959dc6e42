//! Any text as a client's message.
#![allow(clippy::unwrap_used)]

use weir_fuzz::Target;
use weir_manifest::Pipeline;

use super::*;
use crate::{
    ClientLimits,
    store::{PipelineState, StateLimits},
};

#[test]
fn fuzz_websocket_message() {
    let state = PipelineState::new(Pipeline::demo(), StateLimits::default(), &[]).unwrap();
    let gateway = Gateway::new(std::sync::Arc::new(state), [], ClientLimits::default());
    let seeds = [
        r#"{"type":"subscribe","topics":["site","top","health","windows"],"after":1700000000000}"#,
        r#"{"type":"subscribe","pages":["/a","https://shop.example/caf\u00e9"]}"#,
        r#"{"type":"unsubscribe","topics":["site"],"pages":["/a"]}"#,
    ];
    Target::new("websocket-message").seeds(seeds.map(|text| text.as_bytes().to_vec())).run(|bytes| {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let mut session = Session::open(&gateway).unwrap();
        handle(&mut session, text).map_err(|error| {
            let close = CloseReason::protocol(error.to_string()).frame();
            assert!(close.reason.len() <= MAX_REASON_BYTES, "{}", close.reason);
            close.reason.to_string()
        })
    });
}

#[test]
fn reasons_fit_into_a_close_frame() {
    for (text, expected) in [
        ("short".to_owned(), "short".to_owned()),
        ("x".repeat(MAX_REASON_BYTES), "x".repeat(MAX_REASON_BYTES)),
        ("x".repeat(MAX_REASON_BYTES + 1), format!("{}\u{2026}", "x".repeat(MAX_REASON_BYTES - 3))),
        ("\u{1f6d2}".repeat(40), format!("{}\u{2026}", "\u{1f6d2}".repeat(30))),
    ] {
        assert_eq!(CloseReason::protocol(text).frame().reason.as_str(), expected);
    }
}
