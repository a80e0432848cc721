//! Plans of objects of which a part is anything.

use super::*;

/// Every JSON pointer into `value`.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, one)| (key.clone(), one)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let pointer = format!("{at}/{}", key.replace('/', "~1"));
        pointers(child, &pointer, found);
        found.push(pointer);
    }
}

/// Any part may be anything: the address is claimed, or it is told why not.
#[test]
fn no_part_of_an_object_can_make_an_address_vanish() {
    let mut places = Vec::new();
    pointers(&world(), "", &mut places);
    let odd = [
        Value::Null,
        json!(5),
        json!(""),
        json!("x"),
        json!("\u{1b}[2J"),
        json!("fd00::/64"),
        json!([]),
        json!([[], 5, null, {"items": 5}]),
        json!({}),
        json!({"x": {"x": 1}}),
        json!(format!("x{}", "y".repeat(70_000))),
    ];
    let mut judged = 0;
    for place in &places {
        // Without its kind, or without allocations, it is no IPPool with an address.
        if [
            "/pool",
            "/pool/kind",
            "/pool/spec",
            "/pool/spec/allocations",
        ]
        .contains(&place.as_str())
        {
            continue;
        }
        for value in &odd {
            let Ok(plan) = changed(&[(place, value.clone())], Stale::Take) else {
                continue;
            };
            judged += 1;
            let is_told = !plan.refused.is_empty();
            assert!(is_told || !plan.takes.is_empty(), "{place} {value}");
        }
    }
    assert!(judged > 100, "{judged}");
}
