//! Addresses on command lines.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// Bootstrap servers: `host:port`, several separated by commas. Spaces around them are ignored.
///
/// # Errors
/// The text is invalid: what was found and expected.
pub fn bootstrap_servers(text: &str) -> Result<String, String> {
    let servers: Vec<&str> = text.split(',').map(str::trim).collect();
    for server in &servers {
        let expected = "expected HOST:PORT with a port from 1 to 65535, such as localhost:9092";
        if server.is_empty() {
            return Err(format!("found an empty address, {expected}; several are separated by one comma"));
        }
        if let Some((scheme, rest)) = server.split_once("://") {
            return Err(format!(
                "found `{server}`, expected a broker's HOST:PORT: write `{rest}`, without {scheme}://"
            ));
        }
        if !weir_manifest::is_host_port(server) {
            return Err(format!("found `{server}`, {expected}"));
        }
    }
    Ok(servers.join(","))
}

/// A listen address: `host:port` with an IP address or a name that resolves to one, or a port alone, on 127.0.0.1.
///
/// # Errors
/// The text is invalid: what was found and expected.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    const EXPECTED: &str = "expected ADDRESS:PORT or a port alone, such as 127.0.0.1:8080, 8080, or 0.0.0.0:8080 to serve other machines too";
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let Some((host, port)) =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains(['/', ':']))
    else {
        return Err(format!("found `{text}`, {EXPECTED}"));
    };
    let port: u16 = port
        .parse()
        .map_err(|_| format!("found the port `{port}`, expected a number from 0 (any) to 65535"))?;
    let found = (host, port).to_socket_addrs();
    let mut addresses: Vec<SocketAddr> = found
        .map_err(|error| {
            format!("found the host `{host}`, which is no address and resolves to none ({error}); {EXPECTED}")
        })?
        .collect();
    // `localhost` resolves to ::1 first on some machines; browsers try both.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
        .first()
        .copied()
        .ok_or_else(|| format!("found the host `{host}`, which resolves to no address; {EXPECTED}"))
}

/// The origin of a web page, as browsers send it: `https://host` or `https://host:port`, without a path.
///
/// # Errors
/// The text is invalid: what was found and expected.
pub fn origin(text: &str) -> Result<String, String> {
    let expected = "expected the scheme and host of a site as browsers send it, such as https://board.example or http://localhost:3000";
    let wrong = |why: &str| Err(format!("found `{text}`{why}, {expected}"));
    if text == "*" {
        return wrong(", but not everybody can be allowed");
    }
    let Some((scheme, authority)) =
        text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
    else {
        return wrong(", which begins with neither http:// nor https://");
    };
    if let Some((host, rest)) = authority.split_once(['/', '?', '#']) {
        return wrong(&format!(
            " with `{}` behind the host `{host}`",
            &authority[authority.len() - rest.len() - 1..]
        ));
    }
    let implied = if scheme == "http" { ":80" } else { ":443" };
    if let Some(host) = authority.strip_suffix(implied) {
        return Err(format!(
            "found `{text}`, but browsers leave the scheme's own port out: write {scheme}://{host}"
        ));
    }
    let with_port = if authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']')) {
        authority.to_owned()
    } else {
        format!("{authority}:1")
    };
    if weir_manifest::is_host_port(&with_port) { Ok(text.to_owned()) } else { wrong("") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn brokers() {
        for (given, expected) in [
            ("localhost:9092", Ok("localhost:9092")),
            (" a:1 , [::1]:2", Ok("a:1,[::1]:2")),
            (
                "",
                Err(
                    "found an empty address, expected HOST:PORT with a port from 1 to 65535, such as localhost:9092; several are separated by one comma",
                ),
            ),
            ("a:1,", Err("found an empty address")),
            ("a:1,,b:1", Err("found an empty address")),
            (
                "http://kafka:9092",
                Err(
                    "found `http://kafka:9092`, expected a broker's HOST:PORT: write `kafka:9092`, without http://",
                ),
            ),
            (
                "kafka",
                Err("found `kafka`, expected HOST:PORT with a port from 1 to 65535, such as localhost:9092"),
            ),
            ("kafka:0", Err("found `kafka:0`, expected HOST:PORT")),
            ("kafka:99999", Err("found `kafka:99999`, expected HOST:PORT")),
            ("a:1;b:2", Err("found `a:1;b:2`, expected HOST:PORT")),
        ] {
            check(bootstrap_servers(given), expected, given);
        }
    }

    #[test]
    fn listening() {
        for (given, expected) in [
            ("8090", Ok("127.0.0.1:8090")),
            ("0", Ok("127.0.0.1:0")),
            ("localhost:8090", Ok("127.0.0.1:8090")),
            ("0.0.0.0:8080", Ok("0.0.0.0:8080")),
            ("[::1]:8080", Ok("[::1]:8080")),
            ("", Err("found ``, expected ADDRESS:PORT or a port alone")),
            (":8080", Err("found `:8080`, expected ADDRESS:PORT or a port alone")),
            ("-1", Err("found `-1`, expected ADDRESS:PORT")),
            ("localhost", Err("found `localhost`, expected ADDRESS:PORT")),
            ("localhost:http", Err("found the port `http`, expected a number from 0 (any) to 65535")),
            ("localhost:70000", Err("found the port `70000`")),
            ("70000", Err("found `70000`, expected ADDRESS:PORT")),
            ("http://localhost:8080", Err("found `http://localhost:8080`, expected ADDRESS:PORT")),
            (
                "no-such-host.invalid:8080",
                Err("found the host `no-such-host.invalid`, which is no address and resolves to none"),
            ),
        ] {
            check(listen_address(given).map(|address| address.to_string()), expected, given);
        }
    }

    #[test]
    fn origins() {
        for (given, expected) in [
            ("https://board.example", Ok("https://board.example")),
            ("http://localhost:3000", Ok("http://localhost:3000")),
            ("http://[::1]:3000", Ok("http://[::1]:3000")),
            (
                "board.example",
                Err(
                    "found `board.example`, which begins with neither http:// nor https://, expected the scheme and host",
                ),
            ),
            (
                "https://board.example/",
                Err("found `https://board.example/` with `/` behind the host `board.example`"),
            ),
            ("https://board.example/x?y", Err("with `/x?y` behind the host")),
            (
                "https://board.example:443",
                Err("but browsers leave the scheme's own port out: write https://board.example"),
            ),
            ("https://", Err("found `https://`, expected")),
            ("*", Err("found `*`, but not everybody can be allowed")),
            ("null", Err("begins with neither")),
            ("", Err("found ``, which begins with neither")),
        ] {
            check(origin(given), expected, given);
        }
    }

    fn check(found: Result<String, String>, expected: Result<&str, &str>, given: &str) {
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{given:?}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{given:?}: {found}"),
            _ => panic!("{given:?}: {found:?}, expected {expected:?}"),
        }
    }
}
