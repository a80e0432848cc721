//! What a server counts itself.

use whereabouts_chaos::counters::Counters;

/// Requests and bytes at a server since its start, or between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests of the plugin.
    pub(crate) requests: u64,
    /// Bytes of requests and answers.
    pub(crate) bytes: u64,
    /// Commits of the etcd that is or serves the server.
    pub(crate) commits: u64,
}

impl Counts {
    /// Those of an etcd.
    pub(crate) fn of_etcd(metrics: &str) -> Self {
        let counters = Counters::of_members(&[metrics.to_owned()]);
        Self {
            requests: counters.all_requests(),
            bytes: counters.received_bytes + counters.sent_bytes,
            commits: counters.commits,
        }
    }

    /// Those of an API server: requests with one of these labels. An API server does not count the bytes of requests that
    /// change nothing, nor headers.
    pub(crate) fn of_api_server(metrics: &str, labels: &[&str]) -> Self {
        let samples = metrics.lines().filter_map(|line| line.rsplit_once(' '));
        let mut counts = Self::default();
        for (name, value) in samples {
            // Prometheus writes large numbers with an exponent.
            let value = value.parse::<f64>().unwrap_or_default();
            let is_counted = labels.iter().any(|label| name.contains(label));
            match name.split('{').next() {
                Some("apiserver_request_total") if is_counted => {
                    counts.requests += whole(value);
                }
                Some("apiserver_response_sizes_sum" | "apiserver_request_body_size_bytes_sum")
                    if is_counted =>
                {
                    counts.bytes += whole(value);
                }
                _ => {}
            }
        }
        counts
    }

    /// Adds further ones.
    pub(crate) fn add(&mut self, further: Self) {
        self.requests += further.requests;
        self.bytes += further.bytes;
        self.commits += further.commits;
    }

    /// What came after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            bytes: self.bytes - before.bytes,
            commits: self.commits - before.commits,
        }
    }
}

/// A count that is written as a floating-point number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole, positive and far below 2^52"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_api_server_the_requests_with_a_label_count_and_no_others() {
        let metrics = "apiserver_request_total{code=\"200\",group=\"whereabouts.cni.cncf.io\",resource=\"ippools\"} 3\n\
            apiserver_request_total{code=\"200\",group=\"coordination.k8s.io\",resource=\"leases\"} 4\n\
            apiserver_request_total{code=\"200\",group=\"\",resource=\"pods\"} 50\n\
            apiserver_response_sizes_sum{group=\"whereabouts.cni.cncf.io\",verb=\"GET\"} 1.5e+06\n\
            apiserver_response_sizes_sum{group=\"\",verb=\"GET\"} 7\n";
        let counts = Counts::of_api_server(
            metrics,
            &["group=\"whereabouts.cni.cncf.io\"", "resource=\"leases\""],
        );
        assert_eq!((counts.requests, counts.bytes), (7, 1_500_000));
    }
}
