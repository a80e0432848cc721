//! A pod's attachment: what the plugin is told about it, and what its answer means to the judge.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;
use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Ask, Choice, Held};
use whereabouts_sim::judge::says_unknown;
use whereabouts_sim::vocabulary::Verb;

use super::execution::Outcome;
use super::network::Shape;
use super::verdict::Answer;

/// An attachment, and what it asks for.
pub(super) struct Pod {
    /// Its network.
    pub(super) shape: Shape,
    /// Its request, as the judge knows it.
    pub(super) ask: Ask,
    /// The same as a config.
    pub(super) config: Value,
    /// `CNI_ARGS`.
    pub(super) arguments: String,
}

impl Pod {
    /// Its container.
    pub(super) fn name(&self) -> &str {
        self.ask.attachment.container.as_str()
    }
}

/// An outcome, for the log.
pub(super) fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(result) => {
            let ips = result["ips"].as_array();
            let ips = ips
                .into_iter()
                .flatten()
                .map(|ip| ip["address"].to_string());
            format!("done {}", ips.collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// The variables of an execution.
pub(super) fn variables(
    verb: Verb,
    pod: Option<&Pod>,
    sabotage: Option<&str>,
) -> Vec<(&'static str, String)> {
    let command = format!("{verb}").to_uppercase();
    let mut variables = vec![
        ("CNI_COMMAND", command),
        ("CNI_PATH", "/opt/cni/bin".to_owned()),
    ];
    variables.extend(sabotage.map(|bug| ("SABOTAGE", bug.to_owned())));
    if let Some(pod) = pod {
        let attachment = &pod.ask.attachment;
        variables.extend([
            ("CNI_CONTAINERID", attachment.container.to_string()),
            ("CNI_IFNAME", attachment.interface.clone()),
            ("CNI_NETNS", format!("/run/netns/{}", attachment.container)),
            ("CNI_ARGS", pod.arguments.clone()),
        ]);
    }
    variables
}

/// The answer of an ADD.
pub(super) fn answer(outcome: &Outcome, ask: Option<&Ask>) -> Result<Answer, String> {
    let Some(ask) = ask else {
        return Ok(Answer::Other);
    };
    if is_in_doubt(outcome) {
        return Ok(Answer::Unknown);
    }
    let range = || ask.wants[0].range.clone();
    match outcome {
        Outcome::Done(result) => {
            let ips = result["ips"].as_array().ok_or("an ADD without ips")?;
            let addresses: Option<Vec<IpAddr>> = ips
                .iter()
                .map(|ip| ip["address"].as_str()?.parse::<IpNet>().ok())
                .map(|net| net.map(|net| net.addr()))
                .collect();
            let addresses = addresses.ok_or("an ip without an address")?;
            if addresses.len() != ask.wants.len() {
                return Err(format!("{addresses:?} for {} wants", ask.wants.len()));
            }
            let held = ask.wants.iter().zip(addresses).map(|(want, address)| Held {
                range: want.range.clone(),
                address: address.into(),
            });
            Ok(Answer::Added(held.collect()))
        }
        Outcome::Failed(101, _) if ask.wants.len() == 1 => {
            Ok(Answer::Short(Shortage::Exhausted(range())))
        }
        Outcome::Failed(102, _) => match ask.wants[0].choice {
            Choice::Exactly(address) => {
                let range = range();
                Ok(Answer::Short(Shortage::Taken(Held { range, address })))
            }
            Choice::Lowest => Err("nobody asked for an address".to_owned()),
        },
        Outcome::Failed(..) | Outcome::Killed | Outcome::Wrong(_) => Ok(Answer::Other),
    }
}

/// Whether what an execution has sent may still come.
pub(super) fn is_in_doubt(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed(_, words) => says_unknown(words),
        Outcome::Killed | Outcome::Wrong(_) => true,
        Outcome::Done(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use whereabouts_clock::Chance;
    use whereabouts_core::address::Name;
    use whereabouts_core::claim::{Attachment, Owner};

    use super::*;

    fn ask(shape: Shape) -> Ask {
        Ask {
            attachment: Attachment {
                network: shape.network(),
                container: Name::new("pod").expect("a name"),
                interface: "eth0".to_owned(),
            },
            wants: shape.draw(&Chance::new(1)).wants,
            owner: Owner::default(),
            may_take_over: true,
        }
    }

    fn check(shape: Shape, outcome: &Outcome, expected: Result<&str, &str>) {
        let found = match answer(outcome, Some(&ask(shape))) {
            Ok(Answer::Added(held)) => {
                let texts = held.iter().map(|held| held.address.to_string());
                Ok(texts.collect::<Vec<_>>().join(" "))
            }
            Ok(Answer::Short(shortage)) => Ok(format!("{shortage:?}")),
            Ok(Answer::Unknown) => Ok("unknown".to_owned()),
            Ok(Answer::Stopped | Answer::Other) => Ok(String::new()),
            Err(text) => Err(text),
        };
        match (&found, expected) {
            (Ok(found), Ok(part)) | (Err(found), Err(part)) => {
                assert!(found.contains(part), "{found}");
            }
            _ => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn an_answer_is_read_as_the_judge_needs_it() {
        let ips = |ips: &[&str]| {
            let ips = ips.iter().map(|ip| json!({"address": ip}));
            Outcome::Done(json!({"ips": ips.collect::<Value>()}))
        };
        let failed = |code| Outcome::Failed(code, String::new());
        check(Shape::Hot, &ips(&["10.0.0.1/22"]), Ok("10.0.0.1"));
        check(
            Shape::DualStack,
            &ips(&["10.3.0.1/24", "fd00:3::1/120"]),
            Ok("10.3.0.1 fd00:3::1"),
        );
        check(Shape::DualStack, &ips(&["10.3.0.1/24"]), Err("for 2 wants"));
        check(Shape::Hot, &ips(&["10.0.0.1"]), Err("without an address"));
        check(Shape::Hot, &Outcome::Done(Value::Null), Err("without ips"));
        check(Shape::Small, &failed(101), Ok("Exhausted"));
        check(Shape::Small, &failed(11), Ok(""));
        check(Shape::Small, &failed(102), Err("nobody asked"));
        check(Shape::Small, &Outcome::Killed, Ok("unknown"));
        let unknown = "whether the last commit was written is unknown: no reply in time";
        let unknown = Outcome::Failed(11, unknown.to_owned());
        check(Shape::Small, &unknown, Ok("unknown"));
    }
}
