//! Any text of a network's author.

use serde_json::{Value, json};
use whereabouts_clock::Chance;

use super::judge::judge;
use super::tests::{config, object, request, surroundings};

const SIGNS: &[u8] = br#"[]{}",:/.-0129fx \"#;

/// A panic would end the controller. So whatever a network's author writes is judged.
#[test]
fn no_network_ends_the_controller() {
    let known = surroundings(&[object("other", &config(&json!({"range": "10.0.0.0/16"})))]);
    let seeds = [
        config(
            &json!({"range": "10.0.0.0/24", "range_start": "10.0.0.9", "exclude": ["10.0.0.8/29"]}),
        ),
        config(
            &json!({"ipRanges": [{"range": "10.0.0.0/24", "gateway": "10.0.0.1"}, {"range": "fd00::/64"}]}),
        ),
        json!({"name": "n", "plugins": [config(&json!({"range": "10.0.0.0-10.0.0.9/24"})), {"type": "portmap"}]}),
        json!({"type": "multus", "delegates": [config(&json!({"addresses": [{"address": "10.0.0.5/24"}]}))]}),
    ];
    let chance = Chance::new(7);
    for seed in seeds.iter().cycle().take(1_000) {
        let mut text = seed.to_string().into_bytes();
        for _ in 0..=chance.below(3) {
            let at = chance.index(text.len());
            match chance.below(4) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, SIGNS[chance.index(SIGNS.len())]),
                2 => text.truncate(at.max(1)),
                _ => text[at] ^= 1 << chance.below(7),
            }
        }
        let mut network = object("net", &json!({}));
        network["spec"]["config"] = json!(String::from_utf8_lossy(&text));
        let old = object("net", seed);
        judge(&request("UPDATE", &network, &old), &known);
        judge(&request("UPDATE", &old, &network), &known);
        judge(&request("DELETE", &Value::Null, &network), &known);
    }
}
