//! `check`: everything that must be true at rest.

use serde_json::{Value, json};
use whereabouts::audit::{Audit, audit};

use crate::connection::{Connection, EtcdOptions};
use crate::{Ending, Output};

/// Checks what is stored, prints what was found, and says how that ends.
pub(crate) fn check(etcd: &EtcdOptions, output: Output) -> Result<Ending, String> {
    let connection = Connection::open(etcd)?;
    let listing = connection.list()?;
    let audit = audit(&connection.keys, &listing.entries);
    match output {
        Output::Table => print_table(&audit),
        Output::Json => println!("{}", to_json(&audit)),
    }
    Ok(if audit.findings.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

fn print_table(audit: &Audit) {
    let rows = [
        ("claims", audit.claims),
        ("addresses", audit.addresses),
        ("blocks", audit.blocks),
        ("set bits", audit.set_bits),
        ("tickets", audit.tickets),
        ("findings", audit.findings.len()),
    ];
    for (name, count) in rows {
        println!("{name:<10} {count:>8}");
    }
    for finding in &audit.findings {
        println!("  {finding}");
    }
}

fn to_json(audit: &Audit) -> Value {
    let findings: Vec<String> = audit.findings.iter().map(ToString::to_string).collect();
    json!({
        "claims": audit.claims,
        "addresses": audit.addresses,
        "blocks": audit.blocks,
        "set_bits": audit.set_bits,
        "tickets": audit.tickets,
        "findings": findings,
    })
}
