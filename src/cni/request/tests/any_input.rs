//! No input makes parsing panic.

use proptest::prelude::*;
use serde_json::Value;

use super::{FILE_KEYS, every_key, full, plain};

/// A JSON value with the names and values of configs.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-f:./,-]{0,20}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key(), inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn select_text() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "10.0.0.0/24",
        "10.0.0.5-10.0.0.9/24",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0",
        "255.255.255.255",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
        "10.0.0.5",
        "fd00::1",
        "1.1.0",
        "0.1.0",
    ])
}

fn key() -> impl Strategy<Value = String> {
    let keys: Vec<&str> = every_key()
        .into_iter()
        .map(|(key, _)| key)
        .chain(FILE_KEYS)
        .collect();
    let others = [
        "dst",
        "gw",
        "address",
        "ips",
        "cni",
        "subnet",
        "rangeStart",
        "mtu",
        "ip4",
    ];
    let keys = keys.into_iter().chain(others).map(str::to_owned);
    prop_oneof![
        proptest::sample::select(keys.collect::<Vec<_>>()),
        any::<String>()
    ]
}

fn verb() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"])
}

proptest! {
    #[test]
    fn any_bytes_on_stdin_are_read_without_panic(verb in verb(), stdin: Vec<u8>) {
        let _ = plain(verb).parse_stdin(Ok(stdin));
    }

    #[test]
    fn any_damage_to_a_good_config_is_read_without_panic(
        verb in verb(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        length in any::<proptest::sample::Index>(),
    ) {
        let mut stdin = full(verb).config.to_string().into_bytes();
        for (index, byte) in damage {
            let index = index.index(stdin.len());
            stdin[index] = byte;
        }
        let _ = full(verb).parse_stdin(Ok(stdin.clone()));
        stdin.truncate(length.index(stdin.len()));
        let _ = full(verb).parse_stdin(Ok(stdin));
    }

    #[test]
    fn any_values_of_any_keys_are_read_without_panic(
        verb in verb(),
        ipam in proptest::collection::btree_map(key(), value(), 0..4),
        config in proptest::collection::btree_map(
            "runtimeConfig|args|prevResult|cniVersion|name|isGateway|cni\\.dev/(valid-)?attachments",
            value(),
            0..2,
        ),
        args in ".{0,30}",
    ) {
        let sample = full(verb)
            .ipam(ipam.into_iter().collect())
            .config(config.into_iter().collect())
            .variable("CNI_ARGS", &args);
        if let Err(rejected) = sample.parse() {
            prop_assert!([1, 4, 5, 6, 7].contains(&rejected.error.code()));
        }
    }
}
