//! The answer of one execution of a plugin.

use serde_json::Value;

/// The end of a program.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` when a signal ended it.
    pub(crate) exit_code: Option<i32>,
    /// For the runtime.
    pub(crate) stdout: String,
    /// For a person.
    pub(crate) stderr: String,
}

impl Answer {
    /// The object on stdout, after a success.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        assert_eq!(self.exit_code, Some(0), "{self:?}");
        self.json()
    }

    /// The addresses of a result, as `address/length`, whatever its version.
    #[track_caller]
    pub(crate) fn addresses(&self) -> Vec<String> {
        let result = self.result();
        let text = |value: &Value| value.as_str().expect("an address is a string").to_owned();
        match result.get("ips") {
            Some(ips) => {
                let ips = ips.as_array().expect("ips are a list");
                ips.iter().map(|ip| text(&ip["address"])).collect()
            }
            None => ["ip4", "ip6"]
                .into_iter()
                .filter_map(|family| Some(text(result.get(family)?.get("ip")?)))
                .collect(),
        }
    }

    /// The one address of a result.
    #[track_caller]
    pub(crate) fn address(&self) -> String {
        let addresses = self.addresses();
        let [address] = addresses.as_slice() else {
            panic!("not one address: {self:?}");
        };
        address.clone()
    }

    /// That it succeeded and said nothing.
    #[track_caller]
    pub(crate) fn assert_silent(&self) {
        assert_eq!(self.exit_code, Some(0), "{self:?}");
        assert_eq!(
            (self.stdout.as_str(), self.stderr.as_str()),
            ("", ""),
            "a verb without a result says nothing"
        );
    }

    /// That it failed with `code`, and that its words have all of `parts`.
    #[track_caller]
    pub(crate) fn assert_error(&self, code: u64, parts: &[&str]) {
        assert_eq!(self.exit_code, Some(1), "{self:?}");
        let error = self.json();
        assert_eq!(error["code"].as_u64(), Some(code), "{self:?}");
        for key in ["cniVersion", "msg", "details"] {
            assert!(error[key].is_string(), "{key} in {self:?}");
        }
        let words = format!("{}: {}", error["msg"], error["details"]);
        for part in parts {
            assert!(words.contains(part), "no {part:?} in {words}");
        }
    }

    /// The object on stdout, which has nothing else.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let json = serde_json::from_str(&self.stdout);
        json.unwrap_or_else(|error| panic!("stdout is not JSON, {error}: {self:?}"))
    }
}
