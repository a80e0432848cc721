//! The requests to etcd in its own words: the counters of `/metrics`. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// The requests to a cluster, and its own work, since its start or between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests by gRPC method, over all members, whatever their outcome
    /// (`grpc_server_handled_total`). On a stream (watch, keep-alive) each message of the client
    /// is one (`grpc_server_msg_received_total`).
    pub requests: BTreeMap<String, u64>,
    /// Messages that streams brought to clients: events of watches, and answers to what was asked
    /// on a stream (`grpc_server_msg_sent_total`).
    pub told: u64,
    /// Processor time of all members together (`process_cpu_seconds_total`), in milliseconds.
    pub cpu_ms: u64,
    /// Entries that Raft committed (`etcd_server_proposals_committed_total`): the writes.
    pub commits: u64,
    /// Keys written and deleted (`etcd_mvcc_put_total`, `etcd_mvcc_delete_total`).
    pub keys_written: u64,
    /// Bytes of the requests' messages (`etcd_network_client_grpc_received_bytes_total`).
    pub received_bytes: u64,
    /// Bytes of the answers' messages (`etcd_network_client_grpc_sent_bytes_total`).
    pub sent_bytes: u64,
}

impl Counters {
    /// Of a cluster, from the metrics of each of its members. Every member commits and writes the
    /// same, some later than others; requests and bytes are each member's own.
    pub fn of_members(metrics: &[String]) -> Self {
        let mut all = Self::default();
        for member in metrics.iter().map(|metrics| Self::of_member(metrics)) {
            for (method, count) in member.requests {
                *all.requests.entry(method).or_default() += count;
            }
            all.told += member.told;
            all.cpu_ms += member.cpu_ms;
            all.commits = all.commits.max(member.commits);
            all.keys_written = all.keys_written.max(member.keys_written);
            all.received_bytes += member.received_bytes;
            all.sent_bytes += member.sent_bytes;
        }
        all
    }

    fn of_member(metrics: &str) -> Self {
        let mut counters = Self::default();
        let samples = metrics.lines().filter_map(|line| line.rsplit_once(' '));
        for (name, value) in samples {
            if name == "process_cpu_seconds_total" {
                counters.cpu_ms = milliseconds(value);
                continue;
            }
            let Some(value) = whole_number(value).filter(|value| *value > 0) else {
                continue;
            };
            match name {
                "etcd_server_proposals_committed_total" => counters.commits = value,
                "etcd_mvcc_put_total" | "etcd_mvcc_delete_total" => counters.keys_written += value,
                "etcd_network_client_grpc_received_bytes_total" => counters.received_bytes = value,
                "etcd_network_client_grpc_sent_bytes_total" => counters.sent_bytes = value,
                _ => match message_of(name) {
                    Some(Message::Request(method)) => {
                        *counters.requests.entry(method.to_owned()).or_default() += value;
                    }
                    Some(Message::Told) => counters.told += value,
                    None => {}
                },
            }
        }
        counters
    }

    /// The counts after `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let earlier = |method: &String| before.requests.get(method).copied().unwrap_or(0);
        let requests = self.requests.iter();
        Self {
            requests: requests
                .map(|(method, count)| (method.clone(), count - earlier(method)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            told: self.told - before.told,
            cpu_ms: self.cpu_ms - before.cpu_ms,
            commits: self.commits - before.commits,
            keys_written: self.keys_written - before.keys_written,
            received_bytes: self.received_bytes - before.received_bytes,
            sent_bytes: self.sent_bytes - before.sent_bytes,
        }
    }

    /// Requests of all methods.
    pub fn all_requests(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// The subject of a counter of gRPC.
enum Message<'m> {
    /// Requests of this method.
    Request(&'m str),
    /// Messages to clients on streams.
    Told,
}

fn message_of(name: &str) -> Option<Message<'_>> {
    let (counter, labels) = name.strip_prefix("grpc_server_")?.split_once('{')?;
    let is_stream = labels.contains("grpc_type=\"bidi_stream\"");
    let (_, method) = labels.split_once("grpc_method=\"")?;
    let (method, _) = method.split_once('"')?;
    match (counter, is_stream) {
        ("handled_total", false) | ("msg_received_total", true) => Some(Message::Request(method)),
        ("msg_sent_total", true) => Some(Message::Told),
        _ => None,
    }
}

/// Seconds as Prometheus writes them, in whole milliseconds; 0 when they are none.
fn milliseconds(seconds: &str) -> u64 {
    let seconds = seconds.parse().ok().map(Duration::try_from_secs_f64);
    let whole = seconds.and_then(Result::ok).unwrap_or_default();
    u64::try_from(whole.as_millis()).unwrap_or(u64::MAX)
}

/// A whole number as Prometheus writes it: from 1,000,000 on, with an exponent.
pub(crate) fn whole_number(text: &str) -> Option<u64> {
    let (mantissa, exponent) = match text.split_once("e+") {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let zeros = usize::checked_sub(exponent, fraction.len())?;
    format!("{whole}{fraction}{}", "0".repeat(zeros))
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_with_and_without_an_exponent() {
        let cases = [
            ("0", Some(0)),
            ("999999", Some(999_999)),
            ("1e+06", Some(1_000_000)),
            ("1.234567e+06", Some(1_234_567)),
            ("5.24288e+08", Some(524_288_000)),
            ("0.5", None),
            ("1.2345678e+06", None),
            ("NaN", None),
            ("-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(whole_number(text), expected, "{text}");
        }
    }

    #[test]
    fn requests_add_up_over_members_and_commits_do_not() {
        let member = |requests: u64, commits: u64| {
            let labels = "grpc_method=\"Txn\",grpc_service=\"etcdserverpb.KV\"";
            format!(
                "# TYPE grpc_server_handled_total counter\n\
                 grpc_server_handled_total{{grpc_code=\"OK\",{labels}}} {requests}\n\
                 grpc_server_handled_total{{grpc_code=\"Aborted\",{labels}}} 1\n\
                 grpc_server_msg_sent_total{{{labels},grpc_type=\"unary\"}} {requests}\n\
                 etcd_server_proposals_committed_total {commits}\n\
                 etcd_network_client_grpc_sent_bytes_total 1.5e+06\n"
            )
        };
        let before = Counters::of_members(&[member(1, 3), member(1, 3)]);
        let after = Counters::of_members(&[member(3, 5), member(2, 4)]);
        assert_eq!(after.sent_bytes, 3_000_000);
        let since = after.since(&before);
        assert_eq!(since.requests, BTreeMap::from([("Txn".to_owned(), 3)]));
        assert_eq!((since.all_requests(), since.commits), (3, 2));
    }

    #[test]
    fn on_a_stream_messages_count_instead_of_its_end() {
        let labels =
            "grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"";
        let metrics = format!(
            "grpc_server_handled_total{{grpc_code=\"Canceled\",{labels}}} 1\n\
             grpc_server_msg_received_total{{{labels}}} 2\n\
             grpc_server_msg_sent_total{{{labels}}} 5\n"
        );
        let counters = Counters::of_members(&[metrics]);
        assert_eq!((counters.all_requests(), counters.told), (2, 5));
    }
}
