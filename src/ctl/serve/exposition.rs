//! Prometheus' text format (version 0.0.4): families of samples, each with its help and its type.

use std::fmt::{Display, Write};

use super::histogram::Histogram;

/// The commit, as `deploy/release/binaries.sh` tells the compiler.
const REVISION: Option<&str> = option_env!("WHEREABOUTS_REVISION");

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
    /// Counters of observations up to bounds, their number and their sum.
    Histogram,
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
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.head(name, kind, help);
        for (labels, value) in samples {
            self.sample(name, labels, &value);
        }
    }

    /// Adds a family of histograms.
    pub(crate) fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Vec<(&'static str, &'a str)>, &'a Histogram)>,
    ) {
        self.head(name, Kind::Histogram, help);
        for (labels, histogram) in series {
            let count = histogram.count();
            let bounds = histogram.cumulative().chain([("+Inf", count)]);
            for (bound, count) in bounds {
                let labels = labels.iter().copied().chain([("le", bound)]).collect();
                self.sample(&format!("{name}_bucket"), labels, &count);
            }
            self.sample(&format!("{name}_sum"), labels.clone(), &histogram.sum());
            self.sample(&format!("{name}_count"), labels, &count);
        }
    }

    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: Vec<(&'static str, &str)>, value: &dyn Display) {
        let labels: Vec<String> = labels.into_iter().map(label).collect();
        match labels.as_slice() {
            [] => self.line(format_args!("{name} {value}")),
            labels => self.line(format_args!("{name}{{{}}} {value}", labels.join(","))),
        }
    }

    /// Adds a family of one sample without labels.
    pub(crate) fn value(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help, [(Vec::new(), value.to_string())]);
    }

    /// Adds which program answers.
    pub(crate) fn build_info(&mut self) {
        let labels = vec![
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", REVISION.unwrap_or("unknown")),
        ];
        let help =
            "1; the labels name the program's version and the commit that it was built from.";
        let sample = (labels, "1".to_owned());
        self.family("whereabouts_build_info", Kind::Gauge, help, [sample]);
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
