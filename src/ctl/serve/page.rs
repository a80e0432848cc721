//! The files of the page, which need nothing from elsewhere, and its policy. Under the policy a browser takes scripts,
//! styles and pictures from this server alone, and none from the text of a page.

/// The page itself.
pub(super) const HTML: &str = include_str!("page/index.html");

/// The rights of the page in a browser.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asset {
    pub(super) name: &'static str,
    pub(super) content_type: &'static str,
    pub(super) text: &'static str,
}

macro_rules! assets {
    ($($name:literal: $content_type:expr,)*) => {
        &[$(Asset {
            name: $name,
            content_type: $content_type,
            text: include_str!(concat!("page/", $name)),
        }),*]
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

const ASSETS: &[Asset] = assets! {
    "api.js": SCRIPT,
    "cidr.js": SCRIPT,
    "claims.js": SCRIPT,
    "dom.js": SCRIPT,
    "drawer.js": SCRIPT,
    "feed.js": SCRIPT,
    "format.js": SCRIPT,
    "groups.js": SCRIPT,
    "keys.js": SCRIPT,
    "main.js": SCRIPT,
    "map.js": SCRIPT,
    "queues.js": SCRIPT,
    "range.js": SCRIPT,
    "ranges.js": SCRIPT,
    "route.js": SCRIPT,
    "search.js": SCRIPT,
    "spark.js": SCRIPT,
    "strip.js": SCRIPT,
    "suspects.js": SCRIPT,
    "table.js": SCRIPT,
    "views.js": SCRIPT,
    "layout.css": STYLE,
    "map.css": STYLE,
    "theme.css": STYLE,
    "favicon.svg": "image/svg+xml",
};

/// The file with this name.
pub(super) fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of `text` between `begin` and the next quote.
    fn quoted<'a>(text: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
        let rest = text.split(begin).skip(1);
        rest.filter_map(|rest| rest.split('"').next())
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_makes_no_markup_of_what_it_is_told() {
        let texts = ASSETS.iter().map(|asset| (asset.name, asset.text));
        for (name, text) in texts.chain([("index.html", HTML)]) {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for other in [
                "http://",
                "https://",
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                "new Function",
                "javascript:",
            ] {
                assert!(!text.contains(other), "{name}: {other}");
            }
        }
        // The policy does not allow these.
        for inline in [" style=", " onclick=", " onload=", "<style", "<script>"] {
            assert!(!HTML.contains(inline), "{inline}");
        }
    }

    #[test]
    fn each_file_that_is_named_is_served_and_each_that_is_served_is_named() {
        let of_page = quoted(HTML, "\"page/");
        let scripts = ASSETS.iter().filter(|asset| asset.content_type == SCRIPT);
        let imported = scripts.flat_map(|asset| quoted(asset.text, "from \"./"));
        let mut named: Vec<&str> = of_page.chain(imported).collect();
        named.sort_unstable();
        named.dedup();
        let mut served: Vec<&str> = ASSETS.iter().map(|asset| asset.name).collect();
        served.sort_unstable();
        assert_eq!(named, served);
    }
}
