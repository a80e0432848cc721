//! The page: one file that needs nothing else, and a policy under which a browser runs no other
//! script than its own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The page.
pub(super) const HTML: &str = include_str!("page.html");

/// The rights of the page in a browser: run its own script, have its own style, ask this server.
pub(super) fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let script = hash(between(HTML, "<script>", "</script>"));
    let style = hash(between(HTML, "<style>", "</style>"));
    format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).expect("the page has it");
    let (inner, _) = rest.split_once(end).expect("the page has it");
    inner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_makes_no_markup_of_what_it_is_told() {
        assert_eq!(HTML.matches("<script").count(), 1);
        assert_eq!(HTML.matches("<style").count(), 1);
        for other in [
            "http://",
            "https://",
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
        ] {
            assert!(!HTML.contains(other), "{other}");
        }
        // A policy of hashes does not allow these.
        for inline in [" style=", " onclick=", " onload=", "javascript:"] {
            assert!(!HTML.contains(inline), "{inline}");
        }
    }
}
