#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::EventType;

const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
const EVENT: ClickstreamEvent<'static> = ClickstreamEvent {
    user_id: "user-1",
    session_id: "visit-1",
    event_type: EventType::Purchase,
    page_url: "/home",
    product_id: Some("product-1"),
    timestamp: 1,
    user_agent: CHROME,
    ip_address: "192.0.2.99",
    referrer: Some("/before"),
    session_duration: Some(2),
    ..ClickstreamEvent::EMPTY
};
const HASH: PrivacySettings = PrivacySettings {
    user_id: IdPolicy::Hash,
    ip_address: IpPolicy::Hash,
    user_agent: UserAgentPolicy::Drop,
};

fn privacy(settings: PrivacySettings) -> Privacy {
    Privacy::new(settings, Some(b"secret")).unwrap()
}

fn ip(policy: IpPolicy, ip_address: &str) -> String {
    let privacy = privacy(PrivacySettings { ip_address: policy, ..Default::default() });
    privacy.apply(ClickstreamEvent { ip_address, ..EVENT }, &mut Scratch::default()).ip_address.to_owned()
}

#[test]
fn events_are_unchanged_by_default() {
    let privacy = Privacy::new(PrivacySettings::default(), None).unwrap();
    assert!(privacy.keeps_everything());
    assert_eq!(privacy.apply(EVENT, &mut Scratch::default()), EVENT);
}

#[test]
fn hashes_need_a_secret() {
    let by_ip = PrivacySettings { ip_address: IpPolicy::Hash, ..Default::default() };
    let by_id = PrivacySettings { user_id: IdPolicy::Hash, ..Default::default() };
    for settings in [by_ip, by_id] {
        assert!(settings.hashes());
        assert_eq!(Privacy::new(settings, None).unwrap_err(), PrivacyError::NoKey);
        assert_eq!(Privacy::new(settings, Some(b"")).unwrap_err(), PrivacyError::NoKey);
        assert!(!Privacy::new(settings, Some(b"x")).unwrap().keeps_everything());
    }
    let truncated = PrivacySettings { ip_address: IpPolicy::Truncate, ..Default::default() };
    assert!(Privacy::new(truncated, None).is_ok());
}

/// Hashed ids are in stored results: they must not change between versions.
#[test]
fn hashed_ids_are_stable() {
    let privacy = privacy(HASH);
    let mut scratch = Scratch::default();
    let event = privacy.apply(EVENT, &mut scratch);
    let name = |value: &str| {
        let key = blake3::derive_key("weir 2026-11-21 pseudonyms of visitors", b"secret");
        let bytes = &blake3::keyed_hash(&key, value.as_bytes()).as_bytes()[..16].to_owned();
        bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    assert_eq!(event.user_id, "3fa48c3ccbafddc086fc1ed6e187c5c0");
    assert_eq!(
        event,
        ClickstreamEvent {
            user_id: &name("user-1"),
            session_id: &name("visit-1"),
            ip_address: &name("192.0.2.99"),
            user_agent: "",
            ..EVENT
        }
    );
}

#[test]
fn another_secret_gives_other_hashes() {
    let (mut a, mut b) = (Scratch::default(), Scratch::default());
    let other = Privacy::new(HASH, Some(b"secret2")).unwrap();
    let (event, again) = (privacy(HASH).apply(EVENT, &mut a), other.apply(EVENT, &mut b));
    assert_ne!(event.user_id, again.user_id);
    assert_ne!(event.session_id, again.session_id);
    assert_ne!(event.ip_address, again.ip_address);
}

#[test]
fn addresses_are_truncated_to_their_network() {
    for (address, network) in [
        ("192.0.2.99", "192.0.2.0"),
        ("255.255.255.255", "255.255.255.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("2001:db8:ffff:ffff::1", "2001:db8:ffff::"),
        ("::ffff:192.0.2.99", "192.0.2.0"),
        ("::1", "::"),
        ("192.0.2.99:443", ""),
        ("192.0.2.999", ""),
        ("fe80::1%eth0", ""),
        ("user@example.org", ""),
        ("", ""),
    ] {
        assert_eq!(ip(IpPolicy::Truncate, address), network, "{address}");
    }
}

#[test]
fn addresses_are_dropped_or_hashed() {
    assert_eq!(ip(IpPolicy::Keep, "192.0.2.99"), "192.0.2.99");
    assert_eq!(ip(IpPolicy::Drop, "192.0.2.99"), "");
    assert_eq!(ip(IpPolicy::Hash, ""), "");
    assert_eq!(ip(IpPolicy::Hash, "192.0.2.99").len(), DIGITS);
}

#[test]
fn user_agents_are_reduced_to_a_family() {
    let privacy = privacy(PrivacySettings { user_agent: UserAgentPolicy::Family, ..Default::default() });
    for (line, family) in [
        (CHROME, "Chrome"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120.0 Mobile/15E148 Safari/604.1",
            "Chrome",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15",
            "Safari",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
            "Edge",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 OPR/120.0.0.0",
            "Opera",
        ),
        (
            "Mozilla/5.0 (Linux; Android 14; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36",
            "Samsung Internet",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/120.0 Mobile/15E148 Safari/605.1.15",
            "Firefox",
        ),
        ("Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko", "Internet Explorer"),
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/120.0.0.0 Safari/537.36",
            "Bot",
        ),
        ("Mozilla/5.0 (compatible; BINGBOT/2.0)", "Bot"),
        ("Mozilla/5.0 (compatible; Yahoo! Slurp)", "Bot"),
        ("Baiduspider/2.0", "Bot"),
        ("some Crawler", "Bot"),
        ("bot", "Bot"),
        (
            "Mozilla/5.0 (Linux; Android 9; CUBOT P30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
            "Chrome",
        ),
        ("curl/8.5.0", "Other"),
        ("bo", "Other"),
        ("ünïcode b", "Other"),
        ("", ""),
    ] {
        let event = ClickstreamEvent { user_agent: line, ..EVENT };
        assert_eq!(privacy.apply(event, &mut Scratch::default()).user_agent, family, "{line}");
    }
}

#[test]
fn settings_are_read_by_name() {
    let settings: PrivacySettings =
        serde_json::from_str(r#"{"userId": "Hash", "ipAddress": "Truncate", "userAgent": "Family"}"#)
            .unwrap();
    let expected = PrivacySettings {
        user_id: IdPolicy::Hash,
        ip_address: IpPolicy::Truncate,
        user_agent: UserAgentPolicy::Family,
    };
    assert_eq!(settings, expected);
    assert_eq!(serde_json::from_str::<PrivacySettings>("{}").unwrap(), PrivacySettings::default());
    assert!(serde_json::from_str::<PrivacySettings>(r#"{"userID": "Hash"}"#).is_err());
}

#[test]
fn debug_output_leaves_the_key_out() {
    assert!(!format!("{:?}", privacy(HASH)).contains("key"));
}

proptest! {
    /// Reused buffers must not leak into later events.
    #[test]
    fn buffers_carry_nothing_over(ids in prop::collection::vec((".{1,20}", ".{1,20}", "[0-9a-f.:]{0,20}"), 1..5)) {
        let privacy = privacy(PrivacySettings { ip_address: IpPolicy::Truncate, ..HASH });
        let mut used = Scratch::default();
        for (user_id, session_id, ip_address) in &ids {
            let event = ClickstreamEvent { user_id, session_id, ip_address, ..EVENT };
            let mut fresh = Scratch::default();
            prop_assert_eq!(privacy.apply(event.clone(), &mut used), privacy.apply(event, &mut fresh));
        }
    }

    #[test]
    fn a_network_is_an_address_of_its_own_network(bits: u128) {
        for address in [IpAddr::from(Ipv6Addr::from_bits(bits)), IpAddr::from(Ipv4Addr::from_bits(bits as u32))] {
            let network = ip(IpPolicy::Truncate, &address.to_string());
            prop_assert_eq!(&ip(IpPolicy::Truncate, &network), &network);
            prop_assert!(network.parse::<IpAddr>().is_ok());
        }
    }
}

/// Clients put ids and addresses into properties, too.
#[test]
fn where_anything_is_hidden_properties_are() {
    let mut buffer = Vec::new();
    let properties = Some(crate::Properties::encode([("login", "user-1")], &mut buffer));
    let event = ClickstreamEvent { event_id: Some("e-1"), properties, ..EVENT };
    for settings in [
        PrivacySettings { user_id: IdPolicy::Hash, ..Default::default() },
        PrivacySettings { ip_address: IpPolicy::Truncate, ..Default::default() },
        PrivacySettings { user_agent: UserAgentPolicy::Family, ..Default::default() },
    ] {
        let mut scratch = Scratch::default();
        let hidden = privacy(settings).apply(event.clone(), &mut scratch);
        assert_eq!((hidden.properties, hidden.event_id), (None, Some("e-1")), "{settings:?}");
    }
    assert_eq!(privacy(PrivacySettings::default()).apply(event.clone(), &mut Scratch::default()), event);
}
