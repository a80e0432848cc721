//! Prometheus' text format (version 0.0.4): families of samples, each with its help and its type.

use std::fmt::{Display, Write};

/// The answer to a scrape, in the making.
#[derive(Default)]
pub(crate) struct Exposition(String);

/// How a family's values behave.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
}

/// The labels of a sample, and its value.
pub(crate) type Sample<'a> = (Vec<(&'static str, &'a str)>, String);

impl Exposition {
    /// Adds a family. Without a sample it is not told.
    pub(crate) fn family<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        for (labels, value) in samples {
            let labels: Vec<String> = labels.into_iter().map(label).collect();
            match labels.as_slice() {
                [] => self.line(format_args!("{name} {value}")),
                labels => self.line(format_args!("{name}{{{}}} {value}", labels.join(","))),
            }
        }
    }

    /// Adds a family of one sample without labels.
    pub(crate) fn value(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help, [(Vec::new(), value.to_string())]);
    }

    /// All of it.
    pub(crate) fn text(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a string takes any text");
    }
}

fn label((name, value): (&'static str, &str)) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{name}=\"{}\"", value.replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_an_empty_family_is_not_told() {
        let mut text = Exposition::default();
        text.family("a", Kind::Gauge, "None.", []);
        let hostile = "x\"} 1\nevil{y=\"\\";
        let sample = (vec![("node", hostile)], "1".to_owned());
        text.family("b_total", Kind::Counter, "One.", [sample]);
        let expected = "# HELP b_total One.\n# TYPE b_total counter\n\
            b_total{node=\"x\\\"} 1\\nevil{y=\\\"\\\\\"} 1\n";
        assert_eq!(text.text(), expected);
    }
}
