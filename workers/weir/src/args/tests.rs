use clap::Parser;

use super::*;

/// The error message of `weir ARGUMENTS`.
fn refusal(arguments: &str) -> String {
    let arguments = arguments.split_whitespace().map(|argument| if argument == "''" { "" } else { argument });
    Args::try_parse_from(["weir"].into_iter().chain(arguments)).expect_err("a refusal").to_string()
}

#[test]
fn errors_state_what_was_found_and_expected() {
    let long = format!("process --instance {}", "x".repeat(250));
    for (arguments, expected) in [
        (
            "top --brokers ''",
            "found an empty address, expected HOST:PORT with a port from 1 to 65535, such as localhost:9092",
        ),
        ("top --brokers http://kafka:9092", "write `kafka:9092`, without http://"),
        ("top --brokers kafka", "found `kafka`, expected HOST:PORT"),
        (
            "demo --speed 1e9",
            "found `1e9`, expected how many times faster than the clock from 1 to 1000: more is more than one machine processes",
        ),
        ("demo --speed 0.5", "found `0.5`, expected how many times faster than the clock from 1 to 1000"),
        ("demo --speed -1", "found `-1`, expected"),
        ("demo --speed NaN", "found `NaN`, expected"),
        ("demo --listen :8080", "found `:8080`, expected ADDRESS:PORT or a port alone"),
        ("serve --listen localhost", "found `localhost`, expected ADDRESS:PORT or a port alone"),
        (
            "serve --allow-origin board.example",
            "found `board.example`, which begins with neither http:// nor https://",
        ),
        (
            "serve --allow-origin https://a.example,https://b.example/",
            "found `https://b.example/` with `/` behind the host",
        ),
        ("serve --max-clients 0", "found `0`, expected a count from 1 to 1000000"),
        ("serve --max-clients -1", "found `-1`, expected a count from 1"),
        ("serve --keep-hours 0", "found `0`, expected hours from 1 to 8760"),
        ("serve --keep-hours -1", "found `-1`, expected hours"),
        ("serve --keep-mib -1", "found `-1`, expected MiB from 1"),
        ("generate --events -1", "found `-1`, expected a count from 1"),
        ("generate --events 0", "found `0`, expected a count from 1"),
        ("generate --rate -5", "found `-5`, expected events per second from 0 to 1000000"),
        ("generate --rate inf", "found `inf`, expected events per second"),
        ("generate --late 1.5", "found `1.5`, expected a share of the events from 0 to 1"),
        ("generate --late -0.1", "found `-0.1`, expected a share of the events from 0 to 1"),
        ("generate --duplicates 2", "found `2`, expected a share of the events from 0 to 1"),
        ("generate --malformed -1", "found `-1`, expected a share of the events from 0 to 1"),
        (
            "generate --start yesterday",
            "found `yesterday`, expected a date and time with their offset, such as 2026-01-01T00:00:00Z",
        ),
        ("generate --start -5", "found `-5`, expected a date and time"),
        ("generate --seed -1", "found `-1`, expected a number from 0"),
        ("generate --burst -1", "found `-1`, expected a page's number from 0"),
        ("generate --health nowhere", "found `nowhere`, expected ADDRESS:PORT"),
        ("process --health 127.0.0.1", "found `127.0.0.1`, expected ADDRESS:PORT"),
        ("process --instance ''", "found an empty name, with which two processes would end each other"),
        ("process --instance a/b", "found `a/b` with `/`, expected a name of a-z, A-Z, 0-9, ., _ and -"),
        ("process --instance ..", "found `..`, which Kafka does not take"),
        (&long, "found 250 bytes, expected at most 249"),
        ("top --log-format xml", "[possible values: text, json]"),
        ("top --pipeline ''", "a value is required for '--pipeline <FILE>'"),
        ("proces", "a similar subcommand exists: 'process'"),
        ("topics", "apply"),
    ] {
        let message = refusal(arguments);
        assert!(message.contains(expected), "weir {arguments}: {message}");
    }
}

#[test]
fn short_forms_of_values_are_accepted() {
    let Command::Serve(serve) = Args::parse_from(["weir", "serve", "--listen", "8090"]).command else {
        panic!("serve")
    };
    assert_eq!(serve.listen.to_string(), "127.0.0.1:8090");
    let args = Args::parse_from(["weir", "process", "--health", "localhost:0", "--brokers", "a:1, b:2"]);
    let Command::Process { health, .. } = args.command else { panic!("process") };
    assert_eq!(health.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:0"));
    assert_eq!(args.brokers.as_deref(), Some("a:1,b:2"));
}
