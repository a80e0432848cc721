//! The judgement of a NetworkAttachmentDefinition. Pure: the question and what is known go in.

use serde_json::Value;
use whereabouts_core::limits;

use super::review::{Judgement, Operation, Request};
use super::stranded::Question;
use super::surroundings::{Definition, Surroundings, overlaps, reports};
use crate::commands::lint::{Line, Part, Report, Severity};

/// A judgement, and what the datastore must be asked to complete it.
#[derive(Default)]
pub(super) struct Judged {
    /// As far as it is made.
    pub(super) judgement: Judgement,
    /// The claims that may be stranded; nothing for a denied object, which changes nothing.
    pub(super) questions: Vec<Question>,
}

/// Judges the object of `request`. An update that leaves the configuration as it is passes without a word: otherwise a network
/// of before the webhook could not lose a finalizer.
pub(super) fn judge(request: &Request, surroundings: &Surroundings) -> Judged {
    let config = |object: &Value| object["spec"]["config"].clone();
    let is_update = request.operation == Operation::Update;
    if is_update && config(&request.object) == config(&request.old_object) {
        return Judged::default();
    }
    let new = match request.operation {
        Operation::Create | Operation::Update => reports(request.object.clone()),
        Operation::Delete | Operation::Connect => Vec::new(),
    };
    let key = format!("{}/{}", request.namespace, request.name);
    let others = surroundings.others(&key);
    let mut judgement = Judgement::default();
    for report in &new {
        judge_part(
            report,
            &new,
            others.as_deref(),
            surroundings,
            &mut judgement,
        );
    }
    let may_strand = matches!(request.operation, Operation::Update | Operation::Delete);
    let questions = if may_strand && judgement.is_allowed() {
        let old = reports(request.old_object.clone());
        Question::of(&old, &new, others.as_deref().unwrap_or_default())
    } else {
        Vec::new()
    };
    Judged {
        judgement,
        questions,
    }
}

fn judge_part(
    report: &Report,
    object: &[Report],
    others: Option<&[Definition]>,
    surroundings: &Surroundings,
    judgement: &mut Judgement,
) {
    let place = report.origin.key.as_deref();
    let said = |text: &str| match place {
        Some(place) => format!("spec.config: {place}: {text}"),
        None => format!("spec.config: {text}"),
    };
    if report.part == Part::Unread {
        // Nobody knows whether it would be ours. It only names whereabouts, or the webhook was not asked.
        let texts = report.lines.iter().map(|(_, text)| text.clone());
        return judgement.warnings.extend(texts);
    }
    for (severity, text) in &report.lines {
        match severity {
            Severity::Refusal => judgement.refusals.push(said(text)),
            Severity::Error | Severity::Warning => judgement.warnings.push(said(text)),
            // The controller does not have the nodes' files. A note tells nothing that its author would have to know.
            Severity::UnlessOnNodes | Severity::Note => {}
        }
    }
    if report.network.is_none() {
        return;
    }
    let known = others.unwrap_or_default().iter().flat_map(|one| one.iter());
    let compared = report.compare(object.iter().chain(known));
    judgement.warnings.extend(compared.into_iter().map(text_of));
    let cluster = surroundings.cluster_ranges();
    let mut overlapping: Vec<String> = overlaps(report, &cluster).map(text_of).collect();
    let more = overlapping.len().saturating_sub(limits::FINDINGS_OF_A_KIND);
    overlapping.truncate(limits::FINDINGS_OF_A_KIND);
    judgement.warnings.extend(overlapping);
    if more > 0 {
        judgement
            .warnings
            .push(format!("and {more} more of that kind"));
    }
    if others.is_none() {
        let text = "the other networks are not known yet, so an overlap with them is not told";
        judgement.warnings.push(text.to_owned());
    }
}

fn text_of((_, text): Line) -> String {
    text
}
